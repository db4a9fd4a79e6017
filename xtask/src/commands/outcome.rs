//! What a command did on each server: collected, printed, and turned into its result.

use std::time::Duration;

use anyhow::{Result, anyhow};

use cml::Address;
use cml::report::{InstallState, NodeReport, ServerReport};
use ui::Ui;
use ui::interrupt::Interrupted;

/// What was done on one server.
pub struct Outcome {
    address: Address,
    via: &'static str,
    pub version: Option<String>,
    /// `status` fills these.
    pub ready: Option<bool>,
    pub free: Option<u64>,
    pub nodes: Vec<NodeReport>,
    pub error: Option<anyhow::Error>,
}

impl Outcome {
    pub fn new(address: &Address, via: &'static str) -> Self {
        let address = address.clone();
        Self { address, via, version: None, ready: None, free: None, nodes: Vec::new(), error: None }
    }

    fn report(&self) -> ServerReport {
        ServerReport {
            server: self.address.to_string(),
            via: self.via,
            version: self.version.clone(),
            ready: self.ready,
            free: self.free,
            nodes: self.nodes.clone(),
            error: self.error.as_ref().map(|error| format!("{error:#}")),
        }
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
        let reports: Vec<ServerReport> = outcomes.iter().map(Outcome::report).collect();
        ui.result(serde_json::to_string_pretty(&reports)?)?;
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
