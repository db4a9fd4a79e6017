# shellcheck shell=bash
# The service of this node.
# shellcheck disable=SC2034  # used by `start`

# shellcheck source=certificate.sh
. /usr/lib/node/certificate.sh

SERVICE=freeradius
SERVICE_PROGRAM=freeradius
LOGS=(/var/log/freeradius)

CONFIGURATION=/etc/freeradius/3.0

# The server runs as this user: it reads the configuration, and writes the accounting log.
prepare_service() {
  local file
  mkdir -p /run/freeradius /var/log/freeradius
  for file in clients.conf users; do
    if [[ -f $NODE_FILES/$file ]]; then
      text_of "$NODE_FILES/$file" > "$CONFIGURATION/$file"
    fi
    : >> "$CONFIGURATION/$file"
  done
  restore_certificate "$CONFIGURATION/tls.pem"
  chown freerad:freerad /run/freeradius /var/log/freeradius "$CONFIGURATION"/{clients.conf,users,tls.pem}
}

run_service() {
  freeradius -f -l stdout
}

# last_words: the first error of the configuration, with the name of the file that the user edits, and without the time,
# since the console repeats no message.
last_words() {
  local error file
  error=$(tac "$LOG" | sed '/^node: starting /q' | tac | sed -n 's/^.* : Error: //p' | head -n 1)
  for file in clients.conf users tls.pem; do
    error=${error//$CONFIGURATION\/$file/$NODE_FILES/$file}
  done
  echo "${error:-it was killed}"
}

# service_answers: the server answers a Status-Server packet (RFC 5997), as it does when all its ports are open.
service_answers() {
  echo "Message-Authenticator = 0x00" | radclient -t 1 -r 1 127.0.0.1:18121 status status > /dev/null 2>&1
}
