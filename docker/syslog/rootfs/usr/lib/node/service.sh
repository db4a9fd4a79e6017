# shellcheck shell=bash
# The service of this node. The names are used by `start`.
# shellcheck disable=SC2034

SERVICE=rsyslog
SERVICE_PROGRAM=rsyslogd

prepare_service() {
  mkdir -p /var/log/hosts /var/spool/rsyslog
  rm -f /run/rsyslogd.pid
  if [[ -f $NODE_FILES/rsyslog.conf ]]; then
    text_of "$NODE_FILES/rsyslog.conf" > /etc/rsyslog.conf
  fi
}

run_service() {
  rsyslogd -n -f /etc/rsyslog.conf -i /run/rsyslogd.pid
}

# listens OPTION WORD: whether a socket of that kind (ss's OPTION) is open, if the configuration has WORD at all.
listens() {
  ! grep -q "^[^#]*$2" /etc/rsyslog.conf || [[ -n $(ss --no-header --listening --numeric "$1") ]]
}

# service_answers: messages are taken as soon as the sockets that the configuration asks for are open.
service_answers() {
  pgrep -x rsyslogd > /dev/null && listens --udp 'type="imudp"' && listens --tcp 'type="imtcp"'
}
