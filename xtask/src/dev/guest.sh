#!/bin/sh
# guest.sh PROGRAM ARGUMENT…: runs a program of tests as the user GUEST_NAME, in the package's folder. What it needs may
# be in a folder that only root may enter; so it runs where that folder shows nothing but what is needed.
set -eu
if [ -z "${GUEST_MOUNTS-}" ]; then
  exec env GUEST_MOUNTS=own unshare --mount "$0" "$@"
fi

as_user() {
  setpriv --reuid "$GUEST_NAME" --regid "$GUEST_NAME" --init-groups env -i HOME="$GUEST_HOME" USER="$GUEST_NAME" \
    LOGNAME="$GUEST_NAME" PATH="$PATH" XTASK_ENGINE=embedded XTASK_EMBEDDED_STORAGE="$GUEST_STORAGE" "$@"
}

show() {
  [ -e "$1" ] && ! as_user test -r "$1" -a -x "$1" || return 0
  closed=$1
  while parent=$(dirname "$closed"); [ "$parent" != / ] && ! as_user test -x "$parent"; do
    closed=$parent
  done
  held=$(mktemp -d)
  mount --bind "$1" "$held"
  mount -t tmpfs -o mode=755 tmpfs "$closed"
  mkdir -p "$1"
  mount --move "$held" "$1"
  rmdir "$held"
}

show "$GUEST_FOLDER"
# The folder `target`: the program is in target/debug/deps.
show "$(dirname "$(dirname "$(dirname "$1")")")"
cd "$GUEST_FOLDER/xtask"
as_user "$@"
