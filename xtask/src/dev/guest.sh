# guest.sh USER FOLDER COMMAND…: runs the command in the folder as the user. What it needs may lie in a folder that only root may
# enter; so it runs where that folder shows nothing but what is needed.
user=$1 folder=$2
shift 2
setting="HOME=$GUEST_HOME USER=$user LOGNAME=$user PATH=$GUEST_PATH XTASK_ENGINE=embedded XTASK_EMBEDDED_STORAGE=$GUEST_STORAGE"

as_user() {
  # shellcheck disable=SC2086 # these are words
  setpriv --reuid "$user" --regid "$user" --init-groups env -i $setting "$@"
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

show "$folder"
show "$(dirname "$(dirname "$(dirname "$1")")")"
cd "$folder/xtask"
as_user "$@"
