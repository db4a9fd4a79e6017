//! How a command that failed ends: the reasons on stderr, with `--json` also a document on stdout, and the exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::anyhow;
use serde::Serialize;

use crate::commands::{Ended, WrongUsage};
use ui::{Ui, signals};

/// The exit code of a command that Ctrl-C ended, as in shells.
pub(super) const INTERRUPTED: u8 = 130;

/// The exit code of clap, and of many programs.
const WRONG_USAGE: u8 = 2;

/// True also where a step has been undone, which was said before.
const INTERRUPTION: &str = "interrupted; the same command can be run again, and repeats nothing that is finished";
const INTERRUPTED_AS_A_WHOLE: &str = "interrupted; an unfinished node is not kept, so the same command begins again";

/// What stdout has of a command that failed before it could print its result as JSON.
#[derive(Serialize)]
struct Document<'a> {
    error: Reasons<'a>,
}

#[derive(Serialize)]
struct Reasons<'a> {
    what: &'a str,
    /// Why, from the nearest reason to the first cause.
    because: Vec<String>,
}

/// Prints why a command failed.
pub(super) struct Failure {
    /// Whether stdout must be JSON.
    json: bool,
}

impl Failure {
    /// Of the command line of this process, which may be one that cannot be parsed.
    pub fn of_this_process() -> Self {
        signals::set_last_result(|message| {
            let message = message.strip_prefix("error: ").unwrap_or(message);
            Self::of_this_process().document(&anyhow!(message.to_owned()))
        });
        Self { json: asks_for_json(std::env::args_os().skip(1)) }
    }

    /// Prints the error, and returns the command's exit code.
    pub fn error(&self, ui: &Ui, error: &anyhow::Error) -> ExitCode {
        // The reader of the result has seen enough of it, as in `… | head`.
        if ui::is_closed_pipe(error) {
            return ExitCode::SUCCESS;
        }
        self.print(ui, error);
        if let Some(Ended(code)) = error.downcast_ref() {
            return ExitCode::from(*code);
        }
        ui.error(error);
        let is_wrong_usage = error.is::<WrongUsage>() || error.is::<cml::WrongAddress>();
        if is_wrong_usage { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
    }

    /// `has_steps` tells whether the command keeps what it has finished.
    pub fn interruption(&self, ui: &Ui, has_steps: bool) -> ExitCode {
        let message = if has_steps { INTERRUPTION } else { INTERRUPTED_AS_A_WHOLE };
        self.print(ui, &anyhow!(message));
        ui.note(message);
        ExitCode::from(INTERRUPTED)
    }

    /// Prints the help that was asked for, or what is wrong with the command line. That may be a file's name, from a
    /// pattern that the shell has completed.
    pub fn usage(&self, message: &clap::Error) -> ! {
        let ui = Ui::new(false);
        if message.use_stderr() {
            let text = message.render().to_string();
            let first = text.split("\n\n").next().unwrap_or_default();
            self.print(&ui, &anyhow!(first.strip_prefix("error: ").unwrap_or(first).to_owned()));
        }
        let is_printable = |arg: OsString| arg.to_str().is_some_and(|arg| text::printable_line(arg) == arg);
        if std::env::args_os().skip(1).all(is_printable) {
            message.exit();
        }
        ui.note(message.render().to_string().trim_end());
        std::process::exit(message.exit_code())
    }

    fn print(&self, ui: &Ui, error: &anyhow::Error) {
        // It can fail only where nothing can be printed.
        self.document(error).map(|json| ui.json(&json));
    }

    /// The document, unless stdout has one already, such as the results of a command with findings.
    fn document(&self, error: &anyhow::Error) -> Option<String> {
        let document = Document { error: Reasons { what: &error.to_string(), because: ui::reasons(error) } };
        (self.json && !ui::has_json()).then(|| serde_json::to_string_pretty(&document).ok()).flatten()
    }
}

fn asks_for_json(args: impl IntoIterator<Item = OsString>) -> bool {
    args.into_iter().take_while(|arg| arg != "--").any(|arg| arg == "--json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_option_asks_for_json() {
        let asks = |line: &str| asks_for_json(line.split(' ').map(OsString::from));
        assert!(asks("list --json") && asks("--json") && asks("lint --json --no-such-option"));
        assert!(!asks("list") && !asks("lint -- --json"));
    }
}
