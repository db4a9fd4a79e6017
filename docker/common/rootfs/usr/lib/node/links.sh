# shellcheck shell=bash
# Brings up the node's interfaces. They are moved into the running container, and that leaves them down.

# keeps_down NAME: whether the node's configuration wants this interface down. A node that has such a configuration
# redefines this function.
keeps_down() {
  false
}

# raise_new_links: brings up each ethN that was not there before. The others stay as the user wants them.
raise_new_links() {
  local entry index
  for entry in /sys/class/net/eth*; do
    read -r index 2> /dev/null < "$entry/ifindex" || continue
    if [[ -z ${LINKS_SEEN[index]:-} ]]; then
      LINKS_SEEN[index]=1
      keeps_down "${entry##*/}" || ip link set "${entry##*/}" up
    fi
  done
}

# watch_links: runs for ever. It looks again half a second after the start, for a link that came while `ip monitor`
# started.
watch_links() {
  LINKS_SEEN=()
  while read -r; do
    raise_new_links
  done < <(echo; ip -oneline monitor link & sleep 0.5; echo; wait)
}
