//! Files that several processes share: written as a whole, and locked.

mod lock;
mod write;

pub use lock::Lock;
pub use write::{DRAFT, draft, publish, write};
