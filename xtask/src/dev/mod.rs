//! Tools of the project's developers: continuous integration and benchmarks.

pub mod bench;
pub mod ci;
mod guest;
