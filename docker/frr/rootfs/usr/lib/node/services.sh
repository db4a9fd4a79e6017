# shellcheck shell=bash
# Remote access to the node: SSH and SNMP.

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

start_ssh() {
  install -d -m 755 /run/sshd
  restore_host_key
  set_root_password
  install_authorized_keys
  # A background job of this shell ignores SIGINT, and so would every shell of this sshd without `env`.
  env --default-signal=INT,QUIT "$(command -v sshd)" -f /usr/lib/node/sshd_config -E /var/log/sshd.log \
    || say "SSH: sshd did not start, see /var/log/sshd.log"
}

# snmp_wanted: whether SNMP runs; an empty snmpd.conf switches it off.
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
    || say "SNMP: snmpd did not start, see /var/log/snmpd.log"
}

# enable_agentx: adds `agentx` to the configuration, without which FRR's daemons do not answer SNMP.
enable_agentx() {
  if snmp_wanted && ! grep -q '^agentx' "$FRR_CONF"; then
    sed -i '/^end$/d' "$FRR_CONF"
    echo agentx >> "$FRR_CONF"
  fi
}

# await_agentx: waits for snmpd's socket. A daemon that does not find it retries only after 15 seconds.
await_agentx() {
  local tries=40
  while snmp_wanted && [[ ! -S $AGENTX_SOCKET ]] && ((tries-- > 0)); do
    sleep 0.05
  done
}
