//! The way of a node to its three artefacts, as values: `BuildPlan` → [`built::Built`] →
//! [`inspected::Inspected`] → [`saved::Saved`]. Each step takes the value before it and yields the next.

pub mod built;
pub mod inspected;
pub mod saved;
mod select;
pub mod subject;

pub use built::Built;
pub use inspected::Inspected;
pub use saved::Saved;
pub use subject::Subjects;
