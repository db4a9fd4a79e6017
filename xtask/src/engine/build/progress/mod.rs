//! The steps of a build as they start, what they print, how they end; as BuildKit or Buildah reports them.

mod buildah;
mod buildkit;
pub mod display;
pub mod log;
