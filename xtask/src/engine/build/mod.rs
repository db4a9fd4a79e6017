//! Builds images, through BuildKit or through Buildah, whichever the engine has.

pub mod checks;
mod dockerfile;
mod host_files;
mod image;
mod progress;
mod request;

pub use image::Job;
