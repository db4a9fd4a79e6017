//! Ctrl-C, for work that must not be left half done.
//!
//! Most commands just end: what they have finished is kept, and the next run continues from there. Code that changes
//! something which nothing else would repair holds an [`Unfinished`] for that time. Then the first Ctrl-C is a request,
//! and a second one ends the program all the same.

use std::sync::Arc;

use tokio::sync::watch;

/// Shared by the code that catches Ctrl-C and the code that has something to complete first.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    /// How often the user asked to stop.
    asked: Arc<watch::Sender<u32>>,
    unfinished: Arc<watch::Sender<usize>>,
}

/// Keeps the first Ctrl-C from ending the program.
#[derive(Debug)]
pub struct Unfinished(Arc<watch::Sender<usize>>);

/// The error of work that ended because the user asked for it. Everything was reported before.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

impl Interrupt {
    /// Records that the user asked to stop.
    pub fn ask(&self) {
        self.asked.send_modify(|times| *times = times.saturating_add(1));
    }

    pub fn is_asked(&self) -> bool {
        *self.asked.borrow() > 0
    }

    /// Whether the user asked twice: then nothing is waited for any more.
    pub fn is_insisted(&self) -> bool {
        *self.asked.borrow() > 1
    }

    /// Waits until the user asks to stop.
    pub async fn asked(&self) {
        self.asked_times(1).await;
    }

    /// Waits until the user asks for the second time.
    pub async fn insisted(&self) {
        self.asked_times(2).await;
    }

    async fn asked_times(&self, wanted: u32) {
        // The sender lives as long as `self`.
        let _ = self.asked.subscribe().wait_for(|times| *times >= wanted).await;
    }

    pub fn hold(&self) -> Unfinished {
        self.unfinished.send_modify(|count| *count += 1);
        Unfinished(Arc::clone(&self.unfinished))
    }

    pub fn has_unfinished(&self) -> bool {
        *self.unfinished.borrow() > 0
    }

    /// Waits until no [`Unfinished`] is left.
    pub async fn nothing_unfinished(&self) {
        let _ = self.unfinished.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_unfinished_once_every_holder_has_let_go() {
        let interrupt = Interrupt::default();
        let (one, two) = (interrupt.hold(), interrupt.clone().hold());
        interrupt.ask();
        interrupt.asked().await;
        assert!(interrupt.is_asked() && interrupt.has_unfinished() && !interrupt.is_insisted());
        interrupt.ask();
        interrupt.insisted().await;
        drop(one);
        assert!(interrupt.has_unfinished());
        drop(two);
        interrupt.nothing_unfinished().await;
        assert!(!interrupt.has_unfinished());
    }
}
