//! What nodes need from a server.

pub const IPV4: &str = "net.ipv4.ip_forward";
pub const IPV6: &str = "net.ipv6.conf.all.forwarding";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// IPv4 forwarding on the host.
    pub ipv4: bool,
    /// IPv6 forwarding on the host.
    pub ipv6: bool,
    /// The kernel module `vrf`.
    pub vrf: bool,
    /// A command that sets up the network after the start.
    pub day0: bool,
    /// Bytes of the largest archive.
    pub archive: u64,
}

impl Needs {
    /// What a node needs whose definition sets these sysctls. [docs/cml.md 5]
    pub fn of(sysctls: &[(String, String)], day0: bool, archive: u64) -> Self {
        let sets = |start: &str| sysctls.iter().any(|(name, value)| name.starts_with(start) && value != "0");
        Self { ipv4: sets(IPV4), ipv6: sets(IPV6), vrf: sets("net.vrf."), day0, archive }
    }

    /// What two nodes need together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            ipv4: self.ipv4 || other.ipv4,
            ipv6: self.ipv6 || other.ipv6,
            vrf: self.vrf || other.vrf,
            day0: self.day0 || other.day0,
            archive: self.archive.max(other.archive),
        }
    }
}
