//! The command line: parse, dispatch, print the error.

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::commands;
use crate::commands::session::Session;
use crate::engine::connect::choice::EngineChoice;
use crate::engine::connect::find::Finder;
use crate::engine::embedded::guard;
use ui::Ui;

/// The exit code of a shell whose command was ended by Ctrl-C.
const INTERRUPTED: u8 = 130;

/// How long after a failure a Ctrl-C that caused it may take to be noticed.
const GRACE: Duration = Duration::from_millis(20);

/// Builds container nodes for Cisco Modeling Labs from the data in this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    /// Show what runs outside this program, argument by argument, and what builds print.
    #[arg(short, long, global = true)]
    verbose: bool,
    /// The repository of nodes [default: the one around the working folder]
    #[arg(long, global = true, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// Which engine serves: docker, podman, embedded, or an address [env: XTASK_ENGINE] [default: the first that answers]
    #[arg(long, global = true, value_name = "ENGINE")]
    engine: Option<EngineChoice>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Nodes, variants and versions; what is built, saved and up to date.
    List(commands::list::Args),
    /// What this machine lacks; asked or with --yes, installs and starts it.
    Setup(commands::setup::Args),
    /// Builds a node's image.
    Build(commands::build::Args),
    /// Prints the image ID that CML will see, and writes both definitions.
    Inspect(commands::inspect::Args),
    /// Writes the archive that CML imports, beside its definitions.
    Save(commands::save::Args),
    /// Starts a node as CML does, and says how to get in.
    Run(commands::run::Args),
    /// CML's second console of a running node: a shell.
    Shell(commands::shell::Args),
    /// CML's first console of a running node: its terminal.
    Console(commands::shell::Args),
    /// What the first console of a running node has shown.
    Logs(commands::logs::Args),
    /// Ends a running node and removes it.
    Stop(commands::stop::Args),
    /// Proves that a node works: boots it as CML does and checks what its manifest says.
    Verify(commands::verify::Args),
    /// Makes the files of a further node, which builds and verifies as it stands.
    New(commands::new::Args),
    /// What is wrong with definitions: of this repository, or in files and folders.
    Lint(commands::lint::Args),
    /// What changed between the definitions in dist/ and what would be rendered now.
    Diff(commands::diff::Args),
    /// Puts a node onto CML servers.
    Upload(commands::upload::Args),
    /// CML servers: what stands on them, and taking it off or back.
    Cml(commands::cml::Args),
    /// A build machine inside CML, for who has no other Linux.
    Builder(commands::builder::Args),
    /// Removes this project's images and files, nothing else's.
    Clean(commands::clean::Args),
    /// Format, lints, unit tests and end-to-end tests.
    Ci(crate::dev::ci::Args),
    /// Measures what the project promises, side by side with the ways it replaces.
    Bench(crate::dev::bench::Args),
}

/// The definition of the command line, for tests of the documentation.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    if let Some(code) = guard::run() {
        return code;
    }
    if cml::ssh::askpass::answered() {
        return ExitCode::SUCCESS;
    }
    let cli = Cli::parse();
    let ui = Ui::new(cli.verbose);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            ui.error(&anyhow::Error::from(error).context("the asynchronous runtime can't be started"));
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        let mut interrupted = pin!(interrupted_for_good(&ui));
        // Dropping the command's future ends what it has under way, on the engine too.
        tokio::select! {
            // In this order, so that signals are caught before anything has begun.
            biased;
            () = &mut interrupted => None,
            result = run(&ui, cli) => match result {
                Err(_) if ui.interrupt().is_asked() => None,
                // Ctrl-C also reaches git and the like, and ends them first.
                Err(_) if tokio::time::timeout(GRACE, interrupted).await.is_ok() => None,
                result => Some(result),
            },
        }
    });
    // What still runs on a thread of its own is nobody's business any more.
    runtime.shutdown_background();
    match ended {
        Some(Ok(())) => ExitCode::SUCCESS,
        // Whoever read the result has seen enough of it (`… | head`).
        Some(Err(error)) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Some(Err(error)) if error.is::<commands::ended::Ended>() => {
            ExitCode::from(error.downcast_ref::<commands::ended::Ended>().map_or(1, |ended| ended.0))
        }
        Some(Err(error)) => {
            ui.error(&error);
            ExitCode::FAILURE
        }
        None => {
            ui.note("interrupted; finished steps are kept, so the same command goes on from there");
            ExitCode::from(INTERRUPTED)
        }
    }
}

async fn run(ui: &Ui, cli: Cli) -> anyhow::Result<()> {
    let finder = Finder::from_options(cli.engine.clone(), crate::machine::cache_folder()?)?;
    let done = dispatch(ui, cli, &finder).await;
    if let Err(error) = &done
        && let Some(advice) = finder.advice(error)
    {
        ui.warn(advice);
    }
    done
}

async fn dispatch(ui: &Ui, cli: Cli, finder: &Finder) -> anyhow::Result<()> {
    let session = || Session::open(ui, cli.root.as_deref(), finder);
    match cli.command {
        Command::List(args) => commands::list::run(&session()?, args).await,
        Command::Setup(args) => commands::setup::run(ui, finder, args).await,
        Command::Build(args) => commands::build::run(&session()?, args).await,
        Command::Inspect(args) => commands::inspect::run(&session()?, args).await,
        Command::Save(args) => commands::save::run(&session()?, args).await,
        Command::Run(args) => commands::run::run(&session()?, args).await,
        Command::Shell(args) => commands::shell::run(&session()?, args).await,
        Command::Console(args) => commands::shell::console(&session()?, args).await,
        Command::Logs(args) => commands::logs::run(&session()?, args).await,
        Command::Stop(args) => commands::stop::run(&session()?, args).await,
        Command::Verify(args) => commands::verify::run(&session()?, args).await,
        Command::New(args) => commands::new::run(&session()?, args),
        Command::Lint(args) => commands::lint::run(ui, cli.root.as_deref(), args).await,
        Command::Diff(args) => commands::diff::run(&session()?, args),
        Command::Upload(args) => commands::upload::run(&session()?, args).await,
        Command::Cml(args) => commands::cml::run(&session()?, args).await,
        Command::Builder(args) => commands::builder::run(&session()?, args).await,
        Command::Clean(args) => commands::clean::run(&session()?, args).await,
        Command::Ci(args) => crate::dev::ci::run(&session()?, args).await,
        Command::Bench(args) => crate::dev::bench::run(&session()?, args).await,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io =
        |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    error.chain().any(|cause| io(cause) == Some(std::io::ErrorKind::BrokenPipe))
        && error.to_string() == ui::STDOUT_IS_GONE
}

/// The first Ctrl-C if nothing would be left half done, else the end of that, or a second Ctrl-C.
async fn interrupted_for_good(ui: &Ui) {
    interrupted().await;
    let interrupt = ui.interrupt();
    interrupt.ask();
    if interrupt.has_unfinished() {
        ui.note("interrupted; what must not be left half done is ended first (Ctrl-C again leaves it as it is)");
    }
    tokio::select! {
        () = interrupt.nothing_unfinished() => {}
        () = interrupted() => ui.warn("left as it is; the same command, run again, completes it"),
    }
}

#[cfg(unix)]
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn interrupted() {
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
