//! What is missing on the engine's host for a node, found before the node is created.

use std::path::Path;

use anyhow::Result;

use crate::lab::Lab;
use definitions::container::Container;

/// Something that a node needs and this host does not have; CML's may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmetNeed {
    pub what: String,
    pub remedy: String,
}

/// What a definition needs of the kernel and does not get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnmetNeeds {
    /// The engine would refuse the node.
    pub missing: Vec<UnmetNeed>,
    /// Settings that the host has, but shows to no container of this engine. The node is tested without them.
    pub left_out: Vec<UnmetNeed>,
}

/// Prints the user namespace of the helper, then the settings that cannot be seen in it. A new container's network has
/// all settings that a network can have there.
const SCRIPT: &str = r#"
read -r inside outside count < /proc/self/uid_map; echo "$inside $outside $count"
for name; do [ -e "/proc/sys/$(printf %s "$name" | tr . /)" ] || echo "$name"; done"#;

/// The initial user namespace, in which everything can be seen. [user_namespaces(7)]
const INITIAL: &str = "0 0 4294967295";

impl Lab<'_> {
    /// Compares what a definition needs of the kernel with what it has, and removes from the definition what the
    /// kernel hides from containers.
    pub async fn check_host(&self, container: &mut Container) -> Result<UnmetNeeds> {
        let docker = &mut container.config.docker;
        let names: Vec<String> =
            docker.sysctls().into_iter().map(|(name, _)| name).filter(|name| is_plain(name)).collect();
        if names.is_empty() {
            return Ok(UnmetNeeds::default());
        }
        let args: Vec<String> = ["sh", "-c", SCRIPT, "sh"].map(str::to_owned).into_iter().chain(names).collect();
        let seen = self.in_helper(&args).await?.text;
        let is_here = self.engine.is_on_this_machine();
        let has = |name: &str| is_here && Path::new("/proc/sys").join(name.replace('.', "/")).exists();
        let (unmet, hidden) = judge(&seen, has);
        hidden.iter().for_each(|name| docker.remove_sysctl(name));
        Ok(unmet)
    }
}

/// The unmet needs, and the names of the settings that are left out. `has` says whether the engine's host itself,
/// outside of every container, is known to have a setting.
fn judge(seen: &str, has: impl Fn(&str) -> bool) -> (UnmetNeeds, Vec<String>) {
    let mut lines = seen.lines();
    let is_confined = lines.next().is_some_and(|namespace| namespace != INITIAL);
    let (hidden, missing): (Vec<&str>, Vec<&str>) = lines.partition(|name| is_confined && has(name));
    let left_out = |name: &&str| UnmetNeed {
        what: format!("{name}: the kernel hides it from containers of an ordinary user"),
        remedy: "run `verify` as root, or on Docker".to_owned(),
    };
    let unmet = UnmetNeeds {
        missing: missing.into_iter().map(|name| missing_setting(name, is_confined)).collect(),
        left_out: hidden.iter().map(left_out).collect(),
    };
    (unmet, hidden.into_iter().map(str::to_owned).collect())
}

/// Without slashes and dots that lead elsewhere, and not of one interface, which comes later.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) && !name.contains("..")
}

fn missing_setting(sysctl: &str, is_confined: bool) -> UnmetNeed {
    let remedy = if sysctl.starts_with("net.vrf.") {
        "load the kernel module `vrf` on the engine's host (modprobe vrf); a stock CML server does not load it \
         either: there, write `vrf` to /etc/modules-load.d/vrf.conf and reboot"
    } else if sysctl.contains("seg6") {
        "the engine's host needs a kernel with SRv6 (CONFIG_IPV6_SEG6_LWTUNNEL); CML's has it"
    } else if sysctl.starts_with("net.ipv6.conf.") {
        "enable IPv6 in the kernel of the engine's host (no ipv6.disable=1)"
    } else if is_confined {
        "use an engine that runs as root, or Docker: the kernel hides some settings from a rootless engine's containers"
    } else if sysctl.starts_with("net.ipv6.") {
        "enable IPv6 in the kernel of the engine's host (no ipv6.disable=1)"
    } else {
        "use an engine whose kernel has it, or remove the argument from the definition"
    };
    UnmetNeed { what: format!("the kernel of the engine's host has no {sysctl}"), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_fits_what_is_missing() {
        let remedy = |name| missing_setting(name, false).remedy;
        assert!(remedy("net.vrf.strict_mode").contains("modprobe vrf"));
        assert!(remedy("net.ipv6.conf.all.seg6_enabled").contains("SRv6"));
        assert!(remedy("net.ipv6.conf.all.forwarding").contains("IPv6"));
        assert!(remedy("net.ipv6.route.max_size").contains("IPv6"));
        assert!(missing_setting("net.ipv6.route.max_size", true).remedy.contains("as root"));
        assert!(!is_plain("../../etc/passwd") && is_plain("net.ipv4.ip_forward"));
    }

    #[test]
    fn what_the_host_has_and_hides_from_a_user_namespace_is_left_out() {
        let seen = "0 1000 1\nnet.a\nnet.b\n";
        let (unmet, names) = judge(seen, |name| name == "net.a");
        assert_eq!(names, ["net.a"]);
        assert!(unmet.left_out[0].what.starts_with("net.a: the kernel hides it from containers of an ordinary user"));
        assert!(unmet.missing[0].what.ends_with("has no net.b") && unmet.missing.len() == 1);
    }

    #[test]
    fn nothing_is_hidden_from_the_initial_user_namespace() {
        let (unmet, names) = judge("0 0 4294967295\nnet.a\n", |_| true);
        assert!(names.is_empty() && unmet.left_out.is_empty());
        assert!(unmet.missing[0].what.ends_with("has no net.a"));
        assert_eq!(judge("0 100000 65536\n", |_| true), (UnmetNeeds::default(), Vec::new()));
    }
}
