//! A CML server: how it is reached, how its identity is verified, and how a node is installed on it.
//!
//! There are two ways in. [`api`] uses CML's REST API and needs no root and no restart. [`ssh`] copies files, and a
//! script installs them as root. Both take a [`Bundle`], which is a plain value: this crate knows nothing of engines,
//! and asks nothing of the code that made the files.

pub mod access;
pub mod address;
pub mod api;
pub mod archive_file;
pub mod bundle;
pub mod fingerprint;
pub mod known;
pub mod remote_text;
pub mod report;
pub mod secret;
pub mod settings;
pub mod space;
pub mod ssh;
pub mod version;

pub use access::{Access, Options};
pub use address::Address;
pub use archive_file::ArchiveFile;
pub use bundle::{Bundle, Definition, Kind};
pub use report::Reversal;
pub use settings::Settings;
