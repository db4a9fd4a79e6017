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
        let folder = path.parent().unwrap_or(path);
        std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        let file = File::create(path).with_context(|| format!("{} can't be written", path.display()))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                // Not the lock call that blocks: Ctrl-C must end the waiting, too.
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut told, true) {
                        ui.note(format_args!("waiting for another command that {whose}"));
                    }
                    tokio::time::sleep(PAUSE).await;
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
