//! Images in the engine.

pub mod base;
pub mod image;
pub mod pipe;
pub mod store;
