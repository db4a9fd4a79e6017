//! What the person sees. The only place that knows what a terminal is.
//!
//! stdout carries results, stderr the story. On a terminal running steps are spinners; in a pipe
//! each step is one plain line.

pub mod interrupt;

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use xshell::Cmd;

use interrupt::Interrupt;

/// What an error says when a result can't be written.
pub const STDOUT_IS_GONE: &str = "the result can't be written to stdout";

/// The terminal, or the pipe that stands for it.
#[derive(Clone)]
pub struct Ui {
    verbose: bool,
    quiet: bool,
    terminal: bool,
    colour: bool,
    colour_result: bool,
    bars: MultiProgress,
    interrupt: Interrupt,
}

impl Ui {
    pub fn new(verbose: bool) -> Self {
        let terminal = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|t| t != "dumb");
        // https://no-color.org: set and not empty.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour_result = io::stdout().is_terminal() && !plain;
        let (colour, bars) = (terminal && !plain, MultiProgress::new());
        Self { verbose, quiet: false, terminal, colour, colour_result, bars, interrupt: Interrupt::default() }
    }

    /// The same, for something that the person did not ask for by itself: only headlines, warnings and
    /// what runs outside are told.
    #[must_use]
    pub fn quiet(&self) -> Self {
        Self { quiet: !self.verbose, ..self.clone() }
    }

    /// Whether the person has pressed Ctrl-C.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Whether stderr is a terminal that can redraw lines.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Something that was done or found.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Something that the person should look at, though the command goes on.
    pub fn warn(&self, text: impl Display) {
        self.line(format_args!("{} {text}", self.paint("33", "warning:")));
    }

    /// A headline of a step: what is worked on now.
    pub fn headline(&self, text: impl Display) {
        self.line(self.paint("1", &text.to_string()));
    }

    /// Why the command failed: the error, then its causes.
    pub fn error(&self, error: &anyhow::Error) {
        self.line(format_args!("{} {error}", self.paint("1;31", "error:")));
        let mut before = error.to_string();
        for cause in error.chain().skip(1) {
            let text = cause.to_string();
            // Libraries like to repeat their source in their own message.
            if !before.contains(&text) {
                self.line(format_args!("  because {}", text.replace('\n', "\n  ")));
            }
            before = text;
        }
    }

    /// A command outside this process, before it runs: shown with `-v`, as a person could type it.
    pub fn command(&self, text: impl Display) {
        if self.verbose {
            self.line(self.paint("2", &format!("$ {text}")));
        }
    }

    /// Runs a command to its end; its output goes where ours goes, stdout to stderr so that
    /// ours stays clean.
    ///
    /// # Errors
    /// If it can't be started or fails.
    pub fn run(&self, cmd: Cmd<'_>) -> Result<()> {
        self.command(&cmd);
        let text = cmd.to_string();
        let words = std::process::Command::from(cmd);
        let mut words = words;
        let status = words.stdout(io::stderr()).status().with_context(|| format!("`{text}` can't be started"))?;
        anyhow::ensure!(status.success(), "`{text}` failed ({status})");
        Ok(())
    }

    /// Runs a command and yields its trimmed stdout. On failure the error carries its stderr.
    ///
    /// # Errors
    /// If it can't be started or fails.
    pub fn read(&self, cmd: Cmd<'_>) -> Result<String> {
        self.command(&cmd);
        let text = cmd.to_string();
        let output = cmd.quiet().ignore_status().output().with_context(|| format!("`{text}` can't be started"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "`{text}` failed ({}): {}", output.status, said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Hands terminal, input and output over to a command until it ends; yields its exit code.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn hand_over(&self, cmd: Cmd<'_>) -> Result<i32> {
        self.command(&cmd);
        let text = cmd.to_string();
        let status = std::process::Command::from(cmd).status().with_context(|| format!("`{text}` can't be started"))?;
        Ok(status.code().unwrap_or(1))
    }

    /// A result line, on stdout.
    ///
    /// # Errors
    /// If stdout is closed or full.
    pub fn result(&self, text: impl Display) -> Result<()> {
        self.bars.suspend(|| writeln!(io::stdout(), "{text}")).context(STDOUT_IS_GONE)
    }

    /// A spinner with the time, or in a pipe one line now.
    pub fn spinner(&self, text: impl Into<String>) -> ProgressBar {
        let text = text.into();
        if !self.terminal {
            self.line(&text);
            return ProgressBar::hidden();
        }
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg} {elapsed:>5}")));
        bar.set_message(text);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// A bar that counts bytes whose total isn't known.
    pub fn byte_counter(&self, text: impl Into<String>) -> ProgressBar {
        let bar = self.spinner(text);
        if self.terminal {
            bar.set_style(style("{spinner} {msg} {bytes} ({bytes_per_sec}) {elapsed:>5}"));
        }
        bar
    }

    /// Asks a yes/no question on the terminal; no is the default.
    ///
    /// # Errors
    /// If the terminal can't be read.
    pub async fn ask(&self, question: &str) -> Result<bool> {
        self.bars.suspend(|| {
            eprint!("{question} [y/N] ");
            io::stderr().flush()
        })?;
        let (answer, asked) = tokio::sync::oneshot::channel();
        // On a thread that nobody waits for: Ctrl-C must end the program while it reads.
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = answer.send(io::stdin().lock().read_line(&mut line).map(|_| line));
        });
        let line = asked.await.context("asking a question")?.context("reading the answer")?;
        Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks for a line on the terminal.
    ///
    /// # Errors
    /// If the terminal can't be read.
    pub async fn ask_text(&self, question: &str) -> Result<String> {
        self.bars.suspend(|| {
            eprint!("{question}");
            io::stderr().flush()
        })?;
        let (answer, asked) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = answer.send(io::stdin().lock().read_line(&mut line).map(|_| line));
        });
        let line = asked.await.context("asking a question")?.context("reading the answer")?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Asks for a line that the terminal does not show.
    ///
    /// # Errors
    /// As [`Self::ask_text`].
    pub async fn ask_secret(&self, question: &str) -> Result<String> {
        let _hidden = Hidden::begin();
        let line = self.ask_text(question).await;
        self.line("");
        line
    }

    /// Whether a question can be asked and answered.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// `text` in the colour `code` (an SGR parameter), where colour is wanted.
    pub fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The same, for what goes to stdout.
    pub fn paint_result(&self, code: &str, text: &str) -> String {
        if self.colour_result { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&self, text: impl Display) {
        // Nobody is left to tell when stderr itself is gone.
        self.bars.suspend(|| {
            let _ = writeln!(io::stderr(), "{text}");
        });
    }
}

/// While it lives, the terminal does not show what is typed. Ends by being dropped, so by Ctrl-C, too.
struct Hidden;

impl Hidden {
    fn begin() -> Self {
        let _ = std::process::Command::new("stty").arg("-echo").status();
        Self
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = std::process::Command::new("stty").arg("echo").status();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
