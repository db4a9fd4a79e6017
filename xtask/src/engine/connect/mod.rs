//! Where an engine may answer, and which one is used.

pub mod endpoint;
pub mod find;
pub mod ping;
pub mod unreachable;
