# shellcheck shell=bash
# What the scripts of every node use: paths, messages, READY.
# shellcheck disable=SC2034  # used by the scripts that read this file

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

# The files of the node definition. CML mounts each of them alone: it can be rewritten in place, but not replaced.
# Any of them may be missing (a plain `docker run` mounts nothing).
NODE_FILES=/config

# say MESSAGE: prints a message on the console.
say() {
  printf 'node: %s\n' "$*"
}

# text_of FILE: prints a file that users edit, without what editors on other systems leave: carriage returns, and a byte
# order mark at its beginning.
text_of() {
  LC_ALL=C sed -e $'1s/^\xef\xbb\xbf//' -e $'s/\r//g' "$1"
}

# announce: prints READY on the console. CML considers the node booted when it reads this.
announce() {
  if [[ -c /dev/console && -w /dev/console ]]; then
    echo READY > /dev/console
  else
    echo READY
  fi
}
