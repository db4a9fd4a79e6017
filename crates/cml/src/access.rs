//! What every server of one command has in common: settings, patience, questions to the user.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Mutex;

use crate::fingerprint::Fingerprint;
use crate::secret::Secret;
use crate::settings::Settings;
use ui::Ui;

/// What applies to every server of one command.
pub struct Access {
    pub ui: Ui,
    pub settings: Settings,
    /// How long a server that says nothing is waited for.
    pub patience: Duration,
    /// `--insecure`: whoever answers is believed.
    pub insecure: bool,
    /// `--fingerprint`: the certificate that was read off the server itself.
    pub fingerprint: Option<Fingerprint>,
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
