//! What the engine's host lacks for a node, found before the node is created.

use anyhow::Result;

use super::Lab;
use definitions::container::Container;

/// Something that this host can't give to a node, but CML's may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    pub what: String,
    pub remedy: String,
}

impl Lab<'_> {
    /// Compares what a definition asks of the kernel with what it has.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn lacks(&self, container: &Container) -> Result<Vec<Lack>> {
        let names: Vec<String> =
            container.config.docker.sysctls().into_iter().map(|(name, _)| name).filter(|name| is_plain(name)).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        // A new container's network has all settings that a network can have here.
        let script = r#"for name; do [ -e "/proc/sys/$(printf %s "$name" | tr . /)" ] || echo "$name"; done"#;
        let words: Vec<String> = ["sh", "-c", script, "sh"].map(str::to_owned).into_iter().chain(names).collect();
        let missing = self.in_helper(&words).await?;
        Ok(missing.text.lines().map(lack_of).collect())
    }
}

/// Without slashes and dots that lead elsewhere, and not of one interface, which comes later.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) && !name.contains("..")
}

fn lack_of(sysctl: &str) -> Lack {
    let remedy = if sysctl.starts_with("net.vrf.") {
        "load the kernel module `vrf` on the engine's host (modprobe vrf); a stock CML server has not loaded it either: there, \
         write `vrf` to /etc/modules-load.d/vrf.conf and reboot"
    } else if sysctl.contains("seg6") {
        "the engine's host needs a kernel with SRv6 (CONFIG_IPV6_SEG6_LWTUNNEL); CML's has it"
    } else if sysctl.starts_with("net.ipv6.") {
        "switch IPv6 on in the kernel of the engine's host (no ipv6.disable=1)"
    } else {
        "use an engine whose kernel has it, or take the argument out of the definition"
    };
    Lack { what: format!("the kernel of the engine's host has no {sysctl}"), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_fits_what_is_missing() {
        assert!(lack_of("net.vrf.strict_mode").remedy.contains("modprobe vrf"));
        assert!(lack_of("net.ipv6.conf.all.seg6_enabled").remedy.contains("SRv6"));
        assert!(lack_of("net.ipv6.conf.all.forwarding").remedy.contains("IPv6"));
        assert!(!is_plain("../../etc/passwd") && is_plain("net.ipv4.ip_forward"));
    }
}
