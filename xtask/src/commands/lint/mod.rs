//! `cargo xtask lint`: finds what is wrong with definitions before a server does.

mod files;
mod rendered;
mod report;
mod scenes;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::commands::session::Session;
use crate::commands::{Ended, outcome};
use crate::engine::connect::find::EngineChoice;
use crate::engine::connect::find::Finder;
use crate::machine;
use report::{Judged, Report};
use ui::{Ui, is_closed_pipe};

pub(super) use rendered::refuse_errors;

#[derive(clap::Args)]
pub struct Args {
    /// Node and image definitions, or folders of them [default: everything that this repository renders]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print the findings as JSON: one array, with an object per file
    #[arg(long)]
    json: bool,
    /// Fail on warnings too
    #[arg(long, value_enum, value_name = "WHAT")]
    deny: Option<Deny>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deny {
    /// Treat warnings like errors
    Warnings,
}

/// Fails with [`Ended`] if a definition has errors, and with [`WrongUsage`](crate::commands::WrongUsage) if a path
/// cannot be read or has no definitions.
pub async fn run(ui: &Ui, root: Option<&Path>, args: Args) -> Result<()> {
    let (templates, files) = args.paths.iter().cloned().partition(|path| repository_of_template(path).is_some());
    let judged = if args.paths.is_empty() {
        let session = Session::open(ui, root, &no_engine()?)?;
        session.warn_of_folders_without_manifest();
        rendered::lint(&session)
    } else {
        lint_paths(ui, templates, files).await?
    };
    let failed = |report: &Report| report.fails(args.deny == Some(Deny::Warnings));
    let printed = if args.json { ui.json(&report::json(&judged, failed)?) } else { report::print(ui, &judged.reports) };
    let Judged { reports, failures } = judged;
    let fails = !failures.is_empty() || reports.iter().any(failed);
    if let Err(error) = printed {
        // The reader of the findings has seen enough of them, as `head` has; that there are errors still counts.
        return Err(if fails && is_closed_pipe(&error) { Ended(1).into() } else { error });
    }
    if !reports.is_empty() || failures.is_empty() {
        report::summarize(ui, &reports);
    }
    outcome::all(ui, failures.into_iter().map(|failure| failure.error))?;
    if fails { Err(Ended(1).into()) } else { Ok(()) }
}

/// Files are judged as they are, templates of a repository as they are rendered.
async fn lint_paths(ui: &Ui, templates: Vec<PathBuf>, files: Vec<PathBuf>) -> Result<Judged> {
    // On a separate thread, so that Ctrl-C works while a large archive is read.
    let linting = tokio::task::spawn_blocking(move || files::lint(&files));
    let reports = linting.await.context("reading the definitions")??;
    let mut judged = Judged { reports, ..Judged::default() };
    for path in templates {
        let root = repository_of_template(&path).context("the repository around the template is gone")?;
        let (session, path) = (Session::open(ui, Some(&root), &no_engine()?)?, path.canonicalize()?);
        let is_asked_for = |report: &Report| session.repository.root.join(&report.path).starts_with(&path);
        let of_repository = rendered::lint(&session);
        judged.reports.extend(of_repository.reports.into_iter().filter(is_asked_for));
        // What a template becomes for a node that cannot be rendered is not known.
        judged.failures.extend(of_repository.failures);
    }
    Ok(judged)
}

/// The repository that a template, or folder of templates, belongs to.
fn repository_of_template(path: &Path) -> Option<PathBuf> {
    let path = path.canonicalize().ok()?;
    let mut folders =
        path.ancestors().filter(|folder| folder.ends_with("node-definitions") || folder.ends_with("image-definitions"));
    let is_repository = |root: &&Path| root.join("docker").is_dir() && root.join("node-definitions").is_dir();
    folders.find_map(|folder| folder.parent().filter(is_repository)).map(Path::to_owned)
}

/// A finder that is never used: `lint` needs no engine.
fn no_engine() -> Result<Finder> {
    Ok(Finder::new(EngineChoice::Automatic, machine::cache_folder()?))
}
