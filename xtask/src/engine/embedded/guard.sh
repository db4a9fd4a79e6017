# guard.sh SESSION RUNTIME COMMAND…: runs the engine, and ends it when our standard input does, that is when this program has ended,
# however that happened. SESSION is the folder with the process that holds a user's namespace, RUNTIME what
# the monitors of running containers have in their command line.
session=$1 runtime=$2
shift 2
exec 3<&0
"$@" 3<&- </dev/null &
engine=$!
{
  cat <&3 >/dev/null
  kill -TERM "$engine"
  left=100
  while kill -0 "$engine" && [ "$left" -gt 0 ]; do
    sleep 0.1
    left=$((left - 1))
  done
  kill -KILL "$engine"
} 2>/dev/null &
watch=$!
wait "$engine"
code=$?
exec 3<&-
kill "$watch" 2>/dev/null

# Monitors of commands in containers that have ended stay a while, for whoever asks for the exit code. We do not any more.
for line in $(grep -ls "$runtime/[c]ontainers/" /proc/[0-9]*/cmdline); do
  grep -qs -e '--exec-attach' "$line" || continue
  pid=${line#/proc/}
  pid=${pid%/cmdline}
  [ -n "$(cat "/proc/$pid/task/$pid/children" 2>/dev/null)" ] || kill -KILL "$pid" 2>/dev/null
done

# Nodes that `run` has left running need the namespace that this process holds. The brackets keep grep from finding itself.
if grep -qs "$runtime/[c]ontainers/" /proc/[0-9]*/cmdline; then
  exit "$code"
fi
for pause in "$session"/libpod/tmp/pause.pid "$session"/libpod/pause.pid "$runtime"/libpod/pause.pid; do
  [ ! -s "$pause" ] || kill "$(cat "$pause")" 2>/dev/null
done
exit "$code"
