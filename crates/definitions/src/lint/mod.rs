//! What is wrong with definitions: what CML itself refuses (`schema`), and what experience teaches.
//!
//! Each document is read by itself; then all that are judged together are compared with each other and with what is
//! known around them ([`Surroundings`]), which comes in as plain values.

mod container;
mod image;
mod judge;
mod node;
pub mod page;
mod rules;
mod subject;
#[cfg(test)]
mod tests;

pub use image::same_tag;
pub use judge::judge;
pub use rules::{rule, rules};
pub use subject::{Archive, ImageFile, Subject, Surroundings};
