#!/bin/sh
# Turns this Ubuntu into a machine that builds container nodes. cloud-init runs it at every boot; it skips what is done,
# and tries again what failed. `cargo xtask builder start` waits for the lines that it prints on the console.
set -u

facts=${FACTS:-/etc/cml-nodes}
log=${LOG:-/var/log/cml-nodes-builder.log}
boot=$(cat /proc/sys/kernel/random/boot_id)
user=$(cat "$facts/user")
repository=$(cat "$facts/repository")
folder=$(cat "$facts/folder")
server=$(cat "$facts/server")
home=$(getent passwd "$user" | cut -d: -f6)
packages="docker.io docker-buildx git build-essential rustup ca-certificates curl"

# CML keeps a log of the serial console, which may be another one than /dev/console.
say() {
    for tty in /dev/console /dev/ttyS0; do
        { printf '\r\ncml-nodes-builder: %s %s\r\n' "$boot" "$*" >"$tty"; } 2>/dev/null || :
    done
}

show_log() {
    for tty in /dev/console /dev/ttyS0; do
        { tail -n 15 "$log" | sed 's/$/\r/' >"$tty"; } 2>/dev/null || :
    done
}

as_user() {
    sudo -u "$user" -H -- "$@"
}

# Runs a step. It may fail because of the network, so it is tried three times.
step() {
    name=$1
    shift
    say "step $name"
    for pause in 5 20 0; do
        if "$@" >>"$log" 2>&1; then
            return 0
        fi
        sleep "${PAUSE:-$pause}"
    done
    show_log
    say "failed $name"
    exit 1
}

# Adds the name `cml` to /etc/hosts, for programs that do not read ssh's configuration.
server_name() {
    address=$(getent ahosts "$server" | awk 'NR == 1 { print $1 }')
    [ -n "$address" ] || return 1
    # The file may be mounted, so it cannot be replaced by another one.
    others=$(grep -v '# cml-nodes$' /etc/hosts)
    printf '%s\n%s cml # cml-nodes\n' "$others" "$address" >/etc/hosts
}

# shellcheck disable=SC2086 # $packages are words
install_packages() {
    dpkg -s $packages >/dev/null 2>&1 && return 0
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=600 update &&
        apt-get -o DPkg::Lock::Timeout=600 install --yes --no-install-recommends $packages
}

let_use_docker() {
    systemctl enable --now docker && usermod --append --groups docker "$user"
}

install_rust() {
    as_user rustup which cargo >/dev/null 2>&1 || as_user rustup default stable
}

settings() {
    [ -e "$home/.virlrc" ] || install -m 0600 -o "$user" "$facts/virlrc" "$home/.virlrc"
}

clone() {
    [ -e "$home/$folder" ] && return 0
    # It gets its name only when it is complete.
    as_user rm -rf "$home/.$folder.part" &&
        as_user git clone -- "$repository" "$home/.$folder.part" &&
        as_user mv "$home/.$folder.part" "$home/$folder"
}

say preparing
step packages install_packages
step docker let_use_docker
step rust install_rust
step settings settings
step repository clone
step server-name server_name
# The address of its route to other networks, not that of its own Docker.
say "ready $(ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')"
