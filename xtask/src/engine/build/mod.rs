//! Builds images, through BuildKit or through Buildah, whichever the engine has.

pub mod checks;
mod dockerfile;
mod image;
mod progress;
mod request;

pub use image::Job;
