//! Containers and volumes: what running a node needs of the engine's API.

pub mod exec;
pub mod lifecycle;
pub mod listing;
