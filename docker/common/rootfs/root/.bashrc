# shellcheck shell=bash
# Read by the shells of both consoles.

# The host name is read at every prompt, because boot.sh may change it after the console's shell has started. `$(<file)`
# in PS1 would not do: bash 5.2 expands such a prompt for ever and never shows it.
PROMPT_COMMAND='IFS= read -r HOST_NAME < /proc/sys/kernel/hostname'
PS1='\u@$HOST_NAME:\w\$ '

HISTCONTROL=ignoreboth
alias ip='ip -color=auto' ls='ls --color=auto' ll='ls -l' grep='grep --color=auto'
