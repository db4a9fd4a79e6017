//! Why a text cannot be read, and the limits of what is read.

use crate::model::Mark;

/// The largest file that is read, in bytes. CML's web server takes no larger body. [docs/cml.md 4]
pub const LARGEST: usize = 20_000_000;
/// The deepest nesting. A definition has seven levels.
pub(crate) const DEEPEST: usize = 64;
/// The most values in one file. The largest definitions have some thousand.
pub const MOST_VALUES: usize = 50_000;
/// The most keys that `<<` may bring into one file.
pub(crate) const MOST_MERGED: usize = 100_000;

#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub at: Mark,
    pub message: String,
    pub kind: ProblemKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// CML cannot read it either.
    NotYaml,
    /// It is more than this program reads, and more than any definition needs.
    TooMuch,
}

impl Problem {
    pub(crate) fn new(at: Mark, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), kind: ProblemKind::NotYaml }
    }

    pub(crate) fn too_much(at: Mark, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), kind: ProblemKind::TooMuch }
    }
}
