# shellcheck shell=bash
# The service of this node.
# shellcheck disable=SC2034  # used by `start`

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

# listens OPTION WORD: whether a socket of that kind (OPTION of ss) is open; true if the configuration does not contain
# WORD.
listens() {
  ! grep -q "^[^#]*$2" /etc/rsyslog.conf || [[ -n $(ss --no-header --listening --numeric "$1") ]]
}

# service_answers: rsyslog accepts messages when the sockets of its configuration are open.
service_answers() {
  pgrep -x rsyslogd > /dev/null && listens --udp 'type="imudp"' && listens --tcp 'type="imtcp"'
}
