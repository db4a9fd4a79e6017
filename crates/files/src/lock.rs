//! Locks between processes. The kernel releases them when their holder ends, however that happens.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::OFlags;

use crate::own::open_own;
use ui::Ui;

/// How often a waiting process looks again.
const PAUSE: Duration = Duration::from_millis(20);
/// A shorter wait is not worth a message.
const WORTH_A_NOTE: Duration = Duration::from_millis(500);

/// Released when dropped.
#[derive(Debug)]
pub struct Lock(File);

type TryLock = fn(&File) -> Result<(), TryLockError>;

impl Lock {
    /// Waits until nobody else holds the lock on the file `path`, which is created with its folder. `holder` completes
    /// the message `waiting for another command that …`.
    pub async fn acquire(path: &Path, ui: &Ui, holder: &str) -> Result<Self> {
        wait(path, File::try_lock, || note(ui, holder)).await
    }

    /// The same without a message, for locks that are held for moments only.
    pub async fn acquire_quietly(path: &Path) -> Result<Self> {
        wait(path, File::try_lock, || ()).await
    }

    /// The same, shared with others that share it.
    pub async fn share(path: &Path, ui: &Ui, holder: &str) -> Result<Self> {
        wait(path, File::try_lock_shared, || note(ui, holder)).await
    }

    /// A shared lock for a program without a runtime: it blocks.
    pub fn share_blocking(path: &Path) -> Result<Self> {
        let file = open_own(path)?;
        file.lock_shared().with_context(|| format!("could not lock {}", path.display()))?;
        Ok(Self(file))
    }

    /// Turns a shared lock into an exclusive one, if nobody else shares it now.
    pub fn try_make_exclusive(&self) -> bool {
        self.0.try_lock().is_ok()
    }

    /// The lock, if nobody else holds it now.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>> {
        let file = open_own(path)?;
        Ok(try_lock(&file, path, File::try_lock)?.then_some(Self(file)))
    }

    /// Whether a process holds the lock on `path` now. Creates nothing.
    pub fn is_held(path: &Path) -> bool {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = File::options().read(true).custom_flags(flags).open(path);
        file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
    }

    /// Writes a text into the locked file.
    pub fn write(&self, text: &str) -> Result<()> {
        self.0.set_len(0).and_then(|()| (&self.0).write_all(text.as_bytes())).context("could not write to a lock")
    }

    /// Gives the lock up before the value is dropped.
    pub fn release(&self) {
        // Closing the file does the same.
        let _ = self.0.unlock();
    }
}

async fn wait(path: &Path, lock: TryLock, note: impl FnOnce()) -> Result<Lock> {
    let (file, since, mut note) = (open_own(path)?, Instant::now(), Some(note));
    // Not the call that blocks: Ctrl-C must end the waiting, too.
    while !try_lock(&file, path, lock)? {
        if since.elapsed() > WORTH_A_NOTE {
            note.take().into_iter().for_each(|note| note());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Lock(file))
}

fn note(ui: &Ui, holder: &str) {
    ui.note(format_args!("waiting for another command that {holder}"));
}

fn try_lock(file: &File, path: &Path, lock: TryLock) -> Result<bool> {
    match lock(file) {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("could not lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_is_held_until_it_is_dropped_and_shared_ones_exclude_others() {
        let folder = tempfile::tempdir().unwrap();
        let (path, ui) = (folder.path().join("new/lock"), Ui::new(false));
        assert!(!Lock::is_held(&path) && !path.exists());
        let first = Lock::try_acquire(&path).unwrap().unwrap();
        assert!(Lock::is_held(&path) && Lock::try_acquire(&path).unwrap().is_none());
        first.release();
        let shared = Lock::share(&path, &ui, "tests").await.unwrap();
        let further = Lock::share(&path, &ui, "tests").await.unwrap();
        drop(shared);
        assert!(further.try_make_exclusive() && Lock::is_held(&path));
        let further = {
            drop(further);
            Lock::share_blocking(&path).unwrap()
        };
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        drop(further);
        assert!(Lock::try_acquire(&path).unwrap().is_some());
    }

    #[test]
    fn what_a_link_points_to_is_neither_locked_nor_changed() {
        let folder = tempfile::tempdir().unwrap();
        let [precious, link, own] = ["precious", "link", "own"].map(|name| folder.path().join(name));
        std::fs::write(&precious, "text").unwrap();
        std::os::unix::fs::symlink(&precious, &link).unwrap();
        let _held = Lock::try_acquire(&precious).unwrap().unwrap();
        assert!(Lock::try_acquire(&link).is_err() && Lock::share_blocking(&link).is_err() && !Lock::is_held(&link));
        assert_eq!(std::fs::read(&precious).unwrap(), b"text");
        Lock::try_acquire(&own).unwrap().unwrap().write("mine").unwrap();
        assert_eq!(std::fs::read(&own).unwrap(), b"mine");
    }
}
