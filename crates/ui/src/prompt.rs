//! Questions to the person at the terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::{Context, Result};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::Ui;

impl Ui {
    /// Whether a question can be asked and answered.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// The answer to a yes/no question; no is the default.
    pub async fn ask(&self, question: &str) -> Result<bool> {
        let answer = self.ask_text(&format!("{question} [y/N] ")).await?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// The line that the person types.
    #[expect(clippy::print_stderr, reason = "a question stays on the line of its answer")]
    pub async fn ask_text(&self, question: &str) -> Result<String> {
        self.bars.suspend(|| {
            eprint!("{}", text::printable(question));
            io::stderr().flush()
        })?;
        let (answer, asked) = tokio::sync::oneshot::channel();
        // On a thread that nobody waits for: Ctrl-C must end the program while it reads.
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = answer.send(io::stdin().lock().read_line(&mut line).map(|_| line));
        });
        let line = asked.await.context("asking a question")?.context("reading the answer")?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The same for a secret: the terminal does not show what is typed.
    pub async fn ask_secret(&self, question: &str) -> Result<String> {
        let _silent = Silent::begin()?;
        let line = self.ask_text(question).await;
        self.line("");
        line
    }
}

/// While it lives, the terminal does not show what is typed.
///
/// Dropping it restores the terminal. Ctrl-C and SIGTERM drop the future of the command that asks, so they restore it,
/// too. (A library that reads the secret by a blocking call could not.) Nothing in this process can run after SIGKILL;
/// then the shell restores the terminal, as bash and zsh do whenever a signal ended the program.
struct Silent(Termios);

impl Silent {
    fn begin() -> Result<Self> {
        let before = tcgetattr(io::stdin()).context("cannot read the terminal's settings")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Drain, &silent).context("cannot hide what is typed")?;
        Ok(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.0);
    }
}
