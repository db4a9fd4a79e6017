//! Running scripts as root.

use anyhow::{Result, bail, ensure};

use crate::Secret;
use crate::remote_text::last_line;
use crate::ssh::command::password;
use crate::ssh::exchange::Kind;
use crate::ssh::remote::CommandLine;
use crate::ssh::session::{Output, Ssh};

const REFUSALS: [&str; 6] = [
    "incorrect password",
    "no password was provided",
    "not in the sudoers",
    "not allowed to",
    "a terminal is required",
    "try again",
];

impl Ssh<'_> {
    /// Runs a script as root: directly if sudo needs no password, else with the known password, else with one that the
    /// user is asked for. sudo gets no terminal: what it shows there would be the server's, and Ctrl-C would be too.
    pub async fn as_root(&self, kind: Kind, script: &'static str, arguments: &[&str]) -> Result<Output> {
        if self.is_root() {
            return self.run(kind, script, arguments).await;
        }
        let line = CommandLine::new(script, arguments);
        if self.run(Kind::Question, "sudo -n true", &[]).await?.code == 0 {
            return self.run_command(kind, &line.by(&["sudo", "-n"]), "").await;
        }
        let password = match password(self.access, &self.user) {
            Some(password) => password,
            None => self.ask_for_password().await?,
        };
        // `-k`: otherwise a password that sudo does not need would be input of the script.
        let input = format!("{}\n", password.reveal());
        let output = self.run_command(kind, &line.by(&["sudo", "-k", "-S", "-p", ""]), input).await?;
        let stderr = output.stderr.to_ascii_lowercase();
        let is_refused = output.code != 0 && REFUSALS.iter().any(|refusal| stderr.contains(refusal));
        ensure!(!is_refused, "{}: sudo refuses `{}`: {}", self.address, self.user, last_line(&output.stderr));
        Ok(output)
    }

    async fn ask_for_password(&self) -> Result<Secret> {
        let (ui, at, user) = (&self.access.ui, &self.address, &self.user);
        if !ui.can_ask() {
            bail!(
                "{at}: sudo needs the password of `{user}`, and there is no terminal to ask on: set CML_SSH_PASS, or \
                 run the command on the server yourself"
            );
        }
        let _prompt = self.access.prompt.lock().await;
        ui.ask_secret(&format!("[sudo] password for {user} on {at}: ")).await.map(Secret::new)
    }
}
