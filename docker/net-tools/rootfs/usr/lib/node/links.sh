# shellcheck shell=bash
# The node's interfaces are moved into the running container, which leaves them down. A host's interfaces shall be up.

# raise_new_links: brings up each ethN that was not there before. One that was is left as its user wants it.
raise_new_links() {
  local entry index
  for entry in /sys/class/net/eth*; do
    read -r index 2> /dev/null < "$entry/ifindex" || continue
    if [[ -z ${LINKS_SEEN[index]:-} ]]; then
      LINKS_SEEN[index]=1
      ip link set "${entry##*/}" up
    fi
  done
}

# watch_links: for ever. The look half a second after the start is for a link that came while `ip monitor` started.
watch_links() {
  LINKS_SEEN=()
  while read -r; do
    raise_new_links
  done < <(echo; ip -oneline monitor link & sleep 0.5; echo; wait)
}
