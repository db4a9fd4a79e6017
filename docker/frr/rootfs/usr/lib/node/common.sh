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

# The sockets and process IDs of FRR's daemons.
FRR_RUN=/var/run/frr

# The lines of frr.conf that FRR has not loaded, as unloaded.awk prints them. Saving keeps them.
KEPT=$NODE_RUN/kept

# What the node has said on the console, for those who come by SSH.
NODE_LOG=/var/log/node.log

# say MESSAGE: prints a message on the console, from whatever process of the node.
say() {
  local console=/dev/console
  [[ -c $console && -w $console ]] || console=/proc/1/fd/1
  printf 'node: %s\n' "$*" | tee -a "$NODE_LOG" > "$console"
} 2> /dev/null

# snmp_wanted: whether SNMP runs; an empty snmpd.conf switches it off.
snmp_wanted() {
  [[ ! -f $NODE_FILES/snmpd.conf || -s $NODE_FILES/snmpd.conf ]]
}

# printable_end FILE: prints the last line that is not empty, as far as it can be printed.
printable_end() {
  grep -a '[^[:space:]]' "$1" | tail -n 1 | cut -c 1-200 | tr -c '[:print:]\n' '?'
}

# size_of FILE: prints its size in bytes.
size_of() {
  stat -L -c %s "$1"
}

# The name that the node started with, while nobody has chosen another.
UNNAMED=$NODE_RUN/unnamed

# set_host_name NAME: hostname(1) refuses names that FRR and the kernel accept, such as a_b; FRR's command sets them.
set_host_name() {
  local folder=$NODE_RUN/name
  hostname "$1" 2> /dev/null && return
  mkdir -p "$folder"
  echo "hostname $1" > "$folder/frr.conf"
  cp /etc/frr/vtysh.conf "$folder/"
  /usr/lib/frr/vtysh --config_dir "$folder" -C > /dev/null 2>&1
  [[ $1 == "$(< /proc/sys/kernel/hostname)" ]]
}

# apply_host_name FILE: gives the node the host name in an FRR configuration, if it has a `hostname` line.
apply_host_name() {
  local name
  name=$(awk '$1 == "hostname" && !/^ / { name = $2 } END { print name }' "$1")
  if [[ $name == "$(< /proc/sys/kernel/hostname)" ]]; then
    return
  elif [[ ! $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$ ]]; then
    [[ -z $name ]] || say "host name '${name//[^[:print:]]/?}' not set:" \
      "it may have 63 letters (a-z), digits, hyphens, underscores and dots, and begins with a letter or digit"
    cat /proc/sys/kernel/hostname > "$UNNAMED"
  elif ! set_host_name "$name"; then
    say "host name not set to '$name': not permitted (the container needs the capability SYS_ADMIN)"
    cat /proc/sys/kernel/hostname > "$UNNAMED"
  fi
}
