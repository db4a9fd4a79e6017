# shellcheck shell=bash
# The service of this node. The names are used by `start`.
# shellcheck disable=SC2034

SERVICE=dnsmasq
SERVICE_PROGRAM=dnsmasq
TFTP_ROOT=/srv/tftp

prepare_service() {
  mkdir -p "$TFTP_ROOT" /var/lib/misc
  if [[ -f $NODE_FILES/dnsmasq.conf ]]; then
    text_of "$NODE_FILES/dnsmasq.conf" > /etc/dnsmasq.conf
  fi
}

# The log goes where the user looks for it; --log-facility=- is stderr, which `start` sends there.
run_service() {
  dnsmasq --keep-in-foreground --conf-file=/etc/dnsmasq.conf --log-facility=-
}

# dns_answers: asks the server on this node for its version, as `dig CH TXT version.bind` does.
dns_answers() {
  local answer
  answer=$(
    exec 3<> /dev/udp/127.0.0.1/53 || exit 1
    printf '\x4e\x44\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07version\x04bind\x00\x00\x10\x00\x03' >&3
    timeout 1 head -c 2 <&3
  ) 2> /dev/null
  [[ $answer == ND ]]
}

# service_answers: with DNS switched off or kept away from this node's own address, dnsmasq is ready once its sockets are open.
service_answers() {
  local sockets
  sockets=$(ss --no-header --listening --udp --numeric)
  if [[ $sockets == *127.0.0.1:53\ * ]]; then
    dns_answers
  else
    [[ $sockets =~ :(53|67|69|547)\  ]]
  fi
}
