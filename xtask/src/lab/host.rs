//! What the engine's host lacks for a node, found before the node is created.

use std::path::Path;

use anyhow::Result;

use crate::lab::Lab;
use definitions::container::Container;

/// Something that this host can't give to a node, but CML's may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    pub what: String,
    pub remedy: String,
}

/// What a definition asks of the kernel in vain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// The engine would refuse the node.
    pub missing: Vec<Lack>,
    /// Settings that the host has and shows to no container of this engine. The node is tried without them.
    pub left_out: Vec<Lack>,
}

/// The user namespace that the settings are seen from, then the settings that are not seen. A new container's network has all
/// settings that a network can have there.
const SCRIPT: &str = r#"
read -r inside outside count < /proc/self/uid_map; echo "$inside $outside $count"
for name; do [ -e "/proc/sys/$(printf %s "$name" | tr . /)" ] || echo "$name"; done"#;

/// The first user namespace, which alone has everything. [user_namespaces(7)]
const INITIAL: &str = "0 0 4294967295";

impl Lab<'_> {
    /// Compares what a definition asks of the kernel with what it has, and takes out of the definition what the kernel withholds.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn fit(&self, container: &mut Container) -> Result<Lacks> {
        let docker = &mut container.config.docker;
        let names: Vec<String> =
            docker.sysctls().into_iter().map(|(name, _)| name).filter(|name| is_plain(name)).collect();
        if names.is_empty() {
            return Ok(Lacks::default());
        }
        let words: Vec<String> = ["sh", "-c", SCRIPT, "sh"].map(str::to_owned).into_iter().chain(names).collect();
        let seen = self.in_helper(&words).await?.text;
        let is_here = self.engine.is_on_this_machine();
        let has = |name: &str| is_here && Path::new("/proc/sys").join(name.replace('.', "/")).exists();
        let (lacks, withheld) = judge(&seen, has);
        withheld.iter().for_each(|name| docker.remove_sysctl(name));
        Ok(lacks)
    }
}

/// `has` tells whether the engine's host itself, outside of every container, is known to have a setting. Yields the names of what is
/// left out, too.
fn judge(seen: &str, has: impl Fn(&str) -> bool) -> (Lacks, Vec<String>) {
    let mut lines = seen.lines();
    let is_confined = lines.next().is_some_and(|namespace| namespace != INITIAL);
    let (withheld, missing): (Vec<&str>, Vec<&str>) = lines.partition(|name| is_confined && has(name));
    let lacks = Lacks {
        missing: missing.into_iter().map(|name| lack_of(name, is_confined)).collect(),
        left_out: withheld.iter().map(|name| withheld_from_users(name)).collect(),
    };
    (lacks, withheld.into_iter().map(str::to_owned).collect())
}

/// Without slashes and dots that lead elsewhere, and not of one interface, which comes later.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) && !name.contains("..")
}

fn lack_of(sysctl: &str, is_confined: bool) -> Lack {
    let remedy = if sysctl.starts_with("net.vrf.") {
        "load the kernel module `vrf` on the engine's host (modprobe vrf); a stock CML server has not loaded it either: there, \
         write `vrf` to /etc/modules-load.d/vrf.conf and reboot"
    } else if sysctl.contains("seg6") {
        "the engine's host needs a kernel with SRv6 (CONFIG_IPV6_SEG6_LWTUNNEL); CML's has it"
    } else if sysctl.starts_with("net.ipv6.conf.") {
        "switch IPv6 on in the kernel of the engine's host (no ipv6.disable=1)"
    } else if is_confined {
        "use an engine of root, or Docker: to containers of an ordinary user the kernel does not show all it has"
    } else if sysctl.starts_with("net.ipv6.") {
        "switch IPv6 on in the kernel of the engine's host (no ipv6.disable=1)"
    } else {
        "use an engine whose kernel has it, or take the argument out of the definition"
    };
    Lack { what: format!("the kernel of the engine's host has no {sysctl}"), remedy: remedy.to_owned() }
}

fn withheld_from_users(sysctl: &str) -> Lack {
    Lack {
        what: format!("{sysctl}: the kernel gives it to no container of an ordinary user"),
        remedy: "run the proof as root, or on Docker".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_fits_what_is_missing() {
        let remedy = |name| lack_of(name, false).remedy;
        assert!(remedy("net.vrf.strict_mode").contains("modprobe vrf"));
        assert!(remedy("net.ipv6.conf.all.seg6_enabled").contains("SRv6"));
        assert!(remedy("net.ipv6.conf.all.forwarding").contains("IPv6"));
        assert!(remedy("net.ipv6.route.max_size").contains("IPv6"));
        assert!(lack_of("net.ipv6.route.max_size", true).remedy.contains("ordinary user"));
        assert!(!is_plain("../../etc/passwd") && is_plain("net.ipv4.ip_forward"));
    }

    #[test]
    fn what_the_host_has_and_hides_from_a_user_namespace_is_left_out() {
        let seen = "0 1000 1\nnet.a\nnet.b\n";
        let (lacks, names) = judge(seen, |name| name == "net.a");
        assert_eq!(names, ["net.a"]);
        assert!(lacks.left_out[0].what.starts_with("net.a: the kernel gives it to no container of an ordinary user"));
        assert!(lacks.missing[0].what.ends_with("has no net.b") && lacks.missing.len() == 1);
    }

    #[test]
    fn nothing_is_hidden_from_the_first_user_namespace() {
        let (lacks, names) = judge("0 0 4294967295\nnet.a\n", |_| true);
        assert!(names.is_empty() && lacks.left_out.is_empty());
        assert!(lacks.missing[0].what.ends_with("has no net.a"));
        assert_eq!(judge("0 100000 65536\n", |_| true), (Lacks::default(), Vec::new()));
    }
}
