//! CML by ssh: a login, files copied into one folder, and a script that installs them as root.

pub mod askpass;
pub mod deliver;
pub mod doctor;
pub mod session;
pub mod socket_folder;
pub mod transfer;

pub use deliver::{Options, SCRIPT, deliver, reverse, status};
pub use session::{PORT, Ssh, quote, user};
