//! What is missing on this machine, and installing it.

mod apt;
mod dockerd;
mod packages;

use anyhow::{Result, bail};
use ui::Ui;

use crate::engine::connect::find::EngineChoice;
use crate::engine::connect::find::Finder;
use crate::engine::connect::unreachable::Unreachable;
use crate::engine::handle::Engine;
use crate::setup::packages::System;
use crate::setup::packages::{DOCKER, DOCKER_CLI, GIT, MMDEBSTRAP, PODMAN, Package};

/// Whether the user agreed to changes of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// `--yes`
    Given,
    /// To be asked for on the terminal; without a terminal, refused.
    Ask,
}

/// Connects to the engine, and installs what is missing, with consent: only if there is no engine, or all of it with
/// `--yes`. The error says what to type. Repeated calls return the same engine.
pub async fn ensure_engine(ui: &Ui, consent: Consent, finder: &Finder) -> Result<Engine> {
    match finder.connect(ui).await {
        Ok(engine) if consent == Consent::Ask => Ok(engine),
        answer => ensure(ui, consent, finder, answer).await,
    }
}

/// Installs and starts everything that is missing, with consent, and connects to the engine.
pub async fn ensure_all(ui: &Ui, consent: Consent, finder: &Finder) -> Result<Engine> {
    ensure(ui, consent, finder, finder.connect(ui).await).await
}

async fn ensure(ui: &Ui, consent: Consent, finder: &Finder, engine: Result<Engine, Unreachable>) -> Result<Engine> {
    let system = System::detect();
    let packages = missing(&system, &finder.choice, &engine);
    let is_stopped_docker = finder.choice == EngineChoice::Docker && !DOCKER.is_missing();
    let stopped_docker = engine.as_ref().err().filter(|_| is_stopped_docker).map(Unreachable::in_short);
    match engine {
        // Installing something would not help.
        Err(unreachable) if !unreachable.is_absence() => return Err(unreachable.explain()),
        engine if packages.is_empty() && stopped_docker.is_none() => return engine.map_err(Unreachable::explain),
        _ => {}
    }
    for package in &packages {
        ui.note(format_args!("missing: {} (package {})", package.purpose, package.name));
    }
    if let Some(why) = stopped_docker {
        ui.note(format_args!("missing: a running container engine ({why})"));
    }
    let installed = install(ui, consent, &system, &packages).await?;
    let docker_instead = packages.contains(&PODMAN) && !installed.contains(&PODMAN.name);
    match finder.connect(ui).await {
        Err(Unreachable::Silent { .. }) if docker_instead || finder.choice == EngineChoice::Docker => {
            dockerd::start(ui, finder).await
        }
        answer => answer.map_err(Unreachable::explain),
    }
}

/// Installs what only the tests of this project need, with consent.
pub async fn ensure_test_tools(ui: &Ui, consent: Consent) -> Result<()> {
    let packages = packages::missing_for_tests();
    if packages.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    ui.note(format_args!("missing for the tests: {}", names.join(", ")));
    install(ui, consent, &System::detect(), &packages).await.map(drop)
}

/// What to install for the engine of this choice, which answered so.
fn missing(system: &System, choice: &EngineChoice, engine: &Result<Engine, Unreachable>) -> Vec<Package> {
    let needs_docker = engine.is_err() && *choice == EngineChoice::Docker;
    let needed = [
        (GIT, true),
        (MMDEBSTRAP, system.has_apt()),
        (DOCKER_CLI, system.has_apt() && needs_docker),
        (DOCKER, needs_docker),
    ];
    let needed = needed.into_iter().filter(|(package, is_needed)| *is_needed && package.is_missing());
    let mut missing: Vec<Package> = needed.map(|(package, _)| package).collect();
    match engine {
        Ok(engine) if system.has_apt() && !engine.abilities.has_command_line() => missing.push(DOCKER_CLI),
        Err(_) if !needs_docker => missing.extend(packages::missing_for_embedded()),
        _ => {}
    }
    missing
}

/// Installs packages, with consent. Returns the names of what was installed.
async fn install(ui: &Ui, consent: Consent, system: &System, packages: &[Package]) -> Result<Vec<&'static str>> {
    if !system.has_apt() {
        bail!("{}", system.advice());
    }
    let agrees = match consent {
        Consent::Given => true,
        Consent::Ask => ui.can_ask() && ui.ask("Install and start it now?").await?,
    };
    if !agrees {
        bail!("nothing was changed; `cargo xtask setup --yes` installs and starts it");
    }
    if packages.is_empty() { Ok(Vec::new()) } else { apt::install(ui, packages) }
}
