//! Running scripts as root.

use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use crate::remote_text::last_line;
use crate::ssh::command::{password, sh, show};
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
    /// Runs a script as root: directly if sudo needs no password, else with the known password, else sudo asks on the
    /// terminal. Only in the last case is its output shown as it comes, and not returned.
    pub async fn as_root(&self, script: &str, arguments: &[&str]) -> Result<Output> {
        if self.is_root() {
            return self.run(script, arguments).await;
        }
        let after = |prefix: &str| format!("{prefix} {}", sh(script, arguments));
        if self.run("sudo -n true", &[]).await?.code == 0 {
            return self.run_command(&after("sudo -n"), "").await;
        }
        match password(self.access, &self.user) {
            Some(password) => {
                // `-k`: otherwise a password that sudo does not need would be input of the script.
                let input = format!("{}\n", password.reveal());
                let output = self.run_command(&after("sudo -k -S -p ''"), input).await?;
                let stderr = output.stderr.to_ascii_lowercase();
                let is_refused = output.code != 0 && REFUSALS.iter().any(|refusal| stderr.contains(refusal));
                ensure!(!is_refused, "{}: sudo refuses `{}`: {}", self.address, self.user, last_line(&output.stderr));
                Ok(output)
            }
            None if self.access.ui.can_ask() => self.as_root_on_the_terminal(&after("sudo")).await,
            None => bail!(
                "{}: sudo needs the password of `{}`, and there is no terminal to ask on: set CML_SSH_PASS, or run the \
                 command on the server yourself",
                self.address,
                self.user
            ),
        }
    }

    async fn as_root_on_the_terminal(&self, command_line: &str) -> Result<Output> {
        let _prompt = self.access.prompt.lock().await;
        let mut command = self.through_master();
        command.args(["-tt", &self.address.host, command_line]);
        show(self.access, &command);
        let status = command.stdin(Stdio::inherit()).stdout(std::io::stderr()).kill_on_drop(true).status().await;
        self.output(status.context("cannot start ssh")?.code(), String::new(), "see above".to_owned())
    }
}
