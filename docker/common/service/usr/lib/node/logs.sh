# shellcheck shell=bash
# Keeps the logs of a node small: they are on the disk of the CML server.

# keep_logs_small PLACE...: runs for ever. A file in one of these places that has grown beyond 4 MiB becomes FILE.1, in
# place of the FILE.1 before it. It is copied and emptied, not renamed, because programs keep their logs open.
keep_logs_small() {
  while sleep 10; do
    find "$@" -type f -size +4M ! -name '*.1' -exec sh -c 'cp "$1" "$1.1" && true > "$1"' sh {} \; 2> /dev/null
  done
}
