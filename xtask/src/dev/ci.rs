//! `cargo xtask dev ci`: what a pull request must pass, here as there.

use std::time::Instant;

use anyhow::{Context, Result};
use ui::Ui;
use xshell::{Shell, cmd};

use crate::commands::args::consent;
use crate::commands::session::Session;
use crate::commands::verify;
use crate::dev::guest::Guest;
use crate::engine::connect::find::EngineChoice;
use crate::engine::embedded::paths::EmbeddedPaths;
use crate::{machine, setup};

/// Folders of end-to-end tests; `xtask/tests/it/main.rs` says what each needs.
const NO_ENGINE: &str = "no_engine";
const ANY_ENGINE: &str = "any_engine";
const DOCKER_SERVER: &str = "docker_server";
const DOCKER: &str = "docker";

/// Tests that mostly wait run side by side, so many at once.
const WAITING_AT_ONCE: &str = "--test-threads=8";

/// Formatting, lints, documentation, and that the fuzz targets compile. That the program compiles with the oldest Rust
/// that Cargo.toml names is clippy's to find: its lint `incompatible_msrv` knows since when each function exists.
const SOURCE_CHECKS: [(&str, &[&str]); 4] = [
    ("format", &["fmt", "--all", "--check"]),
    ("clippy", &["clippy", "--locked", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"]),
    ("documentation", &["doc", "--locked", "--workspace", "--no-deps", "--document-private-items", "--quiet"]),
    // Without the library, which is C++ and takes longer to compile than all the rest.
    ("fuzz targets", &["check", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--no-default-features", "--quiet"]),
];

#[derive(clap::Args)]
pub struct Args {
    /// Install and start what is missing on this machine without asking
    #[arg(long, short)]
    yes: bool,
    /// Also run the longest tests on the embedded engine: broken uploads and uploads over SSH, about eight minutes more
    #[arg(long)]
    thorough: bool,
    /// Run the tests with `cargo test` even if cargo-nextest is installed
    #[arg(long)]
    without_nextest: bool,
}

/// Stops at the first step that fails. How long each step took is shown at the end in any case.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let mut steps = Steps { ui: session.ui, since: Instant::now(), durations: Vec::new(), left_out: Vec::new() };
    let has_nextest = !args.without_nextest && machine::is_installed("cargo-nextest");
    let result = all(&Cargo { session, args, has_nextest }, &mut steps).await;
    steps.show_durations();
    steps.show_what_was_left_out();
    result
}

async fn all(cargo: &Cargo<'_>, steps: &mut Steps<'_>) -> Result<()> {
    for (name, words) in SOURCE_CHECKS {
        steps.step(name, async { cargo.run(words, &[]) }).await?;
    }
    dependencies(cargo, steps).await?;
    // First, because the tests of the source need shellcheck.
    steps.step("tools for the tests", setup::ensure_test_tools(cargo.session.ui, consent(cargo.args.yes))).await?;
    steps.step("unit tests and tests of the source", async { cargo.test_without_engine() }).await?;
    on_the_embedded_engine(cargo, steps).await?;
    on_docker(cargo, steps).await
}

/// Licences, sources and known vulnerabilities of the crates that this program is made of, as `deny.toml` says. The
/// vulnerabilities are in a database that is fetched from the network.
async fn dependencies(cargo: &Cargo<'_>, steps: &mut Steps<'_>) -> Result<()> {
    if !machine::is_installed("cargo-deny") {
        steps.leave_out("cargo deny check: cargo-deny is not installed (`cargo install --locked cargo-deny`)");
        return Ok(());
    }
    let check = ["deny", "--locked", "--all-features", "check", "bans", "licenses", "sources"];
    steps.step("licences and sources of dependencies", async { cargo.run(&check, &[]) }).await?;
    if let Err(error) = cargo.run(&["deny", "--locked", "fetch", "db"], &[]) {
        steps.leave_out(format!("cargo deny check advisories: the database of advisories is out of reach ({error:#})"));
        return Ok(());
    }
    let check = ["deny", "--locked", "--offline", "--all-features", "check", "advisories"];
    steps.step("known vulnerabilities of dependencies", async { cargo.run(&check, &[]) }).await
}

async fn on_the_embedded_engine(cargo: &Cargo<'_>, steps: &mut Steps<'_>) -> Result<()> {
    let (session, args) = (cargo.session.with_engine(EngineChoice::Embedded)?, &cargo.args);
    session.ensure_engine(consent(args.yes)).await?;
    steps.step("verify every node, embedded engine", verify::run(&session, verify::Args::all(args.yes))).await?;
    // Each test starts its own.
    session.disconnect();
    let engine = embedded(&session);
    steps.step("tests, embedded engine", async { cargo.test(&[ANY_ENGINE], args.thorough, &engine) }).await?;
    if machine::is_root() {
        let name = "tests, embedded engine, as an ordinary user";
        steps.step(name, async { as_an_ordinary_user(cargo) }).await?;
    }
    Ok(())
}

async fn on_docker(cargo: &Cargo<'_>, steps: &mut Steps<'_>) -> Result<()> {
    let (session, args) = (cargo.session.with_engine(EngineChoice::Docker)?, &cargo.args);
    session.ensure_engine(consent(args.yes)).await?;
    // First, so that no test waits for the compilation of a node that it uploads.
    steps.step("verify every node, Docker", verify::run(&session, verify::Args::all(args.yes))).await?;
    let docker = [("XTASK_ENGINE".to_owned(), "docker".to_owned())];
    let all = [ANY_ENGINE, DOCKER_SERVER, DOCKER];
    steps.step("tests, Docker", async { cargo.test(&all, true, &docker) }).await?;
    let engine = embedded(&session);
    let name = "tests, embedded engine, server on Docker";
    steps.step(name, async { cargo.test(&[DOCKER_SERVER], args.thorough, &engine) }).await
}

/// The variables with which tests use the embedded engine and this storage: each test has its own cache folder.
fn embedded(session: &Session<'_>) -> [(String, String); 2] {
    let storage = EmbeddedPaths::in_cache(&session.cache).storage.display().to_string();
    [("XTASK_ENGINE", "embedded".to_owned()), ("XTASK_EMBEDDED_STORAGE", storage)]
        .map(|(name, value)| (name.to_owned(), value))
}

/// As a user of this machine who is created for these tests. The programs are those that were tested as root.
fn as_an_ordinary_user(cargo: &Cargo<'_>) -> Result<()> {
    let guest = Guest::create(cargo.session.ui, &cargo.session.repository.root)?;
    guest.copy_caches(&EmbeddedPaths::in_cache(&cargo.session.cache))?;
    cargo.test(&[ANY_ENGINE], cargo.args.thorough, &guest.cargo_variables()?)
}

/// The steps so far, with the time that each took, and what could not be run on this machine.
struct Steps<'a> {
    ui: &'a Ui,
    since: Instant,
    durations: Vec<[String; 2]>,
    left_out: Vec<String>,
}

impl Steps<'_> {
    async fn step(&mut self, name: &str, work: impl Future<Output = Result<()>>) -> Result<()> {
        self.ui.headline(name);
        let since = Instant::now();
        let result = work.await.with_context(|| format!("{name} failed"));
        self.durations.push([text::duration(since.elapsed()), name.to_owned()]);
        result
    }

    fn leave_out(&mut self, what: impl Into<String>) {
        self.left_out.push(what.into());
    }

    /// The last lines, so that nobody takes what did not run for passed.
    fn show_what_was_left_out(&self) {
        for what in &self.left_out {
            self.ui.warn(format_args!("not run: {}", what.replace('\n', " ")));
        }
    }

    fn show_durations(&self) {
        let total = [text::duration(self.since.elapsed()), "in total".to_owned()];
        self.ui.headline("time of each step");
        for line in text::table(&[self.durations.as_slice(), &[total]].concat()) {
            self.ui.note(line);
        }
    }
}

/// Runs cargo in the repository. Every test is built by one selection of packages, so that no crate is compiled twice
/// with different features.
struct Cargo<'a> {
    session: &'a Session<'a>,
    args: Args,
    has_nextest: bool,
}

impl Cargo<'_> {
    fn run<W: AsRef<str>>(&self, words: &[W], variables: &[(String, String)]) -> Result<()> {
        let sh = Shell::new()?;
        sh.change_dir(&self.session.repository.root);
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let words = words.iter().map(AsRef::as_ref);
        let command = cmd!(sh, "{cargo} {words...}").env("RUSTDOCFLAGS", "--deny warnings");
        // One folder also for the fuzz targets, which are a workspace of their own but have the same dependencies.
        let target =
            std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| self.session.repository.root.join("target").into());
        let command = command.env("CARGO_TARGET_DIR", target);
        process::run(self.session.ui, command.envs(variables.iter().map(|(name, value)| (name, value))))
    }

    fn test_without_engine(&self) -> Result<()> {
        if self.has_nextest {
            let filter = format!("kind(lib) | test(/^{NO_ENGINE}::/)");
            return self
                .run(&["nextest", "run", "--locked", "--workspace", "--lib", "--test", "it", "-E", &filter], &[]);
        }
        self.run(&["test", "--locked", "--workspace", "--lib", "--quiet"], &[])?;
        self.run(&["test", "--locked", "--workspace", "--test", "it", "--quiet", "--", &format!("{NO_ENGINE}::")], &[])
    }

    /// Runs the end-to-end tests of these folders, those in folders `long` only if they are wanted.
    fn test(&self, folders: &[&str], long: bool, variables: &[(String, String)]) -> Result<()> {
        if self.has_nextest {
            let without = if long { "" } else { " - test(/::long::/)" };
            let filter = format!("test(/^({})::/){without}", folders.join("|"));
            return self.run(&["nextest", "run", "--locked", "--workspace", "--test", "it", "-E", &filter], variables);
        }
        let without: &[&str] = if long { &[] } else { &["--skip", "::long::"] };
        for (part, how) in [("waiting::", &[WAITING_AT_ONCE][..]), ("", &["--skip", "::waiting::"])] {
            let names: Vec<String> = folders.iter().map(|folder| format!("{folder}::{part}")).collect();
            let mut words = vec!["test", "--locked", "--workspace", "--test", "it", "--"];
            words.extend(names.iter().map(String::as_str).chain(how.iter().chain(without).copied()));
            self.run(&words, variables)?;
        }
        Ok(())
    }
}
