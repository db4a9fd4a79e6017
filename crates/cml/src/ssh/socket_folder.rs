//! The folder of one login's sockets, which only this user can open.
//!
//! It is removed with its owner. A folder whose owner was killed is removed by the next login; whether the owner is
//! alive is known from a lock, which ends with its process.

use std::fs::{DirEntry, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use files::Lock;
use tempfile::TempDir;

const PREFIX: &str = "cml-ssh-";
const LOCK: &str = "lock";

/// How long the path of the folder around it may be. The path of a socket has 107 bytes at most (103 on macOS), and
/// ssh first creates the control socket as `cml-ssh-123456/c.1234567890123456`.
const LONGEST_PARENT: usize = 103 - 34;

pub struct SocketFolder {
    folder: TempDir,
    /// Held as long as the folder is used.
    _lock: Option<Lock>,
}

impl SocketFolder {
    pub fn create() -> Result<Self> {
        let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self::create_in_first([Some(std::env::temp_dir()), session, Some(PathBuf::from("/tmp"))].into_iter().flatten())
    }

    fn create_in_first(parents: impl Iterator<Item = PathBuf>) -> Result<Self> {
        let mut failed = Vec::new();
        for parent in parents {
            match check(&parent).and_then(|()| Self::create_in(&parent)) {
                Ok(folder) => return Ok(folder),
                Err(error) => failed.push(format!("{}: {error:#}", parent.display())),
            }
        }
        bail!(
            "there is no folder for the sockets of the ssh connection; set TMPDIR to one that you can write to, and \
             whose path is short and plain\n  {}",
            failed.join("\n  ")
        )
    }

    fn create_in(parent: &Path) -> Result<Self> {
        // By the mode that it is created with: there is no moment at which others can enter.
        let mut builder = tempfile::Builder::new();
        let folder = builder.prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(parent)?;
        // It is locked before it gets its name: under that name it is never without its owner.
        let draft = folder.path().join("lock.new");
        let lock = Lock::try_acquire(&draft)?;
        std::fs::rename(draft, folder.path().join(LOCK))?;
        remove_abandoned(parent, folder.path().metadata()?.uid());
        Ok(Self { folder, _lock: lock })
    }

    /// For ssh's `ControlPath`.
    pub fn control_path(&self) -> PathBuf {
        self.path().join("c")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Fails if no socket of ssh can be below this folder, or if others could replace what is in it.
fn check(parent: &Path) -> Result<()> {
    let text = parent.to_str().unwrap_or_default();
    ensure!(parent.is_absolute(), "its path is not absolute");
    ensure!(text.len() <= LONGEST_PARENT, "its path is longer than {LONGEST_PARENT} bytes");
    // The others mean something in `ControlPath`.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@=".contains(c);
    ensure!(text.chars().all(is_plain), "its path has characters that ssh does not take literally");
    let found = parent.metadata().context("it cannot be read")?;
    let is_safe_owner = found.uid() == 0 || found.uid() == rustix::process::geteuid().as_raw();
    let is_shared = found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0;
    ensure!(found.is_dir() && is_safe_owner && !is_shared, "others could replace what is in it");
    Ok(())
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
        let parent = tempfile::tempdir_in("/tmp").unwrap();
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

    #[test]
    fn a_folder_in_which_ssh_could_have_no_socket_is_passed_over() {
        let outer = tempfile::tempdir_in("/tmp").unwrap();
        let good = outer.path().join("good");
        let path = |name: &str| outer.path().join(name);
        let shared = path("shared");
        let odd = ["a b", "a'b", "a\"b", "a%b", "a\\b", "a$b", "ü"].map(path);
        let long = path(&"n".repeat(LONGEST_PARENT));
        for folder in odd.iter().chain([&good, &long, &shared]) {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
        let bad: Vec<PathBuf> = odd.into_iter().chain([long, shared, path("absent"), "relative".into()]).collect();
        for bad in &bad {
            let found = SocketFolder::create_in_first([bad.clone(), good.clone()].into_iter()).unwrap();
            assert!(found.path().starts_with(&good), "{}", bad.display());
            assert_eq!(found.path().metadata().unwrap().mode() & 0o777, 0o700);
        }
        let failed = SocketFolder::create_in_first(bad.into_iter()).err().unwrap().to_string();
        assert!(
            failed.contains("set TMPDIR to one") && failed.contains("relative: its path is not absolute"),
            "{failed}"
        );
    }

    #[test]
    fn the_longest_path_still_has_room_for_a_socket_of_ssh() {
        let outer = tempfile::tempdir_in("/tmp").unwrap();
        let length = LONGEST_PARENT - outer.path().as_os_str().len() - 1;
        let parent = outer.path().join("n".repeat(length));
        std::fs::create_dir(&parent).unwrap();
        let folder = SocketFolder::create_in_first([parent].into_iter()).unwrap();
        let draft = folder.path().join("c.1234567890123456");
        assert!(draft.as_os_str().len() <= 103);
        drop(std::os::unix::net::UnixListener::bind(draft).unwrap());
    }
}
