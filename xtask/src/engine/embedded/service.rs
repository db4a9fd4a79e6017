//! Starting and ending an embedded engine.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use files::Lock;
use retry::Retry;
use ui::Ui;

use crate::engine::embedded::guard;
use crate::engine::embedded::paths::{self, EmbeddedPaths};
use crate::engine::embedded::probe::{self, MachineSupport, OLDEST_PODMAN};
use crate::engine::embedded::{processes, recovery, settings};

/// How long the engine may take to come up: the first time, it creates its storage.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long its guard may take to end it.
const END_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the guard may take to notice that the engine has ended.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(2);

/// A running embedded engine. It ends when this is dropped, and when this process ends in any other way.
#[derive(Debug)]
pub struct Embedded {
    /// Its standard input is what keeps the engine running.
    guard: Mutex<Child>,
    socket: PathBuf,
    pub paths: EmbeddedPaths,
    pub support: MachineSupport,
    /// Shared with other commands that use the engine, so that nobody removes its storage.
    lock: Lock,
}

/// Whether Podman is installed.
pub fn is_installed() -> bool {
    cfg!(target_os = "linux") && crate::machine::is_installed("podman")
}

impl Embedded {
    /// Starts the engine and waits until it answers. The error says what to do.
    pub async fn start(ui: &Ui, cache: &Path) -> Result<Self> {
        require_subordinate_ids()?;
        let (major, version) = probe::podman_version()?;
        if major < OLDEST_PODMAN {
            bail!(
                "Podman {version} is too old for the embedded engine, which needs {OLDEST_PODMAN}.0: update it, or use \
                 Docker (`cargo xtask setup --engine docker`)"
            );
        }
        let paths = EmbeddedPaths::in_cache(cache);
        paths.create_storage()?;
        processes::end_processes(&paths)?;
        recovery::forget_dead_containers(&paths)?;
        recovery::remove_build_containers(ui, &paths)?;
        let lock = Lock::share(&paths.lock, ui, "removes the embedded engine's storage").await?;
        // After the lock: who held it before may have removed these.
        paths.create()?;
        let support = probe::machine_support(ui, &paths)?;
        let settings = settings::write(&paths, support.storage, support.runtime.as_ref().ok())?;
        let socket = paths.runtime.join(format!("{}-{:x}", std::process::id(), fastrand::u32(..)));
        let address = format!("unix://{}", socket.display());
        let service = ["system", "service", "--time", "0", &address].map(OsString::from);
        ui.command(format_args!("podman {} >{} 2>&1 &", settings.shown(&service), paths.log.display()));
        let guard = guard::start(&paths, &socket, settings, &service)?;
        files::write(&paths.marker(&socket), 0o600, "").context("recording that the embedded engine runs")?;
        let engine = Self { guard: Mutex::new(guard), socket, paths, support, lock };
        engine.wait_until_it_answers().await?;
        Ok(engine)
    }

    /// `unix://…`
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// How it works on this machine, for people.
    pub fn describe(&self) -> String {
        let storage = self.support.storage.name();
        let because = self.support.storage_because.last().map(|why| format!(", because {why}")).unwrap_or_default();
        let isolation = match &self.support.runtime {
            Ok(runtime) => format!("containers by {}", runtime.name),
            Err(why) => format!("builds in a chroot and no containers, because {why}"),
        };
        format!("{isolation}; storage {storage}{because}, in {}", self.paths.storage.display())
    }

    /// Why a command failed, as far as the engine knows: it has ended, or its disk is full.
    pub fn advice(&self, error: &anyhow::Error) -> Option<String> {
        let is_full = format!("{error:#}").to_lowercase().contains("no space left on device");
        let full = || {
            format!(
                "the embedded engine keeps its images in {}: make room there (`cargo xtask clean` removes them), or \
                 set {} to a folder on a larger disk",
                self.paths.storage.display(),
                paths::VARIABLE
            )
        };
        let since = Instant::now();
        while !self.answers() && self.ended().is_none() && since.elapsed() < NOTICE_TIMEOUT {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.ended().or_else(|| is_full.then(full))
    }

    /// The message if the engine has ended.
    fn ended(&self) -> Option<String> {
        let status = self.guard.lock().ok()?.try_wait().ok()??;
        Some(format!("the embedded engine has ended ({status}); the end of its log:\n{}", self.paths.end_of_log()))
    }

    fn answers(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }

    async fn wait_until_it_answers(&self) -> Result<()> {
        let starts = |(answers, ended): &(bool, Option<String>)| !answers && ended.is_none();
        let retry = Retry::within(START_TIMEOUT, Duration::from_millis(10));
        match retry.run_while(starts, async || (self.answers(), self.ended())).await {
            (true, _) => Ok(()),
            (false, Some(message)) => bail!("{message}"),
            (false, None) => bail!(
                "the embedded engine did not come up within {} s; the end of its log:\n{}",
                START_TIMEOUT.as_secs(),
                self.paths.end_of_log()
            ),
        }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let Ok(guard) = self.guard.get_mut() else { return };
        // The guard shares it, and cleans up only if it is the last one.
        self.lock.release();
        drop(guard.stdin.take());
        let since = Instant::now();
        while matches!(guard.try_wait(), Ok(None)) && since.elapsed() < END_TIMEOUT {
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = guard.try_wait().ok().flatten();
        if status.and_then(|status| status.code()).is_none() {
            // The guard hangs, or was killed.
            processes::end_services(&self.paths, &self.socket);
        }
        let _ = std::fs::remove_file(&self.socket);
        // Again: if the engine ended before the command, its guard was not the last one.
        let _ = processes::end_processes(&self.paths);
        if status.is_some_and(|status| status.success()) {
            let _ = std::fs::remove_file(self.paths.marker(&self.socket));
        }
    }
}

/// Packages have files of many users; an ordinary user needs subordinate IDs to represent them. (subuid(5))
fn require_subordinate_ids() -> Result<()> {
    if crate::machine::is_root() {
        return Ok(());
    }
    let (id, name) = (crate::machine::user_id().to_string(), crate::machine::user_name());
    for file in ["/etc/subuid", "/etc/subgid"] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let is_ours =
            |line: &str| line.split(':').next().is_some_and(|user| user == id || Some(user) == name.as_deref());
        if !text.lines().any(is_ours) {
            let user = name.unwrap_or(id);
            bail!(
                "{user} has no subordinate ids ({file}), which the embedded engine needs for the users inside of an \
                 image. To add some:\n  sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}\n  \
                 (other numbers, if another user has these)"
            );
        }
    }
    if !crate::machine::is_installed("newuidmap") {
        bail!(
            "newuidmap is not installed, which the embedded engine needs for an ordinary user: \
             sudo apt-get install uidmap"
        );
    }
    Ok(())
}
