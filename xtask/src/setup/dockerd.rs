//! Starting Docker's daemon, if it is installed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use retry::Retry;
use ui::Ui;
use xshell::{Shell, cmd};

use crate::engine::connect::find::Finder;
use crate::engine::connect::unreachable::Unreachable;
use crate::engine::handle::Engine;
use crate::machine::{is_root, run_as_root};

/// How long the engine may take to come up.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Starts the daemon, by systemd if that runs, and connects to it. The error has the end of its log.
pub async fn start(ui: &Ui, finder: &Finder) -> Result<Engine> {
    if Path::new("/run/systemd/system").is_dir() {
        let (sh, root) = (Shell::new()?, run_as_root()?);
        process::read(ui, cmd!(sh, "{root} systemctl enable --now docker"))
            .context("systemd could not start Docker")?;
        return wait_for_engine(ui, finder, None).await;
    }
    let (log, pid) = (finder.cache.join("dockerd.log"), finder.cache.join("dockerd.pid"));
    let mut daemon = spawn_daemon(ui, &log)?;
    files::write(&pid, 0o644, daemon.id().to_string())?;
    let engine = wait_for_engine(ui, finder, Some((&mut daemon, &log))).await?;
    let sudo = if is_root() { "" } else { "sudo " };
    ui.note(format_args!(
        "started dockerd; it logs to {}. To stop it: {sudo}kill $(cat {})",
        log.display(),
        pid.display()
    ));
    Ok(engine)
}

/// In a session of its own, so that neither Ctrl-C nor closing the terminal ends it.
fn spawn_daemon(ui: &Ui, log: &Path) -> Result<Child> {
    let out = files::open_log(log)?;
    let args = ["setsid", run_as_root()?, "dockerd"];
    ui.command(format_args!("{} >{} 2>&1 &", args.join(" "), log.display()));
    let mut command = Command::new(args[0]);
    command.args(&args[1..]).stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out);
    command.spawn().context("could not start dockerd")
}

/// Waits until the engine answers, or a daemon that was started here ends.
async fn wait_for_engine(ui: &Ui, finder: &Finder, mut daemon: Option<(&mut Child, &Path)>) -> Result<Engine> {
    let mut retry = Retry::within(START_TIMEOUT, Duration::from_millis(200));
    loop {
        let unreachable = match finder.connect(ui).await {
            Ok(engine) => return Ok(engine),
            Err(unreachable @ Unreachable::Silent { .. }) => unreachable,
            Err(other) => return Err(other.explain()),
        };
        let end_of_log = |log: &Path| ui::tail(&std::fs::read_to_string(log).unwrap_or_default(), 10);
        if let Some((daemon, log)) = &mut daemon
            && let Some(status) = daemon.try_wait()?
        {
            bail!("dockerd ended at once ({status}); the end of its log:\n{}", end_of_log(log));
        }
        if !retry.pause().await {
            let log = daemon.map_or_else(String::new, |(_, log)| end_of_log(log));
            let message = format!("the engine did not come up within {} s\n{log}", START_TIMEOUT.as_secs());
            return Err(unreachable.explain().context(message));
        }
    }
}
