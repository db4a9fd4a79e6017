//! CML's definitions of a node: model, rendering from templates, and lint.
//!
//! Knows nothing of Docker or of a server. Templates are Tera; Go template actions, which CML's docker-shim fills in,
//! are in `{% raw %}` blocks and reach the output unchanged.

mod boot;
mod check;
pub mod compare;
mod config;
pub mod container;
mod document;
mod file_names;
pub mod finding;
pub mod host_access;
pub mod id;
pub mod lint;
mod origin;
pub mod python_regex;
mod render;
pub mod schema;
pub mod shim_files;
#[cfg(test)]
mod spelling_tests;
mod template;

pub use document::Document;
pub use located_yaml as yaml;
pub use render::{Definitions, Placed, render, unknown_image_id};
pub use template::{Facts, SharedNode};
