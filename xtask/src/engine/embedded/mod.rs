//! The embedded engine: Podman's API service as a child of this program, for as long as a command takes, with a socket
//! and a storage of its own. So a machine needs no daemon, and the user's own Podman is not touched.

pub mod guard;
pub mod paths;
pub mod probe;
mod processes;
mod recovery;
pub mod service;
mod settings;
pub mod storage;
