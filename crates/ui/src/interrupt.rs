//! Ctrl-C, for work that must not be left half done.
//!
//! Most commands just end: what they have finished is kept, and a repeat goes on from there. Who changes something that
//! nobody else would put right holds an [`Unfinished`] meanwhile; then the first Ctrl-C is a request, and a second one ends
//! the program all the same.

use std::sync::Arc;

use tokio::sync::watch;

/// Shared by whoever hears of Ctrl-C and whoever has something to end first.
#[derive(Clone, Debug)]
pub struct Interrupt {
    asked: Arc<watch::Sender<bool>>,
    unfinished: Arc<watch::Sender<usize>>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Self { asked: Arc::new(watch::Sender::new(false)), unfinished: Arc::new(watch::Sender::new(0)) }
    }
}

/// Keeps the first Ctrl-C from ending the program.
#[derive(Debug)]
pub struct Unfinished(Arc<watch::Sender<usize>>);

/// Ended because the person wanted it so. What there was to say has been said.
#[derive(Debug)]
pub struct Interrupted;

impl Interrupt {
    /// Notes that the person wants an end.
    pub fn ask(&self) {
        self.asked.send_replace(true);
    }

    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits until the person wants an end.
    pub async fn asked(&self) {
        // The sender lives as long as we do.
        let _ = self.asked.subscribe().wait_for(|asked| *asked).await;
    }

    pub fn hold(&self) -> Unfinished {
        self.unfinished.send_modify(|count| *count += 1);
        Unfinished(Arc::clone(&self.unfinished))
    }

    pub fn has_unfinished(&self) -> bool {
        *self.unfinished.borrow() > 0
    }

    /// Waits until nobody holds the program any more.
    pub async fn nothing_unfinished(&self) {
        let _ = self.unfinished.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_unfinished_once_every_holder_has_let_go() {
        let interrupt = Interrupt::default();
        let (one, two) = (interrupt.hold(), interrupt.clone().hold());
        interrupt.ask();
        interrupt.asked().await;
        assert!(interrupt.is_asked() && interrupt.has_unfinished());
        drop(one);
        assert!(interrupt.has_unfinished());
        drop(two);
        interrupt.nothing_unfinished().await;
        assert!(!interrupt.has_unfinished());
    }
}
