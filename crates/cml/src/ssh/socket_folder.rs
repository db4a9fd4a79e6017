//! The folder of one login's sockets, which only this user can open.
//!
//! It is removed with its owner. A folder whose owner was killed is removed by the next login; whether the owner is
//! alive is known from a lock, which ends with its process.

use std::fs::DirEntry;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result};
use files::Lock;
use tempfile::TempDir;

const PREFIX: &str = "cml-ssh-";
const LOCK: &str = "lock";

pub struct SocketFolder {
    folder: TempDir,
    /// Held as long as the folder is used.
    _lock: Option<Lock>,
}

impl SocketFolder {
    pub fn create() -> Result<Self> {
        Self::create_in(&std::env::temp_dir()).context("cannot create a folder for the ssh connection")
    }

    fn create_in(parent: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        // It is locked before it gets its name: under that name it is never without its owner.
        let draft = folder.path().join("lock.new");
        let lock = Lock::try_acquire(&draft)?;
        std::fs::rename(draft, folder.path().join(LOCK))?;
        remove_abandoned(parent, folder.path().metadata()?.uid());
        Ok(Self { folder, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders of this user's runs that were killed.
fn remove_abandoned(parent: &Path, user: u32) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_named_so = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // The metadata of the entry itself, not of what a link points to.
        let is_ours = entry.metadata().is_ok_and(|data| data.is_dir() && data.uid() == user);
        let lock = entry.path().join(LOCK);
        if is_named_so && is_ours && lock.exists() && !Lock::is_held(&lock) {
            remove(&entry.path());
        }
    }
}

/// Removes sockets and the lock, and the folder if nothing else is in it.
fn remove(folder: &Path) {
    let is_known = |entry: &DirEntry| entry.file_name() == LOCK || entry.file_type().is_ok_and(|kind| kind.is_socket());
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().filter(is_known) {
        let _ = std::fs::remove_file(entry.path());
    }
    let _ = std::fs::remove_dir(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_killed_runs_are_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let folder = |name: &str, with: &[&str]| {
            let path = parent.path().join(name);
            std::fs::create_dir(&path).unwrap();
            for file in with {
                std::fs::write(path.join(file), "").unwrap();
            }
            path
        };
        let dead = folder("cml-ssh-dead", &[LOCK]);
        drop(std::os::unix::net::UnixListener::bind(dead.join("p")).unwrap());
        let others = [folder("cml-ssh-other", &[]), folder("cml-ssh-more", &[LOCK, "notes"]), folder("cml", &[LOCK])];
        let living = SocketFolder::create_in(parent.path()).unwrap();
        let next = SocketFolder::create_in(parent.path()).unwrap();
        assert!(!dead.exists() && living.path().join(LOCK).exists());
        assert!(others.iter().all(|path| path.exists()) && others[1].join("notes").exists());
        let gone = next.path().to_owned();
        drop(next);
        assert!(!gone.exists());
    }
}
