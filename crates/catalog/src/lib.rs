//! The data repository, read and checked: nodes, their variants, and the plan of a build.

pub mod context;
pub mod image_name;
pub mod labels;
pub mod manifest;
pub mod names;
pub mod pin;
pub mod place;
pub mod plan;
pub mod planner;
pub mod prebuilt;
mod repository;
pub mod scene;
pub mod source;
mod url;

pub use manifest::{Manifest, Names, SharedNode, Variant};
pub use plan::BuildPlan;
pub use planner::{Overrides, Planner};
pub use repository::Repository;
