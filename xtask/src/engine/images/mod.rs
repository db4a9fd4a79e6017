//! Images in the engine.

pub mod base;
pub mod load;
pub mod pipe;
pub mod prebuilt;
pub mod said;
pub mod store;
pub mod transports;
