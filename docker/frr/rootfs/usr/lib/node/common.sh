# shellcheck shell=bash
# What all scripts of the FRR node use.
# shellcheck disable=SC2034  # used by the scripts that read this file

# shellcheck source=node.sh
. /usr/lib/node/node.sh

export LC_ALL=C

# Neither snmpd nor FRR's daemons need the names in MIB files, and there are so many that reading them takes time.
export MIBS=

# Files that are needed only while the container runs.
NODE_RUN=/run/node

# size_of FILE: prints its size in bytes.
size_of() {
  stat -L -c %s "$1"
}

# apply_host_name FILE: gives the node the host name in an FRR configuration, if it has a `hostname` line.
apply_host_name() {
  local name
  name=$(awk '$1 == "hostname" { name = $2 } END { print name }' "$1")
  if [[ -z $name || $name == "$(< /proc/sys/kernel/hostname)" ]]; then
    return
  fi
  if [[ ! $name =~ ^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$ ]]; then
    say "host name not set: '$name' in frr.conf is not a valid host name"
  elif ! hostname "$name" 2> /dev/null; then
    say "host name not set to '$name': not permitted (the container needs the capability SYS_ADMIN)"
  fi
}
