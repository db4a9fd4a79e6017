# shellcheck shell=bash
# The service of this node.
# shellcheck disable=SC2034  # used by `start`

SERVICE=dnsmasq
SERVICE_PROGRAM=dnsmasq
TFTP_ROOT=/srv/tftp

prepare_service() {
  mkdir -p "$TFTP_ROOT" /var/lib/misc
  if [[ -f $NODE_FILES/dnsmasq.conf ]]; then
    text_of "$NODE_FILES/dnsmasq.conf" > /etc/dnsmasq.conf
  fi
}

# --log-facility=- is stderr, which `start` redirects to the log file.
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

# service_answers: if dnsmasq does not serve DNS on 127.0.0.1, it is ready when its sockets are open.
service_answers() {
  local sockets
  sockets=$(ss --no-header --listening --udp --numeric)
  if [[ $sockets == *127.0.0.1:53\ * ]]; then
    dns_answers
  else
    [[ $sockets =~ :(53|67|69|547)\  ]]
  fi
}
