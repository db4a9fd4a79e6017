# shellcheck shell=bash
# Keeps FRR's configuration in the file that the node definition mounts.
#
# That file is mounted alone, so the usual way (write a new file, rename it over the old) fails with EBUSY; and rewriting
# it in place leaves half a configuration if the node is killed meanwhile. So a second mounted file, the journal, gets the old
# and the new content first. Every moment of a save can be told from the two files afterwards:
#
#   1. the journal is written and synced     until it is whole, the configuration is the old one, untouched
#   2. the configuration is rewritten        from here on the journal can finish what was begun
#   3. the journal is set to idle            nothing left to do
#
# Both contents are in the journal because a rewrite that was cut off leaves bytes of both in the configuration: that is how
# recover_store tells it from a file that somebody has edited since.

STORE=$NODE_FILES/frr.conf
JOURNAL=$NODE_FILES/frr.conf.journal

# What FRR itself reads: an ordinary file.
FRR_CONF=/etc/frr/frr.conf

# Held while a configuration is saved, so that two saves never mix and a stop waits for the save that is under way.
# shellcheck disable=SC2034  # save-config and start take it
STORE_LOCK=$NODE_RUN/store.lock

digest_of() {
  local line
  line=$(sha256sum "$1") && echo "${line%% *}"
}

# overwrite CONTENT FILE: gives FILE the content of CONTENT without ever being shorter than both its old and new content,
# so that a full disk is noticed while the old blocks are still there to be written back.
overwrite() {
  dd if="$1" of="$2" bs=64k conv=notrunc,fsync status=none \
    && truncate -s "$(size_of "$1")" "$2" \
    && sync "$2"
}

# An idle journal holds one word rather than nothing, so that no tool takes it for a file that need not exist. Emptied it is idle
# too, which is what a full disk makes of it.
close_journal() {
  true > "$JOURNAL" && echo idle > "$JOURNAL"
  sync "$JOURNAL"
}

journal_is_idle() {
  local start=""
  IFS= read -r -d '' -n 5 start < "$JOURNAL"
  [[ ! -s $JOURNAL || ${start%$'\n'} == idle ]]
}

# write_journal OLD NEW
write_journal() {
  {
    echo "frr.conf-journal 1 $(size_of "$1") $(digest_of "$1") $(size_of "$2") $(digest_of "$2")"
    cat "$1" "$2"
  } > "$NODE_RUN/journal.next" && dd if="$NODE_RUN/journal.next" of="$JOURNAL" bs=64k conv=fsync status=none
}

# read_journal OLD NEW: unpacks the journal into two files. Fails unless the journal is whole.
read_journal() {
  local kind version old_size old_digest new_size new_digest
  read -r kind version old_size old_digest new_size new_digest < <(head -n 1 "$JOURNAL" | tr -d '\0') || return 1
  [[ "$kind $version" == "frr.conf-journal 1" && $old_size =~ ^[0-9]+$ && $new_size =~ ^[0-9]+$ ]] || return 1
  tail -n +2 "$JOURNAL" | head -c "$old_size" > "$1"
  tail -n +2 "$JOURNAL" | tail -c "+$((old_size + 1))" > "$2"
  [[ $(size_of "$2") == "$new_size" && $(digest_of "$1") == "$old_digest" && $(digest_of "$2") == "$new_digest" ]]
}

# differing FILE CONTENT: the positions at which FILE has a byte that is neither CONTENT's nor NUL.
differing() {
  local padded=$NODE_RUN/padded
  cp "$2" "$padded"
  truncate -s "$(size_of "$1")" "$padded"
  cmp -l "$1" "$padded" | awk '$2 != 0 { print $1 }' | sort
}

# is_torn FILE OLD NEW: true if every byte of FILE comes from one of both contents, or is a NUL that a crash of the host left.
is_torn() {
  local old_size new_size size
  size=$(size_of "$1") old_size=$(size_of "$2") new_size=$(size_of "$3")
  if ((size > old_size && size > new_size)); then
    return 1
  fi
  differing "$1" "$2" > "$NODE_RUN/not-old"
  differing "$1" "$3" > "$NODE_RUN/not-new"
  [[ -z $(comm -12 "$NODE_RUN/not-old" "$NODE_RUN/not-new") ]]
}

# recover_store: at start, finishes the save that was cut off, if there was one.
recover_store() {
  local old=$NODE_RUN/old new=$NODE_RUN/new
  SOURCE=$STORE
  if [[ ! -f $STORE || ! -f $JOURNAL ]]; then
    return 0
  elif journal_is_idle; then
    [[ $(size_of "$JOURNAL") == 5 ]] || close_journal
  elif ! read_journal "$old" "$new"; then
    say "frr.conf: the last save was cut off before it began: the configuration before it is used"
    close_journal
  elif cmp -s "$STORE" "$new"; then
    close_journal
  elif is_torn "$STORE" "$old" "$new"; then
    if overwrite "$new" "$STORE"; then
      close_journal
      say "frr.conf: the last save was cut off: finished now"
    else
      SOURCE=$new
      say "frr.conf: the last save was cut off and can't be finished (disk full?): kept in frr.conf.journal, and used"
    fi
  else
    say "frr.conf: edited after a save that was cut off: the edited file is used"
    close_journal
  fi
}

# load_store: at start, gives FRR what recover_store found to be the configuration. Without a mounted file, FRR keeps what the
# container has.
load_store() {
  [[ -f $STORE ]] || return 0
  install -o frr -g frr -m 640 <(text_of "$SOURCE") "$FRR_CONF"
}

# save_to_store NEW: makes NEW the content of the mounted file. On failure the mounted file holds the old content.
save_to_store() {
  local new=$1 old=$NODE_RUN/old
  if [[ ! -f $STORE ]] || cmp -s "$new" "$STORE"; then
    return 0
  fi
  cp "$STORE" "$old" || return 1
  if [[ ! -f $JOURNAL ]]; then
    overwrite "$new" "$STORE" || { overwrite "$old" "$STORE"; return 1; }
    return 0
  fi
  write_journal "$old" "$new" || { close_journal; return 1; }
  if ! overwrite "$new" "$STORE"; then
    overwrite "$old" "$STORE" && close_journal
    return 1
  fi
  close_journal
}
