//! How far a transfer has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::access::Access;

/// Counts the bytes that the connection has accepted. Clones share the counter.
#[derive(Clone, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// For a transfer that starts from the beginning again.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    pub fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Shows `progress` on the terminal until `work` ends; returns what `work` does.
pub async fn with_bar<T>(access: &Access, label: &str, progress: &Progress, work: impl Future<Output = T>) -> T {
    let bar = access.ui.byte_counter(label);
    let mut work = std::pin::pin!(work);
    let result = loop {
        tokio::select! {
            result = &mut work => break result,
            () = tokio::time::sleep(Duration::from_millis(200)) => bar.set_position(progress.bytes()),
        }
    };
    bar.finish_and_clear();
    result
}
