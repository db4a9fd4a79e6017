# shellcheck shell=bash
# What all of the node's scripts share: where things are, and how a line is said.
# shellcheck disable=SC2034  # the names are used by the scripts that read this file

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

# Neither snmpd nor FRR's daemons need the names in MIB files, which are many and slow to read.
export MIBS=

# The files of the node definition. CML mounts each of them alone: it can be rewritten in place, but not replaced.
# Any of them may be missing (a plain `docker run` mounts nothing).
NODE_FILES=/config

# Files that live only as long as the container runs.
NODE_RUN=/run/node

say() {
  printf 'node: %s\n' "$*"
}

# The text of a file that people edit, without the carriage returns of other systems' editors.
text_of() {
  tr -d '\r' < "$1"
}

size_of() {
  stat -L -c %s "$1"
}

# Names the node as the `hostname` line of an FRR configuration says. Without such a line the name stays.
apply_host_name() {
  local name
  name=$(awk '$1 == "hostname" { name = $2 } END { print name }' "$1")
  if [[ -z $name || $name == "$(< /proc/sys/kernel/hostname)" ]]; then
    return
  fi
  if [[ ! $name =~ ^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$ ]]; then
    say "host name not set: '$name' in frr.conf is not a valid host name"
  elif ! hostname "$name" 2> /dev/null; then
    say "host name not set to '$name': not permitted (needs the capability SYS_ADMIN)"
  fi
}
