//! The container engine, by way of its API. `handle.rs` holds the [`Engine`] that all other files work with.

pub mod abilities;
pub mod build;
pub mod command_line;
pub mod connect;
pub mod containers;
pub mod embedded;
pub mod errors;
pub mod handle;
pub mod images;
pub mod quirks;

pub use connect::unreachable::Unreachable;
pub use handle::Engine;
pub use images::store::Image;
