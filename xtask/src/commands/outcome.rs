//! What a command did on each server: collected, printed, and turned into its result.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::{Serialize, Serializer};

use cml::{Address, InstallState, NodeReport, Scheme};
use ui::Ui;
use ui::interrupt::Interrupted;

#[derive(Serialize)]
pub struct Outcome {
    #[serde(rename = "server", serialize_with = "as_text")]
    address: Address,
    via: Scheme,
    /// CML's version, as the server writes it.
    pub version: Option<String>,
    /// Whether CML has started; only `status` asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Free bytes of the disk that nodes are installed on; only `status` asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    pub nodes: Vec<NodeReport>,
    #[serde(serialize_with = "with_causes")]
    pub error: Option<anyhow::Error>,
}

fn as_text<S: Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}

fn with_causes<S: Serializer>(error: &Option<anyhow::Error>, serializer: S) -> Result<S::Ok, S::Error> {
    error.as_ref().map(|error| format!("{error:#}")).serialize(serializer)
}

impl Outcome {
    pub fn new(address: &Address, via: Scheme) -> Self {
        let address = address.clone();
        Self { address, via, version: None, ready: None, free: None, nodes: Vec::new(), error: None }
    }

    fn print(&self, ui: &Ui) -> Result<()> {
        for node in &self.nodes {
            let sent = if node.sent > 0 {
                format!(", {} sent in {}", text::size(node.sent), text::duration(Duration::from_millis(node.millis)))
            } else {
                String::new()
            };
            ui.result(format_args!("{}  {}  {}{sent}", self.address, node.id, node.state))?;
            // For a change that was made, the details are the differences before it.
            let is_changed = matches!(node.state, InstallState::Installed | InstallState::Transferred);
            let before = if is_changed { "before: " } else { "" };
            for detail in &node.details {
                ui.result(format_args!("    {before}{detail}"))?;
            }
        }
        Ok(())
    }
}

/// Prints the outcomes, and fails if any server did.
pub fn conclude(ui: &Ui, outcomes: Vec<Outcome>, json: bool) -> Result<()> {
    if json {
        ui.result(serde_json::to_string_pretty(&outcomes)?)?;
    } else {
        outcomes.iter().try_for_each(|outcome| outcome.print(ui))?;
    }
    let all = outcomes.len();
    let mut failed: Vec<(Address, anyhow::Error)> =
        outcomes.into_iter().filter_map(|outcome| Some((outcome.address, outcome.error?))).collect();
    if all == 1 {
        return failed.pop().map_or(Ok(()), |(_, error)| Err(error));
    }
    let count = failed.len();
    for (address, error) in failed {
        if !error.is::<Interrupted>() {
            ui.error(&error.context(format!("{address} failed")));
        }
    }
    if count == 0 { Ok(()) } else { Err(anyhow!("{count} of {all} servers failed; the others succeeded")) }
}
