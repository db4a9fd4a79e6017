//! `cargo xtask ci`: what a pull request must pass, here as there.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::commands::args::consent;
use crate::commands::session::Session;
use crate::commands::verify;
use crate::dev::guest::Guest;
use crate::engine::connect::choice::EngineChoice;
use crate::engine::embedded::paths::EmbeddedPaths;
use crate::{machine, setup};

/// The end-to-end tests for which any engine serves. The others bring engines of their own, or are about Docker.
const OF_ANY_ENGINE: [&str; 12] = [
    "a_node_is_data",
    "builder",
    "failing_builds",
    "interrupted",
    "lint",
    "new",
    "real_data",
    "upload_api",
    "variants",
    "verify",
    "virl2_client",
    "wrong_input",
];
/// Any engine serves, but the server to which they upload is a container of Docker's.
const WITH_A_SERVER_ON_DOCKER: [&str; 1] = ["upload_real"];
/// Of either kind, and so long that the embedded engine has them only on demand: hundreds of uploads, of which the engine sees nothing
/// but that the archive is up to date.
const LONG_OF_ANY_ENGINE: [&str; 1] = ["upload_faults"];
const LONG_WITH_A_SERVER_ON_DOCKER: [&str; 1] = ["upload_ssh"];

/// The end-to-end tests that mostly wait: for answers that do not come, and for what is tried again later.
const THAT_WAIT: [&str; 4] = ["addresses", "builder", "upload_api", "upload_faults"];
/// So many of these run side by side.
const WAITING_AT_ONCE: &str = "--test-threads=8";

#[derive(clap::Args)]
pub struct Args {
    /// Install and start what this machine lacks, without asking
    #[arg(long, short)]
    yes: bool,
    /// Run the tests of broken uploads and of those by ssh on the embedded engine, too: some eight minutes more
    #[arg(long)]
    thorough: bool,
}

impl Args {
    fn of_any_engine(&self) -> Vec<&'static str> {
        [&OF_ANY_ENGINE[..], if self.thorough { &LONG_OF_ANY_ENGINE } else { &[] }].concat()
    }

    fn with_a_server_on_docker(&self) -> Vec<&'static str> {
        [&WITH_A_SERVER_ON_DOCKER[..], if self.thorough { &LONG_WITH_A_SERVER_ON_DOCKER } else { &[] }].concat()
    }
}

/// # Errors
/// At the first step that fails.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let (ui, since) = (session.ui, Instant::now());
    cargo(session, "format", &["fmt", "--all", "--check"], &[])?;
    cargo(session, "clippy", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"], &[])?;
    cargo(session, "unit tests", &["test", "--workspace", "--lib", "--quiet"], &[])?;
    setup::test_tools(ui, consent(args.yes)).await?;
    on_the_embedded_engine(session, &args).await?;
    if machine::is_root() {
        as_an_ordinary_user(session, &args)?;
    }
    on_docker(session, &args).await?;
    ui.headline(format_args!("all passed in {}", text::duration(since.elapsed())));
    Ok(())
}

async fn on_docker(session: &Session<'_>, args: &Args) -> Result<()> {
    let session = session.with_engine(EngineChoice::Docker)?;
    session.ensure_engine(consent(args.yes)).await?;
    let all = all_tests(&session)?;
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    end_to_end(&session, "on Docker", &all, &[("XTASK_ENGINE", "docker")])?;
    let storage = storage(&session);
    end_to_end(
        &session,
        "on the embedded engine, to a server on Docker",
        &args.with_a_server_on_docker(),
        &embedded(&storage),
    )?;
    session.ui.headline("every node is built, saved and proved on Docker");
    verify::run(&session, verify::Args::all(args.yes)).await
}

async fn on_the_embedded_engine(session: &Session<'_>, args: &Args) -> Result<()> {
    let session = session.with_engine(EngineChoice::Embedded)?;
    session.ensure_engine(consent(args.yes)).await?;
    session.ui.headline("every node is built, saved and proved on the embedded engine");
    verify::run(&session, verify::Args::all(args.yes)).await?;
    end_to_end(&session, "on the embedded engine", &args.of_any_engine(), &embedded(&storage(&session)))
}

fn storage(session: &Session<'_>) -> String {
    EmbeddedPaths::in_cache(&session.cache).storage.display().to_string()
}

/// The variables by which tests use the embedded engine with this storage: each of them has a cache folder of its own.
fn embedded(storage: &str) -> [(&'static str, &str); 2] {
    [("XTASK_ENGINE", "embedded"), ("XTASK_EMBEDDED_STORAGE", storage)]
}

/// A user of this machine for as long as it takes, whose engine is their own. The programs are those that were tested as root.
fn as_an_ordinary_user(session: &Session<'_>, args: &Args) -> Result<()> {
    let guest = Guest::invite(session.ui)?;
    session.ui.headline("end-to-end tests on the embedded engine, as an ordinary user");
    guest.borrow_caches(&EmbeddedPaths::in_cache(&session.cache))?;
    let program = test_program(session)?.display().to_string();
    let (waiting, others): (Vec<&str>, Vec<&str>) = args.of_any_engine().iter().copied().partition(waits);
    for (modules, threads) in [(waiting, Some(WAITING_AT_ONCE)), (others, None)] {
        let filters = filters(&modules);
        let words = [program.as_str()].into_iter().chain(filters.iter().map(String::as_str)).chain(threads);
        guest.run(session.ui, &session.repository.root, &words.collect::<Vec<&str>>())?;
    }
    Ok(())
}

fn waits(test: &&str) -> bool {
    THAT_WAIT.contains(test)
}

fn end_to_end(session: &Session<'_>, place: &str, which: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let (waiting, others): (Vec<&str>, Vec<&str>) = which.iter().copied().partition(waits);
    let waiting =
        (filters(&waiting), format!("end-to-end tests {place}, those that mostly wait"), Some(WAITING_AT_ONCE));
    for (filters, name, threads) in [waiting, (filters(&others), format!("end-to-end tests {place}"), None)] {
        if !filters.is_empty() {
            let words = ["test", "--package", "xtask", "--test", "it", "--"].into_iter();
            let words = words.chain(filters.iter().map(String::as_str)).chain(threads);
            cargo(session, &name, &words.collect::<Vec<&str>>(), variables)?;
        }
    }
    Ok(())
}

/// What selects the tests of these modules.
fn filters(modules: &[&str]) -> Vec<String> {
    modules.iter().map(|module| format!("{module}::")).collect()
}

/// The modules of the end-to-end tests.
fn all_tests(session: &Session<'_>) -> Result<Vec<String>> {
    let folder = session.repository.root.join("xtask/tests/it");
    let mut names = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("{} can't be read", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".rs").filter(|name| *name != "main").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Where cargo has put the program of the end-to-end tests.
fn test_program(session: &Session<'_>) -> Result<std::path::PathBuf> {
    let sh = Shell::new()?;
    sh.change_dir(&session.repository.root);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let arguments = ["test", "--package", "xtask", "--test", "it", "--no-run", "--message-format=json"];
    let said = cmd!(sh, "{cargo} {arguments...}").ignore_stderr().quiet().read()?;
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let path = messages
        .filter(|message| message["target"]["name"] == "it")
        .find_map(|message| message["executable"].as_str().map(|path| Path::new(path).to_owned()));
    path.context("cargo does not say where the end-to-end tests are")
}

fn cargo(session: &Session<'_>, name: &str, words: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(&session.repository.root);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    session.ui.headline(name);
    let command = cmd!(sh, "{cargo} {words...}").envs(variables.iter().copied());
    process::run(session.ui, command).with_context(|| format!("{name} failed"))
}
