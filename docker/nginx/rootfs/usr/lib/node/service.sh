# shellcheck shell=bash
# The service of this node.
# shellcheck disable=SC2034  # used by `start`

# shellcheck source=certificate.sh
. /usr/lib/node/certificate.sh

SERVICE=nginx
SERVICE_PROGRAM=nginx
LOGS=(/var/log/nginx)

prepare_service() {
  # Workers whose master was killed still have its ports.
  pkill -9 -x nginx
  mkdir -p /var/log/nginx
  if [[ -f $NODE_FILES/nginx.conf ]]; then
    text_of "$NODE_FILES/nginx.conf" > /etc/nginx/nginx.conf
  fi
  if [[ -f $NODE_FILES/index.html ]]; then
    text_of "$NODE_FILES/index.html" > /var/www/html/index.html
  fi
  restore_certificate /etc/nginx/tls.pem
}

run_service() {
  nginx -g 'daemon off;'
}

# last_words: an error in the configuration, with the name of the file that the user edits, and without process IDs,
# since the console repeats no message.
last_words() {
  local error
  error=$(tac "$LOG" | sed '/^node: starting /q' | sed -n 's/.*\[emerg\] \([0-9#]*: \)\?//p' | head -n 1)
  if [[ -n $error ]]; then
    error=${error//\/etc\/nginx\/nginx.conf/$NODE_FILES/nginx.conf}
    echo "${error//\/etc\/nginx\/tls.pem/$NODE_FILES/tls.pem}. Nothing is served until this is right."
  else
    echo "it was killed"
  fi
}

# service_answers: there are workers, which nginx starts when all ports of its configuration are open.
service_answers() {
  pgrep -f '^nginx: worker process' > /dev/null
}
