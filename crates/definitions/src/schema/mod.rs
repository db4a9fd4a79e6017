//! The typed model of CML's node definition and image definition. [docs/cml.md 3] [docs/cml.md 4]
//!
//! It accepts what CML's schema accepts and refuses what that refuses, for every domain driver. Reading collects
//! findings instead of stopping at the first, so any field of a model may be missing: it was absent, or it was wrong
//! and was reported.

mod at;
pub mod image;
pub mod node;
mod read;
mod reader;
pub mod rules;
mod scalar;
#[cfg(test)]
pub(crate) mod tests;

pub use at::At;
pub use image::ImageDefinition;
pub use node::NodeDefinition;
pub use read::{Definition, read};
