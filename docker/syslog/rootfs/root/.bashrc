# shellcheck shell=bash
# Both consoles read this.

# The name is looked up at every prompt: boot.sh may change it after the console's shell has started.
PS1='\u@$(</proc/sys/kernel/hostname):\w\$ '

HISTCONTROL=ignoreboth
alias ip='ip -color=auto' ls='ls --color=auto' ll='ls -l' grep='grep --color=auto'
