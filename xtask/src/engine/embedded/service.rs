//! The embedded engine: Podman's API service as a child of this program, for as long as a command takes, on a socket and with
//! a storage of its own. So a machine needs no daemon, and nothing of the user's own Podman is touched.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::engine::embedded::leftovers::{self, size_of};
use crate::engine::embedded::paths::{self, EmbeddedPaths};
use crate::engine::embedded::probe::{self, MachineSupport, OLDEST};
use crate::engine::embedded::settings::{self, Settings};
use ui::Ui;

/// How long the engine may take to come up: the first time it lays out its storage.
const START_TIME: Duration = Duration::from_secs(30);
/// How long one waits before saying what for.
const WORTH_TELLING: Duration = Duration::from_millis(500);
/// How long it may take to end.
const END_TIME: Duration = Duration::from_secs(20);

/// A running embedded engine. It ends when this is dropped, and when this process ends in any other way.
#[derive(Debug)]
pub struct Embedded {
    /// Its standard input is what keeps the engine alive.
    guard: Mutex<Child>,
    socket: PathBuf,
    paths: EmbeddedPaths,
    pub support: MachineSupport,
    pub version: String,
    /// Shared with other commands that use the engine; whoever removes its storage wants it alone.
    lock: File,
}

/// Whether Podman is installed.
pub fn is_installed() -> bool {
    cfg!(target_os = "linux") && crate::machine::is_installed("podman")
}

impl Embedded {
    /// Starts the engine and waits until it answers.
    ///
    /// # Errors
    /// If Podman is too old, the user lacks what it needs, or it does not come up; says what to do.
    pub async fn start(ui: &Ui, cache: &Path) -> Result<Self> {
        has_subordinate_ids()?;
        let (major, version) = probe::version()?;
        if major < OLDEST {
            bail!(
                "Podman {version} is too old for the embedded engine, which needs {OLDEST}.0: update it, or let Docker serve \
                 (`cargo xtask setup --engine docker`)"
            );
        }
        let paths = EmbeddedPaths::in_cache(cache);
        leftovers::end_the_rest(&paths)?;
        leftovers::forget_the_dead(&paths)?;
        leftovers::clear_up(ui, &paths)?;
        let lock = shared_lock(ui, &paths).await?;
        // After the lock: whoever cleaned up has removed these.
        paths.create()?;
        let support = probe::machine_support(ui, &paths)?;
        let settings = settings::write(&paths, support.storage, support.runtime.as_ref().ok())?;
        let socket = paths.runtime.join(format!("{}-{:x}", std::process::id(), fastrand::u32(..)));
        let guard = spawn(ui, &paths, &socket, settings)?;
        std::fs::write(paths.mark(&socket), "").context("noting that the embedded engine runs")?;
        let engine = Self { guard: Mutex::new(guard), socket, paths, support, version, lock };
        engine.wait_until_it_answers().await?;
        Ok(engine)
    }

    /// `unix://…`
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The folder of its images and caches.
    pub fn storage(&self) -> &Path {
        &self.paths.storage
    }

    /// How it works here, for people.
    pub fn describe(&self) -> String {
        let storage = match self.support.storage_because.last() {
            None => self.support.storage.name().to_owned(),
            Some(why) => format!("{}, because {why}", self.support.storage.name()),
        };
        let isolation = match &self.support.runtime {
            Ok(runtime) => format!("containers by {}", runtime.name),
            Err(why) => format!("builds in a chroot and no containers, because {why}"),
        };
        format!("{isolation}; storage {storage}, in {}", self.paths.storage.display())
    }

    /// Why a command failed, as far as the engine knows: it has ended, or its disk is full.
    pub fn advice(&self, error: &anyhow::Error) -> Option<String> {
        let is_full = format!("{error:#}").to_lowercase().contains("no space left on device");
        let full = || {
            format!(
                "the embedded engine keeps its images in {}: make room there (`cargo xtask clean` removes them), or set {} to a \
                 folder on a larger disk",
                self.paths.storage.display(),
                paths::VARIABLE
            )
        };
        self.last_words().or_else(|| is_full.then(full))
    }

    fn last_words(&self) -> Option<String> {
        let mut guard = self.guard.lock().ok()?;
        let since = Instant::now();
        let has_ended = || std::os::unix::net::UnixStream::connect(&self.socket).is_err();
        // Its guard notices a moment after us.
        while has_ended() && matches!(guard.try_wait(), Ok(None)) && since.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(guard);
        self.ended()
    }

    fn ended(&self) -> Option<String> {
        let status = self.guard.lock().ok()?.try_wait().ok()??;
        Some(format!("the embedded engine has ended ({status}); its last words:\n{}", self.paths.end_of_log()))
    }

    async fn wait_until_it_answers(&self) -> Result<()> {
        let since = Instant::now();
        while std::os::unix::net::UnixStream::connect(&self.socket).is_err() {
            if let Some(said) = self.ended() {
                bail!("{said}");
            }
            if since.elapsed() > START_TIME {
                bail!(
                    "the embedded engine did not come up within {} s; its last words:\n{}",
                    START_TIME.as_secs(),
                    self.paths.end_of_log()
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        let Ok(guard) = self.guard.get_mut() else { return };
        // The guard has it, too, and wants to find itself alone.
        let _ = self.lock.unlock();
        drop(guard.stdin.take());
        let since = Instant::now();
        while matches!(guard.try_wait(), Ok(None)) && since.elapsed() < END_TIME {
            std::thread::sleep(Duration::from_millis(5));
        }
        leftovers::end_service(&self.paths, &self.socket);
        let _ = std::fs::remove_file(&self.socket);
        // Once more: if the engine had ended before us, its guard was not alone.
        let _ = leftovers::end_the_rest(&self.paths);
        if matches!(guard.try_wait(), Ok(Some(status)) if status.success()) {
            let _ = std::fs::remove_file(self.paths.mark(&self.socket));
        }
    }
}

/// The guard in a process group of its own, so that Ctrl-C does not end the engine before we have cleaned up on it.
fn spawn(ui: &Ui, paths: &EmbeddedPaths, socket: &Path, settings: Settings) -> Result<Child> {
    let log = File::create(paths.log()).with_context(|| format!("{} can't be written", paths.log().display()))?;
    let address = format!("unix://{}", socket.display());
    let service = ["system", "service", "--time", "0", &address].map(OsString::from);
    let words: Vec<OsString> = std::iter::once("podman".into()).chain(settings.arguments).chain(service).collect();
    let shown: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    ui.command(format_args!("{} >{} 2>&1 &", shown.join(" "), paths.log().display()));
    Command::new("sh")
        .args(["-c", include_str!("guard.sh"), "guard"])
        .args([paths.session(), paths.runtime.clone(), paths.storage.join("images"), paths.lock()])
        .args(words)
        .envs(settings.variables)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("the embedded engine can't be started")
}

/// Not while another command removes the storage.
async fn shared_lock(ui: &Ui, paths: &EmbeddedPaths) -> Result<File> {
    wait_for(ui, paths.open_lock()?, File::try_lock_shared, "removes the embedded engine's storage").await
}

async fn wait_for(ui: &Ui, file: File, lock: fn(&File) -> Result<(), TryLockError>, whose: &str) -> Result<File> {
    let (since, mut told) = (Instant::now(), false);
    loop {
        match lock(&file) {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error).context("the embedded engine's lock can't be had"),
            // Whoever looks for leftovers has it for a moment.
            Err(TryLockError::WouldBlock) if since.elapsed() > WORTH_TELLING && !std::mem::replace(&mut told, true) => {
                ui.note(format_args!("waiting for another command that {whose}"));
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Removes the images of the embedded engine, and if asked the caches of builds, after saying how much that is. Waits until no
/// other command uses the engine. Yields how many things went.
///
/// # Errors
/// If something can't be removed.
pub async fn clean(ui: &Ui, cache: &Path, images: bool, caches: bool) -> Result<usize> {
    let paths = EmbeddedPaths::in_cache(cache);
    let images = images.then(|| (paths.storage.join("images"), "the embedded engine's images"));
    let caches = if caches { paths.caches() } else { Vec::new() };
    let caches = caches.into_iter().map(|folder| (folder, "caches of builds (compiler, packages)"));
    let folders: Vec<_> = images.into_iter().chain(caches).filter(|(folder, _)| folder.is_dir()).collect();
    if folders.is_empty() {
        return Ok(0);
    }
    let alone = wait_for(ui, paths.open_lock()?, File::try_lock, "uses the embedded engine").await?;
    leftovers::end_orphans(&paths);
    for (folder, what) in &folders {
        ui.note(format_args!("removing {what}: {} in {}", text::size(size_of(folder)), folder.display()));
        leftovers::remove_folder(folder).with_context(|| format!("{} can't be removed", folder.display()))?;
    }
    leftovers::remove_folder(&paths.runtime)?;
    drop(alone);
    Ok(folders.len())
}

/// Whether there is a storage.
pub fn has_images(cache: &Path) -> bool {
    EmbeddedPaths::in_cache(cache).storage.join("images").is_dir()
}

/// Packages have files of many users; an ordinary user needs ids to stand for them. [subuid(5)]
fn has_subordinate_ids() -> Result<()> {
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
                "{user} has no subordinate ids ({file}), which the embedded engine needs for the users inside of an image. To give some:\n  \
                 sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}\n  (other numbers, if another user has these)"
            );
        }
    }
    if !crate::machine::is_installed("newuidmap") {
        bail!(
            "newuidmap is not installed, which the embedded engine needs for an ordinary user: sudo apt-get install uidmap"
        );
    }
    Ok(())
}
