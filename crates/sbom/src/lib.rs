//! What an image consists of, as a software bill of materials (SBOM) in SPDX's format.
//!
//! Everything is read from the archive: its configuration, and a few files of its layers. So the same archive gives the
//! same list, to the byte. The files are those of a stranger's image: they are bounded, and made printable.

mod dpkg;
mod image;
mod licence;
mod origins;
mod spdx;

pub use image::{ORIGINS, wanted};
pub use origins::{Base, Origins, Source};
pub use spdx::{Saved, document};

use text::printable;

/// The longest value that is taken from an image.
const LONGEST: usize = 1000;

/// A value of an image's file: on one line, without control characters, and of a bounded length.
fn clean(value: &str) -> String {
    let clipped: String = value.trim().chars().take(LONGEST).collect();
    printable(&clipped).replace(['\n', '\t'], " ")
}
