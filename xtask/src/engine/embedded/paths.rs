//! Where the embedded engine keeps its things. Nothing of it is the user's own Podman's.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use digests::Digest;

/// Another folder than the one in the cache, for a disk with more room.
pub const VARIABLE: &str = "XTASK_EMBEDDED_STORAGE";

/// See the module's head.
#[derive(Clone, Debug)]
pub struct EmbeddedPaths {
    /// Images, caches and the log.
    pub storage: PathBuf,
    /// Sockets, locks and what is mounted: good until the machine starts again.
    pub runtime: PathBuf,
}

impl EmbeddedPaths {
    /// Where it is, without making anything.
    pub fn in_cache(cache: &Path) -> Self {
        let storage = std::env::var_os(VARIABLE).map(PathBuf::from).filter(|path| path.is_absolute());
        let storage = storage.unwrap_or_else(|| cache.join("engine"));
        let runtime = runtime_of(&storage);
        Self { storage, runtime }
    }

    /// A paths for a moment, beside this one.
    pub fn beside(&self, name: &str) -> Self {
        let storage = self.storage.join(name);
        let runtime = runtime_of(&storage);
        Self { storage, runtime }
    }

    /// Makes its folders, for nobody but this user.
    ///
    /// # Errors
    /// If they can't be made, or somebody else's stand there.
    pub fn create(&self) -> Result<()> {
        for folder in [&self.storage, &self.temporary(), &self.marks()] {
            std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        }
        let parent = self.runtime.parent().context("the runtime folder has no parent")?;
        make_private(parent)?;
        make_private(&self.runtime)?;
        make_private(&self.session())?;
        self.follow()
    }

    /// Podman's list of containers is bound to the folder of the running ones. Where that is another now, the old one went with a
    /// login session, and all that ran in it.
    fn follow(&self) -> Result<()> {
        let record = self.storage.join("runtime");
        let runtime = self.runtime.as_os_str().as_encoded_bytes();
        let before = std::fs::read(&record).ok();
        if before.as_deref() == Some(runtime) {
            return Ok(());
        }
        if before.is_some() {
            for images in std::fs::read_dir(self.storage.join("images")).into_iter().flatten().flatten() {
                let _ = std::fs::remove_dir_all(images.path().join("libpod"));
            }
            std::fs::write(self.marks().join("moved"), "").context("noting that the embedded engine has moved")?;
        }
        std::fs::write(&record, runtime).with_context(|| format!("{} can't be written", record.display()))
    }

    /// The storage of images; each storage driver has its own.
    pub fn images(&self, driver: &str) -> PathBuf {
        self.storage.join("images").join(driver)
    }

    /// For files under way, and for the caches of builds, which are to outlive the images.
    pub fn temporary(&self) -> PathBuf {
        self.storage.join("tmp")
    }

    /// What Podman takes for the folder of the user's login session.
    pub fn session(&self) -> PathBuf {
        self.runtime.join("session")
    }

    /// Held, shared, by whoever uses the engine.
    pub fn lock(&self) -> PathBuf {
        self.storage.join("lock")
    }

    /// There while the engine with this socket runs, and afterwards if it did not end in order.
    pub fn mark(&self, socket: &Path) -> PathBuf {
        self.marks().join(socket.file_name().unwrap_or_default())
    }

    /// See [`Self::mark`].
    pub fn marks(&self) -> PathBuf {
        self.storage.join("running")
    }

    /// What the engine says.
    pub fn log(&self) -> PathBuf {
        self.storage.join("log")
    }

    /// The opened lock file, not locked yet.
    pub fn open_lock(&self) -> Result<File> {
        std::fs::create_dir_all(&self.storage)
            .with_context(|| format!("could not create {}", self.storage.display()))?;
        let file = File::options().create(true).append(true).open(self.lock());
        file.with_context(|| format!("could not open {}", self.lock().display()))
    }

    /// The last lines of what the engine printed, indented.
    pub fn end_of_log(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].iter().map(|line| format!("  | {}\n", text::printable(line))).collect()
    }

    /// The caches of builds: the compiler's and the packages'.
    pub fn caches(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.temporary()).into_iter().flatten().flatten();
        let is_cache = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("buildah-cache");
        entries.filter(is_cache).map(|entry| entry.path()).collect()
    }
}

/// Short, since a socket's path has 107 bytes at most, and another one for each storage.
fn runtime_of(storage: &Path) -> PathBuf {
    let name = Digest::of(storage.as_os_str().as_encoded_bytes());
    runtime_root().join(&name.hex()[..12])
}

/// Not by the environment, which is another in another terminal: Podman insists on finding things where they were.
fn runtime_root() -> PathBuf {
    let id = crate::machine::user_id();
    let session = PathBuf::from(format!("/run/user/{id}"));
    match id {
        0 => PathBuf::from("/run/cml-nodes"),
        _ if session.is_dir() => session.join("cml-nodes"),
        _ => PathBuf::from(format!("/tmp/cml-nodes-{id}")),
    }
}

/// Below /tmp anybody could have made it before us, to look at what we do.
fn make_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("{} can't be made", folder.display())),
    }
    let found = folder.symlink_metadata().with_context(|| folder.display().to_string())?;
    if !found.is_dir() || found.uid() != crate::machine::user_id() || found.mode() & 0o022 != 0 {
        bail!("{} is somebody else's: remove it, or set XDG_RUNTIME_DIR to a folder of yours", folder.display());
    }
    Ok(())
}
