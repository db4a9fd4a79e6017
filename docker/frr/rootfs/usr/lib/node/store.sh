# shellcheck shell=bash
# Keeps FRR's configuration in the file that the node definition mounts.
#
# That file is mounted alone, so the usual way (write a new file and rename it) fails with EBUSY; and rewriting it in
# place leaves half a configuration if the node is killed. So a second mounted file, the journal, gets the old and the
# new content first. The two files tell how far a save went:
#
#   1. the journal is written and synced     until it is complete, the configuration is the old one
#   2. the configuration is rewritten        from now on the journal can complete the save
#   3. the journal is set to idle            the save is complete
#
# Both contents are in the journal because an interrupted rewrite leaves bytes of both in the configuration: this is how
# recover_store distinguishes it from a file that was edited since.

STORE=$NODE_FILES/frr.conf
JOURNAL=$NODE_FILES/frr.conf.journal

# The ordinary file that FRR itself reads.
FRR_CONF=/etc/frr/frr.conf

# Locked while a configuration is saved, so that two saves never mix and a stop waits for a running save.
# shellcheck disable=SC2034  # used by save-config and start
STORE_LOCK=$NODE_RUN/store.lock

# There from the moment when the node begins to stop.
# shellcheck disable=SC2034  # used by save-config and start
STOPPING=$NODE_RUN/stopping

digest_of() {
  local line
  line=$(sha256sum "$1") && echo "${line%% *}"
}

# overwrite CONTENT FILE: gives FILE the content of CONTENT. FILE is never shorter than both contents, so that a full
# disk is noticed while there are still blocks to write the old content back.
overwrite() {
  dd if="$1" of="$2" bs=64k conv=notrunc,fsync status=none \
    && truncate -s "$(size_of "$1")" "$2" \
    && sync "$2"
}

# close_journal: sets the journal to idle. It contains a word rather than nothing, so that no tool drops it as an empty
# file. An empty journal, the result of a full disk, is idle too.
close_journal() {
  true > "$JOURNAL" && echo idle > "$JOURNAL"
  sync "$JOURNAL"
}

journal_is_idle() {
  local start=""
  IFS= read -r -d '' -n 5 start < "$JOURNAL"
  [[ ! -s $JOURNAL || ${start%$'\n'} == idle ]]
}

# write_journal OLD NEW: writes both contents to the journal, and syncs it.
write_journal() {
  {
    echo "frr.conf-journal 1 $(size_of "$1") $(digest_of "$1") $(size_of "$2") $(digest_of "$2")"
    cat "$1" "$2"
  } > "$NODE_RUN/journal.next" && dd if="$NODE_RUN/journal.next" of="$JOURNAL" bs=64k conv=fsync status=none
}

# read_journal OLD NEW: unpacks the journal into two files. Fails if the journal is not complete.
read_journal() {
  local kind version old_size old_digest new_size new_digest
  read -r kind version old_size old_digest new_size new_digest < <(head -n 1 "$JOURNAL" | tr -d '\0') || return 1
  [[ "$kind $version" == "frr.conf-journal 1" && $old_size =~ ^[0-9]+$ && $new_size =~ ^[0-9]+$ ]] || return 1
  tail -n +2 "$JOURNAL" | head -c "$old_size" > "$1"
  tail -n +2 "$JOURNAL" | tail -c "+$((old_size + 1))" > "$2"
  [[ $(size_of "$2") == "$new_size" && $(digest_of "$1") == "$old_digest" && $(digest_of "$2") == "$new_digest" ]]
}

# differing FILE CONTENT: prints the positions at which FILE has a byte that is neither CONTENT's nor NUL.
differing() {
  local padded=$NODE_RUN/padded
  cp "$2" "$padded"
  truncate -s "$(size_of "$1")" "$padded"
  cmp -l "$1" "$padded" | awk '$2 != 0 { print $1 }' | sort
}

# is_torn FILE OLD NEW: whether every byte of FILE comes from OLD or NEW, or is a NUL that a crash of the host left.
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

# recover_store: at the start, completes an interrupted save.
recover_store() {
  local old=$NODE_RUN/old new=$NODE_RUN/new
  SOURCE=$STORE
  if [[ ! -f $STORE || ! -f $JOURNAL ]]; then
    return 0
  elif journal_is_idle; then
    [[ $(size_of "$JOURNAL") == 5 ]] || close_journal
  elif ! read_journal "$old" "$new"; then
    say "frr.conf: the last save was interrupted before it began: using the configuration before it"
    close_journal
  elif cmp -s "$STORE" "$new"; then
    close_journal
  elif is_torn "$STORE" "$old" "$new"; then
    if overwrite "$new" "$STORE"; then
      close_journal
      say "frr.conf: the last save was interrupted, and is now complete"
    else
      SOURCE=$new
      say "frr.conf: could not complete the interrupted save (disk full?): using its copy in frr.conf.journal"
    fi
  else
    say "frr.conf: edited after an interrupted save: using the edited file"
    close_journal
  fi
}

# load_store: at the start, gives FRR the configuration that recover_store found. Without a mounted file, FRR keeps that
# of the container.
load_store() {
  [[ -f $STORE ]] || return 0
  install -o frr -g frr -m 640 <(text_of "$SOURCE") "$FRR_CONF"
}

# complete_save: completes the save that recover_store could not complete, because the disk was full: until then, the
# journal has the only whole configuration.
complete_save() {
  local old=$NODE_RUN/old new=$NODE_RUN/unfinished
  if [[ ! -f $JOURNAL ]] || journal_is_idle || ! read_journal "$old" "$new"; then
    return 0
  fi
  overwrite "$new" "$STORE" && close_journal
}

# save_to_store NEW: makes NEW the content of the mounted file. If it fails, the mounted file has the old content.
save_to_store() {
  local new=$1 old=$NODE_RUN/old
  if [[ ! -f $STORE ]] || cmp -s "$new" "$STORE"; then
    return 0
  fi
  complete_save || return 1
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
