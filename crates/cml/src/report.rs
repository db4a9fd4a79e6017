//! What became of each server, for people and for `--json`.

use serde::Serialize;

/// One server's part of a command.
#[derive(Debug, Serialize)]
pub struct ServerReport {
    pub server: String,
    /// `api` or `ssh`
    pub via: &'static str,
    /// CML's, as it writes it.
    pub version: Option<String>,
    /// Whether CML runs; only `status` asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Free bytes of the disk that nodes go to; only `status` asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    pub nodes: Vec<NodeReport>,
    pub error: Option<String>,
}

/// What became of one node on one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    pub id: String,
    pub state: State,
    /// What was, would be, or is different.
    pub details: Vec<String>,
    /// Bytes of archive that were sent.
    pub sent: u64,
    /// Milliseconds that they were on their way.
    pub millis: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The server has not got it.
    Absent,
    /// The server has just this.
    Same,
    /// The server has another.
    Differs,
    Installed,
    /// On the server, to be installed by hand.
    Transferred,
    /// With `--dry-run`.
    WouldInstall,
    Removed,
    RolledBack,
}

impl State {
    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Same => "the same",
            Self::Differs => "differs",
            Self::Installed => "installed",
            Self::Transferred => "transferred, not installed yet",
            Self::WouldInstall => "would be installed",
            Self::Removed => "removed",
            Self::RolledBack => "rolled back",
        }
    }
}

impl NodeReport {
    pub fn new(id: &str, state: State) -> Self {
        Self { id: id.to_owned(), state, details: Vec::new(), sent: 0, millis: 0 }
    }

    #[must_use]
    pub fn with(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
}

/// Taking a node off a server, or back to what it was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reversal {
    Remove,
    Rollback,
}

impl Reversal {
    /// As commands and the install script call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Rollback => "rollback",
        }
    }

    /// What a node is afterwards.
    pub fn result(self) -> State {
        match self {
            Self::Remove => State::Removed,
            Self::Rollback => State::RolledBack,
        }
    }
}
