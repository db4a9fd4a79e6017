//! This machine: what it lacks for this work, and bringing it.

mod apt;
mod dockerd;

use anyhow::{Result, bail};

use crate::engine::connect::choice::EngineChoice;
use crate::engine::connect::find::Finder;
use crate::engine::{Engine, Unreachable};
use crate::machine::system::System;
use crate::machine::{is_installed, is_root};
use ui::Ui;

/// Whether the person agreed to changes of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// `--yes`
    Given,
    /// Asked for on the terminal; without one, taken as refused.
    Ask,
}

/// Something that is missing.
enum Missing {
    /// A package that the package manager has.
    Package { name: &'static str, what: &'static str },
    /// Docker is installed, but does not run.
    Daemon { why: String },
}

impl Missing {
    fn package(name: &'static str, what: &'static str) -> Self {
        Self::Package { name, what }
    }

    fn describe(&self) -> String {
        match self {
            Self::Package { name, what } => format!("{what} (package {name})"),
            Self::Daemon { why } => format!("a running container engine ({why})"),
        }
    }

    fn name(&self) -> Option<&'static str> {
        match self {
            Self::Package { name, .. } => Some(name),
            Self::Daemon { .. } => None,
        }
    }
}

/// Brings everything that is missing, with consent, and connects to the engine.
///
/// # Errors
/// If something is missing and may not or can't be brought; the error says what to type.
pub async fn set_up(ui: &Ui, consent: Consent, finder: &Finder) -> Result<Engine> {
    bring(ui, consent, finder, finder.connect(ui).await).await
}

/// Connects to the engine; brings what is missing only if there is none, or all of it with `--yes`.
///
/// # Errors
/// As [`set_up`].
pub async fn engine(ui: &Ui, consent: Consent, finder: &Finder) -> Result<Engine> {
    match finder.connect(ui).await {
        Ok(engine) if consent == Consent::Given => bring(ui, consent, finder, Ok(engine)).await,
        Ok(engine) => Ok(engine),
        unreachable => bring(ui, consent, finder, unreachable).await,
    }
}

async fn bring(ui: &Ui, consent: Consent, finder: &Finder, engine: Result<Engine, Unreachable>) -> Result<Engine> {
    let system = System::detect();
    let missing = missing(&system, finder.choice(), &engine);
    match engine {
        // Nothing that we could install would help.
        Err(unreachable) if !unreachable.is_absence() => return Err(unreachable.explain()),
        engine if missing.is_empty() => return engine.map_err(Unreachable::explain),
        _ => {}
    }
    for part in &missing {
        ui.note(format_args!("missing: {}", part.describe()));
    }
    if !system.has_apt() {
        bail!("{}", system.advice());
    }
    agree(ui, consent).await?;
    let packages: Vec<&str> = missing.iter().filter_map(Missing::name).collect();
    let installed = if packages.is_empty() { Vec::new() } else { apt::install(ui, &packages)? };
    let docker_instead = packages.contains(&apt::PODMAN) && !installed.contains(&apt::PODMAN);
    match finder.connect(ui).await {
        Err(Unreachable::Silent { .. }) if docker_instead || *finder.choice() == EngineChoice::Docker => {
            dockerd::start(ui, finder).await
        }
        other => other.map_err(Unreachable::explain),
    }
}

/// Brings what only the tests of this project need.
///
/// # Errors
/// As [`set_up`].
pub async fn test_tools(ui: &Ui, consent: Consent) -> Result<()> {
    let has_venv = std::process::Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    let tools = [
        ("shellcheck", is_installed("shellcheck")),
        ("openssh-client", is_installed("ssh")),
        (apt::PODMAN, is_installed("podman")),
        ("runc", is_installed("runc") || is_installed("crun")),
        ("uidmap", is_installed("newuidmap")),
        ("python3-venv", has_venv.is_ok_and(|output| output.status.success())),
    ];
    let packages: Vec<&str> = tools.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect();
    if packages.is_empty() {
        return Ok(());
    }
    ui.note(format_args!("missing for the tests: {}", packages.join(", ")));
    let system = System::detect();
    if !system.has_apt() {
        bail!("{}", system.advice());
    }
    agree(ui, consent).await?;
    apt::install(ui, &packages).map(drop)
}

fn missing(system: &System, choice: &EngineChoice, engine: &Result<Engine, Unreachable>) -> Vec<Missing> {
    let absent = |programs: &[&str]| programs.iter().all(|program| !is_installed(program));
    let mut missing = Vec::new();
    if absent(&["git"]) {
        missing.push(Missing::package("git", "git, to fetch sources"));
    }
    if system.has_apt() && absent(&["mmdebstrap", "debootstrap"]) {
        missing.push(Missing::package("mmdebstrap", "mmdebstrap, to make base images without a registry"));
    }
    match engine {
        Ok(engine) => {
            if system.has_apt() && !engine.abilities.has_command_line() {
                missing.push(Missing::package(apt::DOCKER_CLIENT, "the docker command line, to run nodes as CML does"));
            }
        }
        Err(unreachable) if *choice == EngineChoice::Docker => {
            if system.has_apt() && absent(&["docker"]) {
                missing.push(Missing::package(apt::DOCKER_CLIENT, "the docker command line, to run nodes as CML does"));
            }
            missing.push(match absent(&["dockerd"]) {
                true => Missing::package(apt::DOCKER, "a container engine"),
                false => Missing::Daemon { why: unreachable.in_short() },
            });
        }
        Err(_) => missing.extend(missing_of_podman()),
    }
    missing
}

/// What the embedded engine needs. runc rather than crun: it knows the control groups of more machines.
fn missing_of_podman() -> Vec<Missing> {
    let mut missing = vec![Missing::package(apt::PODMAN, "Podman, the container engine that needs no daemon")];
    if !is_installed("runc") && !is_installed("crun") {
        missing.push(Missing::package("runc", "runc, which starts containers"));
    }
    if !is_root() && !is_installed("newuidmap") {
        missing.push(Missing::package("uidmap", "newuidmap, for the users inside of an image"));
    }
    missing
}

async fn agree(ui: &Ui, consent: Consent) -> Result<()> {
    let advice = "nothing was changed; `cargo xtask setup --yes` installs and starts it";
    match consent {
        Consent::Given => Ok(()),
        Consent::Ask if !ui.can_ask() => bail!("{advice}"),
        Consent::Ask if ui.ask("Install and start it now?").await? => Ok(()),
        Consent::Ask => bail!("{advice}"),
    }
}
