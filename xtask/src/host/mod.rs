//! This machine: what it lacks for this work, and bringing it.

mod system;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use xshell::{Shell, cmd};

use crate::engine::{Engine, Unreachable};
use system::System;
use ui::Ui;

/// How long an engine may take to come up.
const START_TIME: Duration = Duration::from_secs(60);

/// Debian's packages of the engine and of its command line.
const ENGINE: &str = "docker.io";
const CLIENT: &str = "docker-cli";

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
    /// The engine is installed, but does not run.
    Engine { why: String },
}

impl Missing {
    fn describe(&self) -> String {
        match self {
            Self::Package { name, what } => format!("{what} (package {name})"),
            Self::Engine { why } => format!("a running container engine ({why})"),
        }
    }
}

/// Brings everything that is missing, with consent, and connects to the engine.
///
/// # Errors
/// If something is missing and may not or can't be brought; the error says what to type.
pub async fn set_up(ui: &Ui, consent: Consent, cache: &Path) -> Result<Engine> {
    let engine = Engine::connect().await;
    let system = System::detect();
    let missing = missing(&system, engine.as_ref().err());
    if missing.is_empty() {
        return engine.map_err(Unreachable::explain);
    }
    for part in &missing {
        ui.note(format_args!("missing: {}", part.describe()));
    }
    if let Err(Unreachable::Silent { endpoint, .. }) = &engine
        && !endpoint.is_default()
    {
        return engine.map_err(Unreachable::explain);
    }
    if !system.has_apt() {
        bail!("{}", system.advice());
    }
    agree(ui, consent).await?;
    let packages: Vec<&str> = missing.iter().filter_map(|part| part.package()).collect();
    if !packages.is_empty() {
        install(ui, &packages)?;
    }
    match Engine::connect().await {
        Err(Unreachable::Silent { .. }) => start_engine(ui, cache).await,
        other => other.map_err(Unreachable::explain),
    }
}

/// Connects to the engine; brings what is missing only if there is none, or all of it with `--yes`.
///
/// # Errors
/// As [`set_up`].
pub async fn engine(ui: &Ui, consent: Consent, cache: &Path) -> Result<Engine> {
    match Engine::connect().await {
        Ok(engine) => {
            if consent == Consent::Given && !missing(&System::detect(), None).is_empty() {
                return set_up(ui, consent, cache).await;
            }
            Ok(engine)
        }
        Err(Unreachable::Silent { endpoint, .. }) if endpoint.is_default() => set_up(ui, consent, cache).await,
        Err(other) => Err(other.explain()),
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
    install(ui, &packages)
}

/// The program that runs a command as root: `sudo`, or for root itself `env`, which just runs it.
///
/// # Errors
/// If this is not root and sudo is not there.
pub fn run_as_root() -> Result<&'static str> {
    if system::is_root() {
        return Ok("env");
    }
    which::which("sudo").map_err(|_| anyhow!("this needs root, and there is no sudo: run it as root"))?;
    Ok("sudo")
}

impl Missing {
    fn package(&self) -> Option<&'static str> {
        match self {
            Self::Package { name, .. } => Some(name),
            Self::Engine { .. } => None,
        }
    }
}

fn missing(system: &System, engine: Option<&Unreachable>) -> Vec<Missing> {
    let absent = |programs: &[&str]| programs.iter().all(|program| !is_installed(program));
    let mut missing = Vec::new();
    if absent(&["git"]) {
        missing.push(Missing::Package { name: "git", what: "git, to fetch sources" });
    }
    if system.has_apt() && absent(&["mmdebstrap", "debootstrap"]) {
        missing
            .push(Missing::Package { name: "mmdebstrap", what: "mmdebstrap, to make base images without a registry" });
    }
    if system.has_apt() && absent(&["docker"]) {
        missing.push(Missing::Package { name: CLIENT, what: "the docker command line, to run nodes as CML does" });
    }
    if let Some(Unreachable::Silent { why, .. }) = engine {
        if absent(&["dockerd"]) {
            missing.push(Missing::Package { name: ENGINE, what: "a container engine" });
        } else {
            missing.push(Missing::Engine { why: why.clone() });
        }
    }
    missing
}

/// Whether this machine has a program. Ordinary users have no sbin in their path, but daemons and
/// debootstrap live there, and run as root.
pub fn is_installed(program: &str) -> bool {
    let in_sbin = |folder: &&str| Path::new(folder).join(program).is_file();
    which::which(program).is_ok() || ["/usr/sbin", "/sbin", "/usr/local/sbin"].iter().any(in_sbin)
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

fn install(ui: &Ui, packages: &[&str]) -> Result<()> {
    let (sh, root) = (Shell::new()?, run_as_root()?);
    ui.headline(format_args!("installing {}", packages.join(" ")));
    let apt = |rest: &[&str]| {
        // Through env: sudo does not pass variables on.
        let quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"];
        ui.read(cmd!(sh, "{root} {quiet...} {rest...}")).map(drop)
    };
    let spinner = ui.spinner("apt-get update");
    let updated = apt(&["update"]);
    spinner.finish_and_clear();
    if let Err(error) = updated {
        // A list of some other archive may be out of reach; what counts is whether the packages are there.
        ui.warn(format_args!("apt's lists are not all up to date: {error:#}"));
    }
    let packages = known(ui, packages)?;
    let spinner = ui.spinner(format!("apt-get install {}", packages.join(" ")));
    let install = ["install", "--yes", "--no-install-recommends"];
    let installed = apt(&[&install, packages.as_slice()].concat());
    spinner.finish_and_clear();
    installed.with_context(|| format!("{} can't be installed", packages.join(", ")))
}

/// The docker command line has a package of its own in newer Debians; in older ones, and in Ubuntu, it
/// comes with the engine. Which one, apt knows once its lists are up to date.
fn known<'a>(ui: &Ui, packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let sh = Shell::new()?;
    let mut names = Vec::new();
    for name in packages {
        let there = *name != CLIENT || ui.read(cmd!(sh, "apt-cache show {name}")).is_ok();
        let name = if there { *name } else { ENGINE };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Starts the installed engine: by systemd where that runs, else directly.
async fn start_engine(ui: &Ui, cache: &Path) -> Result<Engine> {
    if Path::new("/run/systemd/system").is_dir() {
        let (sh, root) = (Shell::new()?, run_as_root()?);
        ui.read(cmd!(sh, "{root} systemctl enable --now docker")).context("systemd can't start the engine")?;
        return wait_for_engine(None, &|| String::new()).await;
    }
    let (log, pid) = (cache.join("dockerd.log"), cache.join("dockerd.pid"));
    let mut daemon = spawn_daemon(ui, &log)?;
    std::fs::write(&pid, daemon.id().to_string()).with_context(|| format!("{} can't be written", pid.display()))?;
    let engine = wait_for_engine(Some(&mut daemon), &|| tail(&log)).await?;
    let sudo = if system::is_root() { "" } else { "sudo " };
    ui.note(format_args!(
        "started dockerd; it writes to {}. To stop it: {sudo}kill $(cat {})",
        log.display(),
        pid.display()
    ));
    Ok(engine)
}

/// Without systemd: in a session of its own, so that neither Ctrl-C nor a closed terminal ends it.
fn spawn_daemon(ui: &Ui, log: &Path) -> Result<std::process::Child> {
    let folder = log.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    let out = std::fs::File::create(log).with_context(|| format!("{} can't be written", log.display()))?;
    let words = ["setsid", run_as_root()?, "dockerd"];
    ui.command(format_args!("{} >{} 2>&1 &", words.join(" "), log.display()));
    std::process::Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stderr(out.try_clone()?)
        .stdout(out)
        .spawn()
        .context("dockerd can't be started")
}

async fn wait_for_engine(mut daemon: Option<&mut std::process::Child>, log: &dyn Fn() -> String) -> Result<Engine> {
    let since = Instant::now();
    loop {
        let unreachable = match Engine::connect().await {
            Ok(engine) => return Ok(engine),
            Err(unreachable @ Unreachable::Silent { .. }) => unreachable,
            Err(other) => return Err(other.explain()),
        };
        if let Some(daemon) = daemon.as_deref_mut()
            && let Some(status) = daemon.try_wait()?
        {
            bail!("dockerd ended at once ({status}); its last words:\n{}", log());
        }
        if since.elapsed() > START_TIME {
            return Err(unreachable.explain().context(format!(
                "the engine did not come up within {} s\n{}",
                START_TIME.as_secs(),
                log()
            )));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].iter().map(|line| format!("  | {line}\n")).collect()
}

/// Where fetched sources and logs are kept: `$XDG_CACHE_HOME/cml-nodes`, else `~/.cache/cml-nodes`.
///
/// # Errors
/// If there is neither.
pub fn cache_folder() -> Result<PathBuf> {
    let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = xdg
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("there is no home folder; set XDG_CACHE_HOME")?
        .join("cml-nodes");
    std::fs::create_dir_all(&folder).with_context(|| format!("{} can't be made", folder.display()))?;
    Ok(folder)
}
