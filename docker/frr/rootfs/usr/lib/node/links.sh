# shellcheck shell=bash
# The node's interfaces. They are moved into the running container, which leaves them down, and zebra wakes only those that have
# an address in frr.conf: an unnumbered link would stay down.

# make_srv6_interface: SRv6 SIDs stand on an interface, and FRR takes sr0 unless it is told otherwise. Nothing is ever sent on
# it. It is a dummy where the kernel has them, else a bridge without ports, which does as well.
make_srv6_interface() {
  ip link add sr0 up type dummy 2> /dev/null || ip link add sr0 up type bridge 2> /dev/null
}

# is_shut NAME: whether frr.conf wants that interface down.
is_shut() {
  awk -v name="$1" '
    $1 == "interface" { here = ($2 == name) }
    $1 ~ /^(exit|bfd|router)/ { here = 0 }
    here && $1 == "shutdown" { shut = 1 }
    END { exit !shut }
  ' "$FRR_CONF"
}

# raise_new_links: brings up each ethN that was not there before. One that was is left as its user wants it.
raise_new_links() {
  local entry index
  for entry in /sys/class/net/eth*; do
    read -r index 2> /dev/null < "$entry/ifindex" || continue
    if [[ -z ${LINKS_SEEN[index]:-} ]]; then
      LINKS_SEEN[index]=1
      is_shut "${entry##*/}" || ip link set "${entry##*/}" up
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
