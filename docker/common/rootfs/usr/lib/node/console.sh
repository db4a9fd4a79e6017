# shellcheck shell=bash
# A node with a shell on its console, and the names in its file `hosts`.

# add_hosts: appends the names in the node's file `hosts` to /etc/hosts, replacing those of the last start. Some engines
# write /etc/hosts again whenever the container starts, some do not.
add_hosts() {
  local mark='# from the file hosts' own
  if [[ -f $NODE_FILES/hosts ]]; then
    own=$(sed "/^$mark\$/,\$d" /etc/hosts)
    { printf '%s\n%s\n' "$own" "$mark" && text_of "$NODE_FILES/hosts"; } > /etc/hosts
  fi
}

# console: runs a shell for ever: after `exit` there is a new one, and the node goes on. A background job ignores SIGINT
# and SIGQUIT, and so would every command on the console without `env`. Without a terminal it only waits.
console() {
  while [[ -t 0 ]]; do
    (cd /root && exec env --default-signal=INT,QUIT,TERM HOME=/root bash) || sleep 1
  done
  exec sleep infinity
}
