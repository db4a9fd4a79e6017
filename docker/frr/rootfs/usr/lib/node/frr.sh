# shellcheck shell=bash
# Starts and stops FRR. FRR's own frrinit.sh starts one daemon after the other; here, daemons that do not need each
# other start at the same time. Everything else is left to FRR: frrcommon.sh starts and stops single daemons, and
# watchfrr uses the same functions to restart them.

# Where `log stdout` goes, and what FRR prints while it starts.
FRR_LOG=/var/log/frr/frr.log

# These run whatever the user chooses.
CORE_DAEMONS="zebra mgmtd staticd"

# frrcommon.sh calls these. watchfrr reports what was started, so only warnings and failures are printed.
log_success_msg() { :; }
log_warning_msg() { say "FRR: $*"; }
log_failure_msg() { say "FRR: $*"; }

# wanted_daemons: prints the names in `protocols`, one a line, and lines with an equals sign as they are. A hash begins
# a comment.
wanted_daemons() {
  [[ -f $NODE_FILES/protocols ]] || return 0
  text_of "$NODE_FILES/protocols" | awk '
    { sub(/#.*/, "") }
    /=/ { print; next }
    { for (i = 1; i <= NF; i++) print $i }
  '
}

# choose_daemons: writes the file by which /etc/frr/daemons knows which of FRR's DAEMONS this node runs.
choose_daemons() {
  local name chosen=""
  while read -r name; do
    if [[ " $CORE_DAEMONS watchfrr " == *" $name "* ]]; then
      continue
    elif [[ $name == *=* ]]; then
      say "protocols: '${name//[^[:print:]]/?}' is ignored: a daemon runs if its name alone is there"
    elif [[ " $DAEMONS " == *" $name "* && -x /usr/lib/frr/$name ]]; then
      chosen+="$name=yes"$'\n'
    else
      say "protocols: unknown daemon '${name//[^[:print:]]/?}' (known: $DAEMONS)"
    fi
  done < <(wanted_daemons)
  printf '%s' "$chosen" > /etc/frr/daemons.chosen
}

# start_frr: starts the chosen daemons, gives them the configuration, and sets DAEMONS_RUN to their names.
start_frr() {
  local daemon
  install -d -o frr -g frr -m 755 "$FRR_RUN"
  # A killed container leaves files with process IDs, which may be in use again.
  rm -rf "${FRR_RUN:?}"/* /var/tmp/frr
  : > /etc/frr/daemons.chosen
  # shellcheck source=/dev/null
  . /usr/lib/frr/frrcommon.sh
  choose_daemons
  # shellcheck source=/dev/null
  . /etc/frr/daemons.chosen
  daemon_list DAEMONS_RUN
  echo "$DAEMONS_RUN" > "$NODE_RUN/daemons"
  # The others are clients of these two, and retry only after seconds.
  start_together zebra mgmtd
  # shellcheck disable=SC2086  # a list of names
  start_together ${DAEMONS_RUN//@(zebra|mgmtd)/}
  await_agentx
  /usr/lib/node/load-config
  watch_frr &
  WATCHER=$!
}

start_together() {
  local daemon starts=()
  for daemon; do
    daemon_start --all "$daemon" >> "$FRR_LOG" 2>&1 &
    starts+=($!)
  done
  wait "${starts[@]}"
}

# watch_frr: keeps watchfrr running. Without it nothing restarts a dead daemon. It runs in a session of its own, or a ^C
# on the console would end it. Its output is also that of the daemons that it starts again.
watch_frr() {
  while true; do
    # shellcheck disable=SC2086  # a list of names
    setsid /usr/lib/frr/watchfrr $DAEMONS_RUN >> "$FRR_LOG"
    say "watchfrr ended and is started again"
    sleep 1
  done 2>> "$FRR_LOG"
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
  while [[ ! -e $FRR_RUN/watchfrr.started ]] && ((looks++ < 40)); do
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
