# shellcheck shell=bash
# What FRR needs of interfaces. All of them are brought up (links.sh), because zebra brings up only those that have an
# address in frr.conf, and an unnumbered link would stay down.

# make_srv6_interface: SRv6 SIDs need an interface, by default FRR uses sr0. Nothing is ever sent on it. It is a dummy
# interface if the kernel has them, else a bridge without ports.
make_srv6_interface() {
  ip link add sr0 up type dummy 2> /dev/null || ip link add sr0 up type bridge 2> /dev/null
}

# keeps_down NAME: whether frr.conf shuts that interface down.
keeps_down() {
  awk -v name="$1" '
    $1 == "interface" { here = ($2 == name) }
    $1 ~ /^(exit|bfd|router)/ { here = 0 }
    here && $1 == "shutdown" { shut = 1 }
    END { exit !shut }
  ' "$FRR_CONF"
}
