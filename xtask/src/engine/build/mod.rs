//! Builds images, through BuildKit or through Buildah, whichever the engine has.

pub mod checks;
mod client;
mod dockerfile;
mod image;
mod progress;
mod proxy;
mod small_build;

pub use image::{Job, build};
