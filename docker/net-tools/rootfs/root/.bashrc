# shellcheck shell=bash
# Both consoles read this.

# The name is looked up at every prompt: boot.sh may change it after the console's shell has started. Not by `$(<file)` in PS1:
# bash 5.2 expands such a prompt for ever and never shows it.
PROMPT_COMMAND='IFS= read -r HOST_NAME < /proc/sys/kernel/hostname'
PS1='\u@$HOST_NAME:\w\$ '

HISTCONTROL=ignoreboth
alias ip='ip -color=auto' ls='ls --color=auto' ll='ls -l' grep='grep --color=auto'
