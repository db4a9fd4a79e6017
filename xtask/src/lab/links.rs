//! Links between nodes, made by a helper container: that needs neither root here nor an engine on this machine.
//!
//! A link is a bridge in the helper's network namespace, so that it outlives a restart of the nodes
//! at its ends; an interface of a node is one end of a veth pair whose other end is a port there. When
//! a node ends, its interfaces and their ports vanish with its network namespace.

use anyhow::{Context, Result};

use crate::engine::containers::exec::Output;
use crate::lab::Lab;
use crate::lab::waiting::COMMAND_LIMIT;

/// Forward frames to all link-local group addresses that a bridge may forward, LLDP's among them: a
/// link is a cable, not a switch.
const FORWARD_GROUPS: u32 = 0xfff8;

/// A link, by the name of its bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge(String);

/// The other end of an interface of a node.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub interface: String,
    /// It keeps its address when the node is started again, as in CML; neighbours remember it.
    address: String,
    link: Option<Bridge>,
}

impl Lab<'_> {
    /// A new link, with nothing connected yet.
    pub async fn link(&self) -> Result<Bridge> {
        let bridge = format!("l{}", self.next());
        self.ip(&[
            format!(
                "link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0 \
                 group_fwd_mask {FORWARD_GROUPS}"
            ),
            format!("link set {bridge} up"),
        ])
        .await?;
        Ok(Bridge(bridge))
    }

    /// A port for an interface, on a link or on none.
    pub(super) fn port(&self, interface: &str, link: Option<&Bridge>) -> Port {
        let number = self.next();
        let [_, high, middle, low] = number.to_be_bytes();
        Port {
            interface: interface.to_owned(),
            // The prefix that CML's hypervisor uses, too.
            address: format!("52:54:00:{high:02x}:{middle:02x}:{low:02x}"),
            link: link.cloned(),
        }
    }

    /// Moves interfaces into the network namespace of a process. Each gets a peer with a new name: the kernel takes
    /// a while to remove the interfaces of a process that has just ended.
    pub(super) async fn plug(&self, ports: &[Port], process: i64) -> Result<()> {
        let mut lines = Vec::new();
        for Port { interface, address, link } in ports {
            let name = format!("p{}", self.next());
            lines.push(format!("link add {interface} address {address} netns {process} type veth peer name {name}"));
            let master = link.as_ref().map_or_else(String::new, |Bridge(bridge)| format!(" master {bridge}"));
            lines.push(format!("link set {name}{master} up"));
        }
        self.ip(&lines).await
    }

    /// Runs `ip` in the helper, once per line. Every word is a number, a name from here, or a checked name.
    async fn ip(&self, lines: &[String]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let script = ["sh", "-ec", "for line; do ip $line; done", "sh"].map(str::to_owned);
        let args: Vec<String> = script.into_iter().chain(lines.iter().cloned()).collect();
        for line in lines {
            self.ui.command(format_args!("ip {line} # in the link helper"));
        }
        let output = self.in_helper(&args).await?;
        anyhow::ensure!(output.code == 0, "could not set up the links: {}", output.text.trim());
        Ok(())
    }

    pub(super) async fn in_helper(&self, args: &[String]) -> Result<Output> {
        let ended = tokio::time::timeout(COMMAND_LIMIT, self.engine.exec(&self.helper, args)).await;
        ended.context("a command in the link helper did not end")?.context("running a command in the link helper")
    }
}
