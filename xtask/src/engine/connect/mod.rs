//! Where an engine may answer, and which one serves.

pub mod choice;
pub mod endpoint;
pub mod find;
pub mod ping;
pub mod podman;
