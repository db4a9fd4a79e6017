//! YAML as CML's controller reads it, with the place of every value.
//!
//! The controller is Python: PyYAML's `SafeLoader`, thus YAML 1.1, where `yes` is a boolean and `010` is eight.
//! [docs/cml.md 4] No crate does the same: those that are kept up read YAML 1.2, the safe port of libyaml panics on
//! valid input, and libyaml itself tells tabs and colons apart in another way than the loader that Python uses by
//! default. So the grammar is written out here, after the behaviour of PyYAML (<https://pyyaml.org>), which the tests
//! pin down.
//!
//! What comes in is hostile: size, depth, number of values and merged keys are bounded, aliases are shared and never
//! copied, and nothing here panics.

mod compose;
mod decode;
mod grammar;
mod model;
mod problem;
mod scalar;
mod scan;

pub use model::{Document, Duplicate, Entry, Map, Mark, Node, Text, Value, quoted};
pub use problem::{LARGEST, MOST_VALUES, Problem, ProblemKind};
pub use scalar::saturated;

/// Reads a file with one document. A problem has the place where reading ended.
pub fn read(bytes: &[u8]) -> Result<Document, Problem> {
    if bytes.len() > LARGEST {
        let message = format!("expected at most {LARGEST} bytes, found {}", bytes.len());
        return Err(Problem::too_much(Mark::START, message));
    }
    grammar::document(decode::characters(bytes)?)
}

#[cfg(test)]
mod tests;
