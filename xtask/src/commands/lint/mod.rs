//! `cargo xtask lint`: what is wrong with definitions, before a server says so.

mod files;
mod rendered;
mod report;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::{Ended, Session};
use crate::ui::Ui;
use report::Report;

pub(super) use rendered::{check_silenced, refuse_errors};

#[derive(clap::Args)]
pub struct Args {
    /// Node and image definitions, or folders of them [default: everything that this repository renders]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The findings as JSON: one array, an object a file
    #[arg(long)]
    json: bool,
    /// What else shall fail
    #[arg(long, value_enum, value_name = "WHAT")]
    deny: Option<Deny>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deny {
    /// Warnings, as errors do
    Warnings,
}

/// Exit code of wrong usage.
const USAGE: u8 = 2;

/// # Errors
/// [`Ended`] if something is wrong with a definition (1) or a path can't be read (2); or if the repository's data is wrong.
pub async fn run(ui: &Ui, root: Option<&Path>, args: Args) -> Result<()> {
    let reports = if args.paths.is_empty() {
        rendered::lint(&Session::open(ui, root)?)?
    } else {
        let paths = args.paths;
        // On a thread of its own, so that Ctrl-C is heard while a large archive is read.
        let linting = tokio::task::spawn_blocking(move || files::lint(&paths));
        match linting.await.context("reading the definitions")? {
            Ok(reports) => reports,
            Err(error) => {
                ui.error(&error);
                return Err(Ended(USAGE).into());
            }
        }
    };
    let failed = |report: &Report| report.fails(args.deny == Some(Deny::Warnings));
    if args.json {
        ui.result(report::json(&reports, failed)?)?;
    } else {
        report::print(ui, &reports)?;
    }
    report::summarize(ui, &reports);
    if reports.iter().any(failed) { Err(Ended(1).into()) } else { Ok(()) }
}
