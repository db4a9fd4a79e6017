# shellcheck shell=bash
# Remote access to the node, SSH and SNMP, and its logs.

HOST_KEY=/etc/ssh/ssh_host_ed25519_key
HOST_KEY_STORE=$NODE_FILES/ssh_host_ed25519_key
AGENTX_SOCKET=/var/agentx/master

is_host_key() {
  [[ -s $1 ]] && ssh-keygen -y -P '' -f "$1" > /dev/null 2>&1
}

# restore_host_key: the node keeps its host key, even if the container is created again. The key is generated at the
# first start: a key in the image would be the same in every node.
restore_host_key() {
  local kept=$HOST_KEY.kept
  if [[ -s $HOST_KEY_STORE ]] && install -m 600 "$HOST_KEY_STORE" "$kept" && is_host_key "$kept"; then
    mv "$kept" "$HOST_KEY"
    return
  fi
  rm -f "$kept"
  if ! is_host_key "$HOST_KEY"; then
    rm -f "$HOST_KEY" "$HOST_KEY.pub"
    ssh-keygen -q -t ed25519 -N '' -C '' -f "$HOST_KEY"
  fi
  if [[ -f $HOST_KEY_STORE ]]; then
    dd if="$HOST_KEY" of="$HOST_KEY_STORE" conv=fsync status=none \
      || say "SSH: could not save the host key, the next container will have another"
  fi
}

# set_root_password: sets root's password to the first line of the file `password`; without one, nobody can log in by
# password. It goes through a pipe, never through an argument. (`*` disables the password only, `!` would disable the
# authorized keys too.) It is hashed by SHA-512: Debian's default takes a tenth of a second at every start, and the
# password is in the same node in clear text anyway.
set_root_password() {
  local password=""
  if [[ -f $NODE_FILES/password ]]; then
    IFS= read -r password < <(text_of "$NODE_FILES/password")
  fi
  sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow
  if [[ -n ${password//[[:space:]]/} ]]; then
    printf 'root:%s\n' "$password" | chpasswd -c SHA512 > /dev/null 2>&1 \
      || say "SSH: could not set the password, so nobody can log in by password"
  fi
}

install_authorized_keys() {
  [[ -f $NODE_FILES/authorized_keys ]] || return 0
  install -d -m 755 /etc/ssh/authorized_keys
  text_of "$NODE_FILES/authorized_keys" > /etc/ssh/authorized_keys/root
}

prepare_ssh() {
  install -d -m 755 /run/sshd
  restore_host_key
  set_root_password
  install_authorized_keys
}

start_ssh() {
  # A background job of this shell ignores SIGINT, and so would every shell of this sshd without `env`.
  env --default-signal=INT,QUIT "$(command -v sshd)" -f /usr/lib/node/sshd_config -E /var/log/sshd.log
}

start_snmp() {
  local access=$NODE_RUN/snmpd.conf addresses=(udp:161)
  rm -f "$AGENTX_SOCKET"
  install -d -o root -g frr -m 750 "${AGENTX_SOCKET%/*}"
  if [[ -f $NODE_FILES/snmpd.conf ]]; then
    text_of "$NODE_FILES/snmpd.conf" > "$access"
  else
    cp /usr/lib/node/snmpd-access.conf "$access"
  fi
  if [[ -e /proc/net/if_inet6 ]]; then
    addresses+=(udp6:161)
  fi
  snmpd -C -c "/usr/lib/node/snmpd.conf,$access" -p /run/snmpd.pid -LF w /var/log/snmpd.log "${addresses[@]}"
}

# restart_missing NAME COMMAND: starts a service that does not run, and says so once.
restart_missing() {
  local pid=""
  if { read -r pid < "/run/$1.pid" && kill -0 "$pid"; } 2> /dev/null; then
    REPORTED[$1]=""
    return
  elif [[ -z ${REPORTED[$1]:-} ]]; then
    say "$1 does not run and is started again"
    REPORTED[$1]=1
  fi
  "$2"
}

# bound_log FILE: empties a log of more than 1 MB; what it had is FILE.1. Its writers append to it.
bound_log() {
  if [[ -n $(find "$1" -size +1024k 2> /dev/null) ]]; then
    cp "$1" "$1.1"
    : > "$1"
  fi
}

# keep_services: starts SSH and syslog, looks after them and SNMP once a second, and bounds logs. It runs for ever. A
# pipe that nobody writes to is a clock that needs no further process.
keep_services() {
  local round=0 log
  declare -A REPORTED
  exec 8<> <(:)
  start_syslog
  prepare_ssh
  start_ssh
  while read -r -t 1 -u 8 || true; do
    # They have time to start.
    ((round++ > 3)) || continue
    restart_missing sshd start_ssh
    restart_missing syslogd start_syslog
    ! snmp_wanted || restart_missing snmpd start_snmp
    if ((round % 10 == 0)); then
      for log in /var/log/*.log /var/log/frr/*.log; do bound_log "$log"; done
    fi
  done
}

# start_syslog: receives what FRR logs with `log syslog`.
start_syslog() {
  busybox syslogd -n -O /var/log/syslog.log -s 1000 -b 1 &
  echo $! > /run/syslogd.pid
}

# await_agentx: waits for snmpd's socket. A daemon that does not find it retries only after 15 seconds.
await_agentx() {
  local tries=40
  while snmp_wanted && [[ ! -S $AGENTX_SOCKET ]] && ((tries-- > 0)); do
    sleep 0.05
  done
}
