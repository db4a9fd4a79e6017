//! Starting Docker's daemon, where it is installed.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xshell::{Shell, cmd};

use crate::engine::connect::find::Finder;
use crate::engine::{Engine, Unreachable};
use crate::machine::{is_root, run_as_root};
use ui::Ui;

/// How long an engine may take to come up.
const START_TIME: Duration = Duration::from_secs(60);

/// Starts the installed engine: by systemd where that runs, else directly.
///
/// # Errors
/// If it does not come up; with its last words.
pub async fn start(ui: &Ui, finder: &Finder) -> Result<Engine> {
    if Path::new("/run/systemd/system").is_dir() {
        let (sh, root) = (Shell::new()?, run_as_root()?);
        process::read(ui, cmd!(sh, "{root} systemctl enable --now docker"))
            .context("systemd can't start the engine")?;
        return wait_for_engine(ui, finder, None, &|| String::new()).await;
    }
    let (log, pid) = (finder.cache.join("dockerd.log"), finder.cache.join("dockerd.pid"));
    let mut daemon = spawn_daemon(ui, &log)?;
    std::fs::write(&pid, daemon.id().to_string()).with_context(|| format!("{} can't be written", pid.display()))?;
    let engine = wait_for_engine(ui, finder, Some(&mut daemon), &|| tail(&log)).await?;
    let sudo = if is_root() { "" } else { "sudo " };
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

async fn wait_for_engine(
    ui: &Ui,
    finder: &Finder,
    mut daemon: Option<&mut std::process::Child>,
    log: &dyn Fn() -> String,
) -> Result<Engine> {
    let since = Instant::now();
    loop {
        let unreachable = match finder.connect(ui).await {
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
