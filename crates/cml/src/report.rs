//! The result of a command for each node on a server, for the terminal and for `--json`.

use std::time::Duration;

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    pub id: String,
    pub state: InstallState,
    /// What is, was or would be different.
    pub details: Vec<String>,
    /// Bytes of the archive that were sent.
    pub sent: u64,
    pub millis: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstallState {
    Absent,
    Same,
    Differs,
    Installed,
    /// Copied to the server, to be installed by hand.
    Transferred,
    WouldInstall,
    WouldRemove,
    Kept,
    Removed,
    RolledBack,
    WouldRollBack,
}

impl std::fmt::Display for InstallState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Same => "the same",
            Self::Differs => "differs",
            Self::Installed => "installed",
            Self::Transferred => "transferred, not installed yet",
            Self::WouldInstall => "would be installed",
            Self::WouldRemove => "would be removed",
            Self::Kept => "stays",
            Self::Removed => "removed",
            Self::RolledBack => "rolled back",
            Self::WouldRollBack => "would be rolled back",
        })
    }
}

impl NodeReport {
    pub fn new(id: &str, state: InstallState) -> Self {
        Self { id: id.to_owned(), state, details: Vec::new(), sent: 0, millis: 0 }
    }

    /// How the node on the server compares with the one here.
    pub fn compare(id: &str, is_absent: bool, differences: Vec<String>) -> Self {
        match (is_absent, differences.is_empty()) {
            (true, _) => Self::new(id, InstallState::Absent),
            (false, true) => Self::new(id, InstallState::Same),
            (false, false) => Self::new(id, InstallState::Differs).with(differences),
        }
    }

    #[must_use]
    pub fn with(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    pub fn count_sent(&mut self, bytes: u64, time: Duration) {
        (self.sent, self.millis) = (bytes, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    /// A removal or rollback that was only planned.
    pub fn dry_run(id: &str, reversal: Reversal) -> Self {
        let state = match reversal {
            Reversal::Remove => InstallState::WouldRemove,
            Reversal::Rollback => InstallState::WouldRollBack,
        };
        Self::new(id, state)
    }
}

/// The message about a node that is neither on a server nor here; `there` are the IDs of those that are.
pub fn no_such_node(server: impl std::fmt::Display, id: &str, there: &[String]) -> String {
    // A server may have hundreds: only the one that may have been meant is shown.
    let near = text::nearest(id, there.iter().map(String::as_str));
    let near = near.map(|near| format!("; did you mean `{}`?", text::printable_line(near))).unwrap_or_default();
    format!("there is no node {id} on {server}, and none is saved here{near}")
}

/// Removing a node from a server, or restoring what it replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reversal {
    Remove,
    Rollback,
}

impl Reversal {
    /// The name of the command, here and in the install script.
    pub fn name(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Rollback => "rollback",
        }
    }

    pub fn result(self) -> InstallState {
        match self {
            Self::Remove => InstallState::Removed,
            Self::Rollback => InstallState::RolledBack,
        }
    }
}
