# guard.sh SESSION RUNTIME IMAGES LOCK COMMAND… SOCKET: runs the engine, and ends it when our standard input does, that is when this program has
# ended, however that happened. SESSION is what Podman takes for a login session, RUNTIME the folder of what runs.
session=$1 runtime=$2 images=$3 lock=$4
shift 4
for socket; do :; done

# with NAME FILE TEXT: processes called so that have TEXT in their FILE. The brackets keep grep from finding itself.
with() {
  text="$(printf %s "$3" | sed 's/.$/[&]/')"
  for path in $(grep -ls -e "$text" /proc/[0-9]*/"$2"); do
    pid=${path#/proc/}
    pid=${pid%/*}
    name=
    read -r name 2>/dev/null <"/proc/$pid/comm"
    # shellcheck disable=SC2254 # it is a pattern
    case $name in $1) echo "$pid" ;; esac
  done
}

# An ordinary user's Podman is two processes, of which the first does not tell the second of a signal. The second has other names
# while it starts.
tell() {
  for pid in $(with '[!s]*' cmdline "$socket"); do
    kill "$1" "$pid" 2>/dev/null
  done
}

exec 3<&0
# Until the engine has ended nobody may remove the storage, also if our program is gone.
exec 9>>"$lock" && flock --shared 9
"$@" 3<&- 9>&- </dev/null &
engine=$!
{
  exec 9>&-
  cat <&3 >/dev/null
  tell -TERM
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
for _ in 1 2 3; do
  tell -KILL
  [ -z "$(with '[!s]*' cmdline "$socket")" ] || sleep 0.1
done
kill "$watch" 2>/dev/null

# What else is left could be another engine's at work on the storage. Its command, or its guard, does the rest as the last one.
flock --nonblock 9 || exit "$code"

# Steps of builds whose engine had to be killed: their root is a container's of these images, and nobody of an engine waits for them.
is_in_ours() {
  grep -qs "^[0-9]* [0-9]* [0-9:]* [^ ]* / .*$images/" "/proc/$1/mountinfo"
}
parent_of() {
  sed 's/.*) . \([0-9]*\) .*/\1/' "/proc/$1/stat" 2>/dev/null
}
end_orphans() {
  for path in $(grep -ls "^[0-9]* [0-9]* [0-9:]* [^ ]* / .*$images/" /proc/[0-9]*/mountinfo); do
    pid=${path#/proc/}
    pid=${pid%/*}
    parent=$(parent_of "$pid")
    name=
    read -r name 2>/dev/null <"/proc/$parent/comm"
    case $name in
      conmon | podman | runc | crun | exe | buildah*) continue ;;
    esac
    # What we know of a parent counts only if that was still the parent when we looked.
    is_in_ours "$parent" || [ "$(parent_of "$pid")" != "$parent" ] || kill -KILL "$pid" 2>/dev/null
  done
}
end_orphans

# Monitors of commands in containers that have ended stay a while, for whoever asks for the exit code. We do not any more.
for pid in $(with conmon cmdline "$runtime/"); do
  grep -qs -e '--exec-attach' "/proc/$pid/cmdline" || continue
  [ -n "$(cat "/proc/$pid/task/$pid/children" 2>/dev/null)" ] || kill -KILL "$pid" 2>/dev/null
done

# What holds a user's namespace is needed by nodes that `run` has left running.
if [ -z "$(with conmon cmdline "$runtime/")" ]; then
  for pid in $(with 'podman*' environ "$session") $(with 'catatonit*' environ "$session"); do
    kill "$pid" 2>/dev/null
  done
fi
exit "$code"
