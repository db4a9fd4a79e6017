//! The terminal: messages, progress, questions, colour, Ctrl-C.
//!
//! Results go to stdout, everything else to stderr. On a terminal a running step is a spinner; in a pipe it is one
//! plain line.
//!
//! Whatever is printed goes through [`text::printable`] here: much of it comes from archives, names of files, servers
//! and programs. Colours are added afterwards, so they are no part of a message.

pub mod interrupt;
mod prompt;
pub mod signals;
mod tail;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use interrupt::Interrupt;
pub use tail::tail;

/// The error of a result that could not be printed.
pub const STDOUT_IS_GONE: &str = "could not write the result to stdout";

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

/// Whether stdout has a result in JSON.
static HAS_JSON: AtomicBool = AtomicBool::new(false);

/// Whether this process has printed a result as JSON.
pub fn has_json() -> bool {
    HAS_JSON.load(Ordering::Relaxed)
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

    /// The same for a step that the user did not ask for: without its notes, unless `--verbose` was given.
    #[must_use]
    pub fn quiet(&self) -> Self {
        Self { quiet: !self.verbose, ..self.clone() }
    }

    /// Tells whether Ctrl-C was pressed.
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

    /// Something to look at, though the command goes on.
    pub fn warn(&self, text: impl Display) {
        self.marked("33", "warning:", text);
    }

    /// The headline of a step.
    pub fn headline(&self, text: impl Display) {
        self.painted_line("1", &text.to_string(), "");
    }

    /// A note whose first word, `mark`, is in the colour `code` (an SGR parameter).
    pub fn marked_note(&self, code: &str, mark: &str, text: impl Display) {
        if !self.quiet {
            self.marked(code, mark, text);
        }
    }

    /// Why the command failed: the error, then its causes.
    pub fn error(&self, error: &anyhow::Error) {
        self.marked("1;31", "error:", error);
        for reason in reasons(error) {
            self.line(format_args!("  because {}", reason.replace('\n', "\n  ")));
        }
    }

    /// A command line that is about to run, shown with `--verbose`.
    pub fn command(&self, text: impl Display) {
        if self.verbose {
            self.painted_line("2", &format!("$ {text}"), "");
        }
    }

    /// A result line, on stdout.
    pub fn result(&self, text: impl Display) -> Result<()> {
        self.result_as_it_is(&text::printable(&text.to_string()))
    }

    /// The same in the colour `code` (an SGR parameter), where colour is wanted.
    pub fn painted_result(&self, code: &str, text: impl Display) -> Result<()> {
        self.result_as_it_is(&paint(self.colour_result, code, &text.to_string()))
    }

    /// JSON as a result: its texts are not changed, but no terminal acts on them either.
    pub fn json(&self, json: &str) -> Result<()> {
        HAS_JSON.store(true, Ordering::Relaxed);
        self.result_as_it_is(&text::printable_json(json))
    }

    /// A spinner with the elapsed time; in a pipe, one line.
    pub fn spinner(&self, text: impl Into<String>) -> ProgressBar {
        let text = text::printable(&text.into());
        if !self.terminal {
            self.line(&text);
            return ProgressBar::hidden();
        }
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(style("{spinner} {wide_msg} {elapsed:>5}")));
        bar.set_message(text);
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }

    /// A spinner that counts bytes whose total is unknown.
    pub fn byte_counter(&self, text: impl Into<String>) -> ProgressBar {
        let bar = self.spinner(text);
        if self.terminal {
            bar.set_style(style("{spinner} {msg} {decimal_bytes} ({decimal_bytes_per_sec}) {elapsed:>5}"));
        }
        bar
    }

    fn line(&self, text: impl Display) {
        self.painted_line("0", "", &text.to_string());
    }

    fn marked(&self, code: &str, mark: &str, text: impl Display) {
        self.painted_line(code, mark, &format!(" {text}"));
    }

    /// The only way to stderr: a text in a colour, and one in none.
    fn painted_line(&self, code: &str, mark: &str, text: &str) {
        let mark = if mark.is_empty() { String::new() } else { paint(self.colour, code, mark) };
        let text = text::printable(text);
        // If stderr is gone, there is nowhere to report it.
        self.bars.suspend(|| {
            let _ = writeln!(io::stderr(), "{mark}{text}");
        });
    }

    fn result_as_it_is(&self, text: &str) -> Result<()> {
        self.bars.suspend(|| writeln!(io::stdout(), "{text}")).context(STDOUT_IS_GONE)
    }
}

/// The causes of an error, without those that the message before repeats, as many libraries do.
pub fn reasons(error: &anyhow::Error) -> Vec<String> {
    let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
    texts.windows(2).filter(|two| !two[0].contains(&two[1])).map(|two| two[1].clone()).collect()
}

/// Whether the result could not be printed because its reader has closed the pipe, as `head` does.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let is_io = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(is_io) && error.to_string() == STDOUT_IS_GONE
}

fn paint(wanted: bool, code: &str, text: &str) -> String {
    let text = text::printable(text);
    if wanted { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
