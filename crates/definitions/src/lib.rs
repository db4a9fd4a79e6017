//! CML's definitions of a node: rendered from templates, modelled, and judged.
//!
//! Knows nothing of Docker or of a server. Templates are Tera; Go template actions that CML's
//! docker-shim fills in stand in `{% raw %}` blocks and come through as they are.

mod check;
pub mod container;
pub mod finding;
pub mod lint;
mod origin;
mod render;
pub mod schema;

pub use located_yaml as yaml;
pub use render::{Definitions, Facts, Placed, render, unknown_image_id};
