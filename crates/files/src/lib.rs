//! Files that several processes share, written as a whole, locked, and read with care; and trees of files that others
//! have written, in which no link is followed. Folders that
//! users do not share.

mod lock;
mod own;
mod private;
mod read;
mod tree;
mod write;

pub use lock::Lock;
pub use own::open_log;
pub use private::{create_private, create_private_all};
pub use read::{Links, read_text};
pub use tree::{Kind, Tree};
pub use write::{DRAFT, draft, publish, write};
