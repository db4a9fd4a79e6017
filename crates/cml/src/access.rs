//! What all servers of one command have in common: settings, time limits, and questions to the user.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use indicatif::ProgressBar;
use tokio::sync::Mutex;

use crate::{Address, ArchiveFile, Fingerprint, Secret, Settings};
use ui::Ui;

#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Also what is in use, read-only, changed by others, or could not start.
    pub force: bool,
    pub dry_run: bool,
    /// By ssh: install what was transferred.
    pub install: bool,
    pub restart: bool,
    /// The ID is one of the repository's, so that it is no mistake if the server does not have it.
    pub is_known: bool,
}

pub struct Access {
    pub ui: Ui,
    pub settings: Settings,
    pub idle_timeout: Duration,
    pub insecure: bool,
    /// `--fingerprint`: the certificate's fingerprint as the user read it on the server.
    pub fingerprint: Option<Fingerprint>,
    /// Where pinned certificates and records of installations are kept between runs, for all servers.
    pub state_folder: PathBuf,
    /// Held while a question is on the terminal: servers are worked on in parallel, prompts come one at a time.
    pub prompt: Mutex<()>,
    /// The credentials that the user typed, if any: one answer serves all servers with that user.
    pub typed: Mutex<Option<(String, Secret)>>,
}

impl Access {
    /// User and password for the API: from the settings, else asked for, once for all servers.
    pub async fn credentials(&self, user: Option<&str>, server: &str) -> Result<(String, Secret)> {
        let user = user.or(self.settings.user.as_deref());
        if let (Some(user), Some(password)) = (user, &self.settings.password) {
            return Ok((user.to_owned(), password.clone()));
        }
        let mut typed = self.typed.lock().await;
        if let Some(known) = typed.as_ref().filter(|(known, _)| user.is_none_or(|user| user == known)) {
            return Ok(known.clone());
        }
        anyhow::ensure!(
            self.ui.can_ask(),
            "{server} needs a user and a password: set VIRL2_USER and VIRL2_PASS in the environment or in .virlrc"
        );
        let _prompt = self.prompt.lock().await;
        let user = match user {
            Some(user) => user.to_owned(),
            None => self.ui.ask_text(&format!("User on {server}: ")).await?,
        };
        let password = Secret::new(self.ui.ask_secret(&format!("Password of {user} on {server}: ")).await?);
        Ok(typed.insert((user, password)).clone())
    }

    /// Shows on the terminal how many bytes of an archive have been sent.
    pub fn counter_of(&self, archive: &ArchiveFile, server: &Address) -> ProgressBar {
        self.ui.byte_counter(format!("{server}: sending {} ({})", archive.name, text::size(archive.size)))
    }

    pub fn warn_insecure(&self, server: impl std::fmt::Display) {
        self.ui.warn(format_args!(
            "--insecure: the identity of {server} is not verified; whatever answers there receives the password"
        ));
    }
}
