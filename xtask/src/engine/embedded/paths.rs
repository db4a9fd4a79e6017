//! Where the embedded engine keeps its files. The user's own Podman uses none of these.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use digests::Digest;

/// Names another folder than the one in the cache, for a disk with more room.
pub const VARIABLE: &str = "XTASK_EMBEDDED_STORAGE";

/// The folders and files of one embedded engine's storage.
#[derive(Clone, Debug)]
pub struct EmbeddedPaths {
    pub storage: PathBuf,
    /// The images of each storage driver.
    pub images: PathBuf,
    /// Temporary files, and the caches of builds, which are to outlive the images.
    pub temporary: PathBuf,
    /// The [markers](Self::marker).
    pub markers: PathBuf,
    /// The lock that every command which uses the engine shares.
    pub lock: PathBuf,
    /// What the engine prints.
    pub log: PathBuf,
    /// Sockets, locks and mounts: valid until the machine restarts.
    pub runtime: PathBuf,
    /// What Podman calls `runroot`: the state of running containers.
    pub running: PathBuf,
    /// Podman's own state of containers and namespaces.
    pub libpod: PathBuf,
    /// What Podman takes for the folder of the user's login session.
    pub session: PathBuf,
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
        let runtime = runtime_root().join(&name.hex()[..12]);
        Self::new(storage, runtime)
    }

    /// The paths below these two folders.
    pub fn new(storage: PathBuf, runtime: PathBuf) -> Self {
        Self {
            images: storage.join("images"),
            temporary: storage.join("tmp"),
            markers: storage.join("running"),
            lock: storage.join("lock"),
            log: storage.join("log"),
            storage,
            running: runtime.join("containers"),
            libpod: runtime.join("libpod"),
            session: runtime.join("session"),
            runtime,
        }
    }

    /// Creates the folders, for this user only. Fails if they are there and somebody else's. Below /tmp, another user
    /// could have created the runtime folder first, to read or change what we put there.
    pub fn create(&self) -> Result<()> {
        self.create_storage()?;
        let parent = self.runtime.parent().context("the runtime folder has no parent")?;
        [parent, &self.runtime, &self.session].into_iter().try_for_each(files::create_private)?;
        self.adapt_to_runtime()
    }

    /// The folders that stay, which the lock is in, too.
    pub fn create_storage(&self) -> Result<()> {
        [&self.storage, &self.temporary, &self.markers].into_iter().try_for_each(|path| files::create_private_all(path))
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
            entries(&self.images).for_each(|images| drop(std::fs::remove_dir_all(images.join("libpod"))));
            let marker = self.markers.join("moved");
            files::write(&marker, 0o600, "").context("recording that the embedded engine has moved")?;
        }
        files::write(&record, 0o600, runtime)
    }

    /// A file that is there while the engine with this socket runs, and afterwards if it did not end properly.
    pub fn marker(&self, socket: &Path) -> PathBuf {
        self.markers.join(socket.file_name().unwrap_or_default())
    }

    /// The last lines of the log, indented.
    pub fn end_of_log(&self) -> String {
        ui::tail(&std::fs::read_to_string(&self.log).unwrap_or_default(), 5)
    }

    /// The caches of builds: the compiler's and the packages'.
    pub fn caches(&self) -> Vec<PathBuf> {
        entries(&self.temporary).filter(|path| is_cache(path)).collect()
    }

    /// Podman's copies of archives that it was sent or has sent, and the like: a command that failed or was killed
    /// leaves them behind.
    pub fn leftovers(&self) -> impl Iterator<Item = PathBuf> + use<> {
        entries(&self.temporary).filter(|path| !is_cache(path))
    }
}

fn is_cache(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("buildah-cache"))
}

/// The paths of what is in a folder, if it is there.
pub fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
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
