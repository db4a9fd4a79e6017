//! The folder of one login's sockets, which only this user can look into.
//!
//! It goes with its owner. One whose owner was killed stays behind; the next login sweeps it away. Whether an owner lives is told by a
//! lock, which ends with him however he ends.

use std::fs::{DirEntry, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

const PREFIX: &str = "cml-ssh-";
const LOCK: &str = "lock";

/// Removed when dropped.
pub struct SocketFolder {
    folder: TempDir,
    /// Held as long as the folder is used.
    _lock: File,
}

impl SocketFolder {
    /// # Errors
    /// If there is no place for temporary files.
    pub fn make() -> Result<Self> {
        Self::make_in(&std::env::temp_dir()).context("a folder for the connection can't be made")
    }

    fn make_in(place: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(place)?;
        // It gets its name when it is locked already: under its name it is never without an owner while that lives.
        let draft = folder.path().join("lock.new");
        let lock = File::create_new(&draft)?;
        lock.lock()?;
        std::fs::rename(draft, folder.path().join(LOCK))?;
        sweep(place, folder.path().metadata()?.uid());
        Ok(Self { folder, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes what killed runs of this user have left.
fn sweep(place: &Path, user: u32) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let named_so = entry.file_name().to_string_lossy().starts_with(PREFIX);
        // The entry's own data, not that of what a link points to.
        let ours = entry.metadata().is_ok_and(|data| data.is_dir() && data.uid() == user);
        if named_so && ours && is_left(&entry.path()) {
            remove(&entry.path());
        }
    }
}

fn is_left(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
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
    fn what_a_dead_owner_left_is_swept_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let folder = |name: &str, with: &[&str]| {
            let path = place.path().join(name);
            std::fs::create_dir(&path).unwrap();
            for file in with {
                std::fs::write(path.join(file), "").unwrap();
            }
            path
        };
        let dead = folder("cml-ssh-dead", &[LOCK]);
        drop(std::os::unix::net::UnixListener::bind(dead.join("p")).unwrap());
        let others = [folder("cml-ssh-other", &[]), folder("cml-ssh-more", &[LOCK, "notes"]), folder("cml", &[LOCK])];
        let living = SocketFolder::make_in(place.path()).unwrap();
        let next = SocketFolder::make_in(place.path()).unwrap();
        assert!(!dead.exists() && living.path().join(LOCK).exists());
        assert!(others.iter().all(|path| path.exists()) && others[1].join("notes").exists());
        let gone = next.path().to_owned();
        drop(next);
        assert!(!gone.exists());
    }
}
