# shellcheck shell=bash
# Read by the bash that runs boot.sh, before it: says which commands fail. Conditions, and what follows `||`, are none.

unset BASH_ENV
set -E
trap 'bash /usr/lib/node/boot-failed "$?" "$LINENO" "$BASH_COMMAND"' ERR
