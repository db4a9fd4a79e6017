//! A CML server: how it is reached, how its identity is verified, and how a node is installed on it.
//!
//! There are two ways in. [`api`] uses CML's REST API and needs no root and no restart. [`ssh`] copies files, and a
//! script installs them as root. Both take a [`Bundle`], which is a plain value: this crate knows nothing of engines,
//! and asks nothing of the code that made the files.

mod access;
mod address;
pub mod api;
mod archive_file;
mod bundle;
mod forms;
pub mod known;
mod remote_text;
mod report;
mod settings;
mod space;
pub mod ssh;
mod version;
mod virlrc;

pub use access::{Access, Options};
pub use address::{Address, Scheme, WrongAddress};
pub use archive_file::ArchiveFile;
pub use bundle::{Bundle, Definition, Kind, Standing};
pub use forms::Forms;
pub use known::{Fingerprint, InstallRecord};
pub use report::{InstallState, NodeReport, Reversal};
pub use settings::{SECRETS, Secret, Settings};
