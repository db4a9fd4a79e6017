# shellcheck shell=bash
# What a node says, and its console.

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

# The files of the node definition. CML mounts each of them alone: it can be rewritten in place, but not replaced. Any of them
# may be missing (a plain `docker run` mounts nothing).
NODE_FILES=/config

say() {
  printf 'node: %s\n' "$*"
}

# The text of a file that people edit, without the carriage returns of other systems' editors.
text_of() {
  tr -d '\r' < "$1"
}

# add_hosts: the user's names come after the engine's own. Some engines write /etc/hosts anew whenever the container starts, some do not.
add_hosts() {
  local mark='# from the file hosts' own
  if [[ -f $NODE_FILES/hosts ]]; then
    own=$(sed "/^$mark\$/,\$d" /etc/hosts)
    { printf '%s\n%s\n' "$own" "$mark" && text_of "$NODE_FILES/hosts"; } > /etc/hosts
  fi
}

# announce: CML takes the node for booted when it reads this on the console.
announce() {
  if [[ -c /dev/console && -w /dev/console ]]; then
    echo READY > /dev/console
  else
    echo READY
  fi
}

# console: a shell for ever: whoever types `exit` gets a new one rather than a stopped node. A background job ignores SIGINT and
# SIGQUIT, and so would every command on the console, were it not for `env`. Without a terminal it only waits.
console() {
  while [[ -t 0 ]]; do
    (cd /root && exec env --default-signal=INT,QUIT,TERM HOME=/root bash) || sleep 1
  done
  exec sleep infinity
}
