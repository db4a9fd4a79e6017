//! The command line: parse, dispatch, print the error.

mod failure;

use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands;
use crate::commands::session::Session;
use crate::dev;
use crate::engine::connect::find::EngineChoice;
use crate::engine::connect::find::Finder;
use crate::engine::embedded::guard;
use failure::Failure;
use ui::Ui;
use ui::signals::{self, TerminalSettings};

/// How long a Ctrl-C may take to be noticed after it caused a failure.
const GRACE: Duration = Duration::from_millis(20);

/// The commands as the help shows them; each belongs to exactly one group.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Build", &["list", "build", "inspect", "save", "sbom", "diff"]),
    ("Prove", &["lint", "verify", "run", "console", "shell", "logs", "stop"]),
    ("Server", &["upload", "cml"]),
    ("Build machine", &["builder"]),
    ("More", &["setup", "new", "clean", "dev"]),
];

/// Build container nodes for Cisco Modeling Labs from the data in this repository
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true, max_term_width = 100)]
struct Cli {
    /// Show each program that runs, with its arguments, and the output of builds
    #[arg(short, long, global = true, display_order = 100)]
    verbose: bool,
    /// The repository of nodes [default: the one around the working directory]
    #[arg(long, global = true, display_order = 101, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// docker, podman, embedded or an address [env: XTASK_ENGINE] [default: the first engine that answers]
    #[arg(long, global = true, display_order = 102, value_name = "ENGINE")]
    engine: Option<EngineChoice>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show nodes and variants, and what is built, saved and up to date
    List(commands::list::Args),
    /// Install and start what is missing on this machine, if you agree
    Setup(commands::setup::Args),
    /// Build a node's image
    Build(commands::build::Args),
    /// Print the image ID that CML will see, and write both definitions
    Inspect(commands::inspect::Args),
    /// Write the image archive and both definitions, as CML imports them
    Save(commands::save::Args),
    /// Print what a node's image consists of, in SPDX's format
    Sbom(commands::sbom::Args),
    /// Start a node as CML does, and show how to use it
    Run(commands::run::Args),
    /// Open the second console of a running node: a shell
    Shell(commands::consoles::Args),
    /// Open the first console of a running node: its terminal
    Console(commands::consoles::Args),
    /// Show what a running node has printed on its first console
    Logs(commands::consoles::LogsArgs),
    /// Stop a running node and remove it
    Stop(commands::stop::Args),
    /// Boot nodes as CML does and run the checks of their manifests
    Verify(commands::verify::Args),
    /// Create a new node that builds and passes verify as it is
    New(commands::new::Args),
    /// Check definitions: those of this repository, or any files
    Lint(commands::lint::Args),
    /// Compare the definitions in dist/ with what would be rendered now
    Diff(commands::diff::Args),
    /// Install nodes on CML servers
    Upload(commands::upload::Args),
    /// Examine CML servers; remove or restore nodes there
    #[command(subcommand)]
    Cml(commands::cml::Command),
    /// Build on a machine inside CML if you have no other Linux machine
    #[command(subcommand)]
    Builder(commands::builder::Command),
    /// Remove this project's images and files, and nothing else
    Clean(commands::clean::Args),
    /// Test and measure this program itself: ci, bench
    #[command(subcommand)]
    Dev(dev::Command),
}

pub fn command() -> clap::Command {
    let command = Cli::command();
    let groups = grouped(&command);
    let template = "{about-with-newline}\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}";
    command.help_template(template).after_help(groups)
}

fn grouped(command: &clap::Command) -> String {
    let line = |name: &&str| {
        let about = command.find_subcommand(name).and_then(clap::Command::get_about).unwrap_or_default();
        format!("\n  {name:<8}  {about}")
    };
    let group =
        |(heading, names): &(&str, &[&str])| format!("{heading}:{}", names.iter().map(line).collect::<String>());
    GROUPS.iter().map(group).collect::<Vec<_>>().join("\n\n")
}

pub fn main() -> ExitCode {
    if let Some(code) = guard::run() {
        return code;
    }
    if let Some(code) = cml::ssh::askpass::run() {
        return code;
    }
    let failure = Failure::of_this_process();
    if let Err(error) = process::withhold(&cml::SECRETS) {
        return failure.error(&Ui::new(false), &error);
    }
    let parsed = command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = parsed.unwrap_or_else(|error| failure.usage(&error));
    let ui = Ui::new(cli.verbose);
    let terminal = TerminalSettings::now();
    if let Err(error) = signals::catch(ui.interrupt().clone(), terminal.clone(), failure::INTERRUPTED.into()) {
        return failure.error(&ui, &anyhow::Error::from(error).context("could not catch signals"));
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return failure.error(&ui, &anyhow::Error::from(error).context("could not start the asynchronous runtime"));
        }
    };
    let has_steps = !matches!(cli.command, Command::New(_));
    let ended = runtime.block_on(until_interrupted(&ui, cli));
    // Threads that still run, such as one that waits for an answer, are abandoned.
    runtime.shutdown_background();
    match ended {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => failure.error(&ui, &error),
        None => {
            terminal.restore();
            failure.interruption(&ui, has_steps)
        }
    }
}

/// Runs the command. `None` if Ctrl-C ended it.
async fn until_interrupted(ui: &Ui, cli: Cli) -> Option<anyhow::Result<()>> {
    let mut interrupted = pin!(interrupted_for_good(ui));
    // Dropping the command's future ends what it is doing, on the engine, too.
    tokio::select! {
        // In this order, so that a signal counts before anything has begun.
        biased;
        () = &mut interrupted => None,
        result = run(ui, cli) => match result {
            // Also if it has succeeded: what it did then may be less than it was told to.
            _ if ui.interrupt().is_asked() => None,
            // Ctrl-C also reaches git and other programs, and may end them first.
            Err(_) if tokio::time::timeout(GRACE, ui.interrupt().asked()).await.is_ok() => None,
            result => Some(result),
        },
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
        Command::Sbom(args) => commands::sbom::run(&session()?, args).await,
        Command::Run(args) => commands::run::run(&session()?, args).await,
        Command::Shell(args) => commands::consoles::shell(&session()?, args).await,
        Command::Console(args) => commands::consoles::console(&session()?, args).await,
        Command::Logs(args) => commands::consoles::logs(&session()?, args).await,
        Command::Stop(args) => commands::stop::run(&session()?, args).await,
        Command::Verify(args) => commands::verify::run(&session()?, args).await,
        Command::New(args) => commands::new::run(&session()?, args).await,
        Command::Lint(args) => commands::lint::run(ui, cli.root.as_deref(), args).await,
        Command::Diff(args) => commands::diff::run(&session()?, args),
        Command::Upload(args) => commands::upload::run(&session()?, args).await,
        Command::Cml(command) => commands::cml::run(&session()?, command).await,
        Command::Builder(command) => commands::builder::run(&session()?, command).await,
        Command::Clean(args) => commands::clean::run(&session()?, args).await,
        Command::Dev(command) => dev::run(&session()?, command).await,
    }
}

/// Returns after Ctrl-C: at once if no work would be left half done, else when that is finished or after a second
/// Ctrl-C.
async fn interrupted_for_good(ui: &Ui) {
    let interrupt = ui.interrupt();
    interrupt.asked().await;
    if interrupt.has_unfinished() {
        ui.note("interrupted; work that must not be left half done is finished first (Ctrl-C again abandons it)");
    }
    tokio::select! {
        () = interrupt.nothing_unfinished() => {}
        () = interrupt.insisted() => ui.warn("abandoned; run the same command again to complete it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn each_command_is_in_exactly_one_group_of_the_help() {
        let mut listed: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let command = Cli::command();
        let mut defined: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        listed.sort_unstable();
        defined.sort_unstable();
        assert_eq!(listed, defined);
    }

    #[test]
    fn the_help_fits_a_screen_of_50_lines_and_80_columns() {
        let fits = |text: &str| text.lines().all(|line| line.chars().count() <= 80);
        let help = command().term_width(80).render_help().to_string();
        assert!(help.lines().count() <= 50 && fits(&help) && fits(&grouped(&Cli::command())), "{help}");
        assert!(GROUPS.iter().all(|(heading, _)| help.contains(&format!("\n{heading}:\n"))), "{help}");
    }
}
