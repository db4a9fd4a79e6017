//! Files that several processes share: written as a whole, locked, and read with care.

mod lock;
mod read;
mod write;

pub use lock::Lock;
pub use read::{Links, read_text};
pub use write::{DRAFT, draft, publish, write};
