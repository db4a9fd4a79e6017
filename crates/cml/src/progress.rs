//! How far a transfer has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;

use crate::access::Access;

/// Counts the bytes that the connection has taken from us.
#[derive(Clone, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The same is sent once more.
    pub fn begin_anew(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Shows how far a transfer has come, while it goes on.
pub async fn with_bar<T>(
    access: &Access,
    label: &str,
    progress: &Progress,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let bar = access.ui.byte_counter(label);
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            done = &mut work => break done,
            () = tokio::time::sleep(Duration::from_millis(200)) => bar.set_position(progress.bytes()),
        }
    };
    bar.finish_and_clear();
    done
}
