//! Containers and volumes: what running a node needs of the engine's API.

pub mod errors;
pub mod exec;
pub mod files;
pub mod lifecycle;
pub mod listing;
