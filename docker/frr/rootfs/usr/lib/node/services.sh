# shellcheck shell=bash
# The ways in besides the console: SSH and SNMP.

HOST_KEY=/etc/ssh/ssh_host_ed25519_key
HOST_KEY_STORE=$NODE_FILES/ssh_host_ed25519_key
AGENTX_SOCKET=/var/agentx/master

is_host_key() {
  [[ -s $1 ]] && ssh-keygen -y -P '' -f "$1" > /dev/null 2>&1
}

# restore_host_key: the node keeps the key by which its users know it, even if the container is made anew. It is made at the
# first start: a key that came with the image would be the same in every node.
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
    dd if="$HOST_KEY" of="$HOST_KEY_STORE" conv=fsync status=none || say "SSH: the host key can't be kept"
  fi
}

# set_root_password: the first line of the file `password`, or no login by password at all. It goes through a pipe, never
# through an argument. (`*` bars the password only; `!` would bar the authorized keys too.) It is hashed by SHA-512, because
# Debian's default takes a tenth of a second of every start, and the password lies beside the hash in the clear.
set_root_password() {
  local password=""
  if [[ -f $NODE_FILES/password ]]; then
    IFS= read -r password < <(text_of "$NODE_FILES/password")
  fi
  sed -i 's/^root:[^:]*:/root:*:/' /etc/shadow
  if [[ -n ${password//[[:space:]]/} ]]; then
    printf 'root:%s\n' "$password" | chpasswd -c SHA512 > /dev/null 2>&1 || say "SSH: the password can't be used: no login by password"
  fi
}

install_authorized_keys() {
  [[ -f $NODE_FILES/authorized_keys ]] || return 0
  install -d -m 755 /etc/ssh/authorized_keys
  text_of "$NODE_FILES/authorized_keys" > /etc/ssh/authorized_keys/root
}

start_ssh() {
  install -d -m 755 /run/sshd
  restore_host_key
  set_root_password
  install_authorized_keys
  # A background job of this shell ignores SIGINT, and so would every shell behind this sshd, were it not for `env`.
  env --default-signal=INT,QUIT "$(command -v sshd)" -f /usr/lib/node/sshd_config -E /var/log/sshd.log \
    || say "SSH: sshd does not start, see /var/log/sshd.log"
}

# snmp_wanted: an empty snmpd.conf switches SNMP off.
snmp_wanted() {
  [[ ! -f $NODE_FILES/snmpd.conf || -s $NODE_FILES/snmpd.conf ]]
}

start_snmp() {
  local access=$NODE_RUN/snmpd.conf addresses=(udp:161)
  snmp_wanted || return 0
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
  snmpd -C -c "/usr/lib/node/snmpd.conf,$access" -p /run/snmpd.pid -LF w /var/log/snmpd.log "${addresses[@]}" \
    || say "SNMP: snmpd does not start, see /var/log/snmpd.log"
}

# enable_agentx: FRR's daemons answer to SNMP only with `agentx` in the configuration; the user need not know.
enable_agentx() {
  if snmp_wanted && ! grep -q '^agentx' "$FRR_CONF"; then
    sed -i '/^end$/d' "$FRR_CONF"
    echo agentx >> "$FRR_CONF"
  fi
}

# await_agentx: a daemon that does not find snmpd's socket tries again only after 15 seconds.
await_agentx() {
  local tries=40
  while snmp_wanted && [[ ! -S $AGENTX_SOCKET ]] && ((tries-- > 0)); do
    sleep 0.05
  done
}
