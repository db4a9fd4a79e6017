//! CML by ssh: a login, files copied to one folder, and a script that installs them as root.

pub mod about;
pub mod askpass;
mod command;
mod configuration;
pub mod deliver;
pub mod doctor;
mod exchange;
pub mod folder;
pub mod installed;
mod remote;
pub mod script;
pub mod session;
pub mod socket_folder;
mod sudo;
pub mod transfer;

pub use command::{PORT, user};
pub use deliver::{deliver, status};
pub use folder::SCRIPT;
pub use script::reverse;
pub use session::Ssh;
