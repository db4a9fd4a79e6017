//! What a command did on each server, or with each node: collected, printed, and turned into its result.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde::{Serialize, Serializer};

use cml::ssh::doctor::Finding;
use cml::{Address, InstallState, NodeReport, Scheme};
use ui::Ui;
use ui::interrupt::Interrupted;

#[derive(Serialize)]
pub struct Outcome {
    server: String,
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
    /// What `doctor` found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings: Option<Vec<Finding>>,
    #[serde(serialize_with = "with_causes")]
    pub error: Option<anyhow::Error>,
}

fn with_causes<S: Serializer>(error: &Option<anyhow::Error>, serializer: S) -> Result<S::Ok, S::Error> {
    error.as_ref().map(|error| format!("{error:#}")).serialize(serializer)
}

impl Outcome {
    pub fn new(address: &Address, via: Scheme) -> Self {
        let (server, nodes) = (address.to_string(), Vec::new());
        Self { server, via, version: None, ready: None, free: None, nodes, findings: None, error: None }
    }

    fn print(&self, ui: &Ui) -> Result<()> {
        for node in &self.nodes {
            let time = text::duration(Duration::from_millis(node.millis));
            let sent = match node.sent {
                0 => String::new(),
                bytes => format!(", {} sent in {time}", text::size(bytes)),
            };
            ui.result(format_args!("{}  {}  {}{sent}", self.server, node.id, node.state))?;
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
        ui.json(&serde_json::to_string_pretty(&outcomes)?)?;
    } else {
        outcomes.iter().try_for_each(|outcome| outcome.print(ui))?;
    }
    let all = outcomes.len();
    let failed = outcomes.into_iter().filter_map(|outcome| Some((outcome.server, outcome.error?)));
    let mut failed: Vec<(String, anyhow::Error)> = failed.collect();
    if all == 1 {
        return failed.pop().map_or(Ok(()), |(_, error)| Err(error));
    }
    let count = failed.len();
    for (server, error) in failed.into_iter().filter(|(_, error)| !error.is::<Interrupted>()) {
        ui.error(&error.context(format!("{server} failed")));
    }
    if count == 0 { Ok(()) } else { Err(anyhow!("{count} of {all} servers failed; the others succeeded")) }
}

/// Fails if anything did: the last of the errors is the command's, the others are printed before it. What is wrong with
/// several at once is said once.
pub fn all(ui: &Ui, errors: impl IntoIterator<Item = anyhow::Error>) -> Result<()> {
    let (mut before, mut known) = (None, BTreeSet::new());
    for error in errors.into_iter().filter(|error| known.insert(format!("{error:#}"))) {
        if let Some(before) = before.replace(error) {
            ui.error(&before);
        }
    }
    before.map_or(Ok(()), Err)
}
