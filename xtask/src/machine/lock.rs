//! One command at a time: locks that live as long as the process that holds them, however it ends.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use ui::Ui;

/// How often a waiting command looks again.
const PAUSE: Duration = Duration::from_millis(100);

/// Released when dropped.
pub struct Lock(#[expect(dead_code, reason = "it is held, and released when dropped")] File);

impl Lock {
    /// Waits until nobody else holds the lock on `path`; `whose` says what another command does
    /// that holds it.
    ///
    /// # Errors
    /// If the file can't be made or locked.
    pub async fn acquire(path: &Path, ui: &Ui, whose: &str) -> Result<Self> {
        Self::wait(path, PAUSE, || ui.note(format_args!("waiting for another command that {whose}"))).await
    }

    /// The same without a word, for what takes but moments.
    ///
    /// # Errors
    /// If the file can't be made or locked.
    pub async fn acquire_quietly(path: &Path) -> Result<Self> {
        Self::wait(path, PAUSE / 10, || ()).await
    }

    async fn wait(path: &Path, pause: Duration, tell: impl FnOnce()) -> Result<Self> {
        let folder = path.parent().unwrap_or(path);
        std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        let file = File::create(path).with_context(|| format!("{} can't be written", path.display()))?;
        let mut tell = Some(tell);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                // Not the lock call that blocks: Ctrl-C must end the waiting, too.
                Err(TryLockError::WouldBlock) => {
                    tell.take().into_iter().for_each(|tell| tell());
                    tokio::time::sleep(pause).await;
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("{} can't be locked", path.display()));
                }
            }
        }
    }
}

/// Whether some process holds the lock on `path` now.
pub fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}
