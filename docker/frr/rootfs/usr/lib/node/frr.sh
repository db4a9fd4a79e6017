# shellcheck shell=bash
# Starts and stops FRR. FRR's own frrinit.sh starts one daemon after the other; here, daemons that do not need each
# other start at the same time. Everything else is left to FRR: frrcommon.sh starts and stops single daemons, and
# watchfrr uses the same functions to restart them.

VTY=/var/run/frr

# These run whatever the user chooses.
CORE_DAEMONS="zebra mgmtd staticd"

# frrcommon.sh calls these. watchfrr reports what was started, so only warnings and failures are printed.
log_success_msg() { :; }
log_warning_msg() { say "FRR: $*"; }
log_failure_msg() { say "FRR: $*"; }

# wanted_daemons: prints the names in `protocols`, one a line; a name ends at the first blank or hash.
wanted_daemons() {
  [[ -f $NODE_FILES/protocols ]] || return 0
  awk '{ gsub(/\r/, ""); sub(/#.*/, ""); print $1 }' "$NODE_FILES/protocols"
}

# choose_daemons: writes the file by which /etc/frr/daemons knows which of FRR's DAEMONS this node runs.
choose_daemons() {
  local name chosen=""
  while read -r name; do
    if [[ -z $name || " $CORE_DAEMONS watchfrr " == *" $name "* ]]; then
      continue
    elif [[ " $DAEMONS " == *" $name "* && -x /usr/lib/frr/$name ]]; then
      chosen+="$name=yes"$'\n'
    else
      say "protocols: unknown daemon '$name' (known: $DAEMONS)"
    fi
  done < <(wanted_daemons; echo)
  printf '%s' "$chosen" > /etc/frr/daemons.chosen
}

# start_frr: starts the chosen daemons, gives them the configuration, and sets DAEMONS_RUN to their names.
start_frr() {
  local daemon
  install -d -o frr -g frr -m 755 "$VTY"
  # A killed container leaves files with process IDs, which may be in use again.
  rm -rf "${VTY:?}"/* /var/tmp/frr
  : > /etc/frr/daemons.chosen
  # shellcheck source=/dev/null
  . /usr/lib/frr/frrcommon.sh
  choose_daemons
  # shellcheck source=/dev/null
  . /etc/frr/daemons.chosen
  daemon_list DAEMONS_RUN
  # The others are clients of these two, and retry only after seconds.
  start_together zebra mgmtd
  # shellcheck disable=SC2086  # a list of names
  start_together ${DAEMONS_RUN//@(zebra|mgmtd)/}
  await_agentx
  load_configuration
  watch_frr &
  WATCHER=$!
}

start_together() {
  local daemon starts=()
  for daemon; do
    daemon_start --all "$daemon" &
    starts+=($!)
  done
  wait "${starts[@]}"
}

# load_configuration: gives frr.conf to the daemons. Of vtysh's messages only errors are printed. That mgmtd's
# configuration is locked is not an error: vtysh retries until it is free.
load_configuration() {
  /usr/lib/frr/vtysh -b 2>&1 | grep -vE \
    -e '^\[[0-9]+\|[a-z0-9]+\] (sending configuration|done)$' \
    -e '^Waiting for children' \
    -e 'datastore locked by another session$'
}

# watch_frr: keeps watchfrr running. Without it nothing restarts a dead daemon, and `write` would not reach the mounted
# file. It runs in a session of its own, or a ^C on the console would end it.
watch_frr() {
  while true; do
    # shellcheck disable=SC2086  # a list of names
    setsid /usr/lib/frr/watchfrr $DAEMONS_RUN > /var/log/frr/watchfrr.log 2>&1
    sleep 1
  done
}

# daemons_down: prints the daemons that watchfrr does not see running; all of them while watchfrr itself does not
# answer.
daemons_down() {
  local status daemon
  status=$(/usr/lib/frr/vtysh -d watchfrr -c 'show watchfrr' 2> /dev/null)
  for daemon in $DAEMONS_RUN; do
    [[ $'\n'$status =~ $'\n '\ *"$daemon"\ +Up ]] || printf '%s ' "$daemon"
  done
}

# await_frr SECONDS: waits until every chosen daemon runs; fails after that time. Asking watchfrr takes as long as a
# daemon's start, so it is not asked until it has written its file, or a second has passed.
await_frr() {
  local end=$((SECONDS + $1)) looks=0
  while [[ ! -e $VTY/watchfrr.started ]] && ((looks++ < 40)); do
    sleep 0.02
  done
  while [[ -n $(daemons_down) ]]; do
    if ((SECONDS >= end)); then
      return 1
    fi
    sleep 0.05
  done
}

stop_frr() {
  [[ -z ${WATCHER:-} ]] || kill "$WATCHER"
  daemon_stop watchfrr --quiet
  all_stop --quiet
}
