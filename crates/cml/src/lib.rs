//! A CML server: how it is reached, whom it is trusted to be, and how a node gets onto it.
//!
//! Two ways in. [`by_api`] speaks CML's REST API, needs no root and no restart. [`by_ssh`] copies files
//! and has a script install them as root. Both take a [`Bundle`], which is a plain value: this room
//! knows nothing of engines, and asks nothing of the room that made the files.

pub mod address;
pub mod api;
pub mod askpass;
pub mod bundle;
pub mod by_api;
pub mod by_ssh;
pub mod compare;
pub mod doctor;
pub mod http;
pub mod known;
pub mod labs;
pub mod proxy;
pub mod report;
pub mod secret;
pub mod settings;
pub mod socket_folder;
pub mod ssh;
pub mod transfer;
pub mod trust;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Mutex;

use secret::Secret;

pub use address::Address;
pub use bundle::Bundle;
pub use settings::Settings;

use ui::Ui;

/// The oldest CML that runs containers. [docs/cml.md 5]
pub const OLDEST: Version = Version { major: 2, minor: 9 };

/// What applies to every server of one command.
pub struct Access {
    pub ui: Ui,
    pub settings: Settings,
    /// How long a server that says nothing is waited for.
    pub patience: Duration,
    /// `--insecure`: whoever answers is believed.
    pub insecure: bool,
    /// `--fingerprint`: the certificate that was read off the server itself.
    pub fingerprint: Option<trust::Fingerprint>,
    /// Where this program remembers things between runs, one folder for all servers.
    pub memory: PathBuf,
    /// Several servers are worked on at once, but a person answers one question at a time.
    pub questions: Mutex<()>,
    /// The password that was typed, if one had to be.
    pub typed: Mutex<Option<(String, Secret)>>,
}

impl Access {
    /// User and password for the API: from the settings, else asked for, once for all servers.
    ///
    /// # Errors
    /// If they are not known, and nobody can be asked.
    pub async fn credentials(&self, user: Option<&str>, server: &str) -> Result<(String, Secret)> {
        let user = user.or(self.settings.user.as_deref());
        if let (Some(user), Some(password)) = (user, &self.settings.password) {
            return Ok((user.to_owned(), password.clone()));
        }
        let mut typed = self.typed.lock().await;
        if let Some(known) = typed.as_ref() {
            return Ok(known.clone());
        }
        anyhow::ensure!(
            self.ui.can_ask(),
            "{server} wants a user and a password: set VIRL2_USER and VIRL2_PASS in the environment or in .virlrc"
        );
        let _one_at_a_time = self.questions.lock().await;
        let user = match user {
            Some(user) => user.to_owned(),
            None => self.ui.ask_text(&format!("User on {server}: ")).await?,
        };
        let password = Secret::new(self.ui.ask_secret(&format!("Password of {user} on {server}: ")).await?);
        Ok(typed.insert((user, password)).clone())
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
    pub fn result(self) -> report::State {
        match self {
            Self::Remove => report::State::Removed,
            Self::Rollback => report::State::RolledBack,
        }
    }
}

/// CML's version, as far as anything depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// `2.9.0+build.3` → 2.9
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split(['.', '+', '-']);
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let parsed = Version::parse("2.10.0+build.2").unwrap();
        assert!(parsed > OLDEST && Version::parse("2.9.1").unwrap() == OLDEST);
        assert!(Version::parse("CML").is_none());
    }
}
