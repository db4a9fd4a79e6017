//! Images in the engine.

pub mod base;
pub mod pipe;
pub mod store;
pub mod transports;
