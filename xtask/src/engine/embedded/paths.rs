//! Where the embedded engine keeps its files. The user's own Podman uses none of these.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use digests::Digest;

/// Names another folder than the one in the cache, for a disk with more room.
pub const VARIABLE: &str = "XTASK_EMBEDDED_STORAGE";

/// The folders and files of one embedded engine's storage.
#[derive(Clone, Debug)]
pub struct EmbeddedPaths {
    /// Images, caches and the log.
    pub storage: PathBuf,
    /// Sockets, locks and mounts: valid until the machine restarts.
    pub runtime: PathBuf,
}

impl EmbeddedPaths {
    /// The paths for this cache folder. Creates nothing.
    pub fn in_cache(cache: &Path) -> Self {
        let storage = std::env::var_os(VARIABLE).map(PathBuf::from).filter(|path| path.is_absolute());
        Self::of_storage(storage.unwrap_or_else(|| cache.join("engine")))
    }

    /// Paths for temporary use, inside this storage.
    pub fn nested(&self, name: &str) -> Self {
        Self::of_storage(self.storage.join(name))
    }

    fn of_storage(storage: PathBuf) -> Self {
        // Short, since the path of a socket has 107 bytes at most, and different for each storage.
        let name = Digest::of(storage.as_os_str().as_encoded_bytes());
        Self { runtime: runtime_root().join(&name.hex()[..12]), storage }
    }

    /// Creates the folders, for this user only. Fails if they are there and somebody else's.
    pub fn create(&self) -> Result<()> {
        for folder in [&self.storage, &self.temporary(), &self.markers()] {
            std::fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
        }
        let parent = self.runtime.parent().context("the runtime folder has no parent")?;
        create_private(parent)?;
        create_private(&self.runtime)?;
        create_private(&self.session())?;
        self.adapt_to_runtime()
    }

    /// Podman's list of containers is bound to the runtime folder. If that is not the same as before, the old one ended
    /// with a login session, together with all that ran in it.
    fn adapt_to_runtime(&self) -> Result<()> {
        let record = self.storage.join("runtime");
        let runtime = self.runtime.as_os_str().as_encoded_bytes();
        let before = std::fs::read(&record).ok();
        if before.as_deref() == Some(runtime) {
            return Ok(());
        }
        if before.is_some() {
            for images in std::fs::read_dir(self.all_images()).into_iter().flatten().flatten() {
                let _ = std::fs::remove_dir_all(images.path().join("libpod"));
            }
            std::fs::write(self.markers().join("moved"), "").context("recording that the embedded engine has moved")?;
        }
        std::fs::write(&record, runtime).with_context(|| format!("could not write {}", record.display()))
    }

    /// The images of all storage drivers.
    pub fn all_images(&self) -> PathBuf {
        self.storage.join("images")
    }

    /// The images of one storage driver.
    pub fn images(&self, driver: &str) -> PathBuf {
        self.all_images().join(driver)
    }

    /// What Podman calls `runroot`: the state of running containers.
    pub fn running(&self) -> PathBuf {
        self.runtime.join("containers")
    }

    /// Podman's own state of containers and namespaces.
    pub fn libpod(&self) -> PathBuf {
        self.runtime.join("libpod")
    }

    /// Temporary files, and the caches of builds, which are to outlive the images.
    pub fn temporary(&self) -> PathBuf {
        self.storage.join("tmp")
    }

    /// What Podman takes for the folder of the user's login session.
    pub fn session(&self) -> PathBuf {
        self.runtime.join("session")
    }

    /// The lock that every command which uses the engine shares.
    pub fn lock(&self) -> PathBuf {
        self.storage.join("lock")
    }

    /// A file that is there while the engine with this socket runs, and afterwards if it did not end properly.
    pub fn marker(&self, socket: &Path) -> PathBuf {
        self.markers().join(socket.file_name().unwrap_or_default())
    }

    /// The folder of all [markers](Self::marker).
    pub fn markers(&self) -> PathBuf {
        self.storage.join("running")
    }

    /// What the engine prints.
    pub fn log(&self) -> PathBuf {
        self.storage.join("log")
    }

    /// The last lines of the log, indented.
    pub fn end_of_log(&self) -> String {
        text::tail(&std::fs::read_to_string(self.log()).unwrap_or_default(), 5)
    }

    /// The caches of builds: the compiler's and the packages'.
    pub fn caches(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.temporary()).into_iter().flatten().flatten();
        let is_cache = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("buildah-cache");
        entries.filter(is_cache).map(|entry| entry.path()).collect()
    }
}

/// Not read from the environment, which differs between terminals: Podman must find everything where it was.
fn runtime_root() -> PathBuf {
    let id = crate::machine::user_id();
    let session = PathBuf::from(format!("/run/user/{id}"));
    match id {
        0 => PathBuf::from("/run/cml-nodes"),
        _ if session.is_dir() => session.join("cml-nodes"),
        _ => PathBuf::from(format!("/tmp/cml-nodes-{id}")),
    }
}

/// Below /tmp, another user could have created it first, to read or change what we put there.
fn create_private(folder: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("could not create {}", folder.display())),
    }
    let found = folder.symlink_metadata().with_context(|| folder.display().to_string())?;
    if !found.is_dir() || found.uid() != crate::machine::user_id() || found.mode() & 0o022 != 0 {
        bail!("{} belongs to another user or is writable by others: remove it, then try again", folder.display());
    }
    Ok(())
}
