//! Files that several processes share, written as a whole, locked, and read with care; and trees of files that others
//! have written, in which no link is followed.

mod lock;
mod own;
mod read;
mod tree;
mod write;

pub use lock::Lock;
pub use own::open_log;
pub use read::{Links, read_text};
pub use tree::{Kind, Tree};
pub use write::{DRAFT, draft, publish, write};
