//! Regular expressions as Python's `re` reads and matches them, because CML's controller is a Python program.
//! [docs/cml.md 4] [Python: Lib/re/_parser.py]
//!
//! Patterns are those of Python 3.11 and newer, for texts. They may be hostile, and so may what they are compared with:
//! a comparison ends after a bounded number of steps, and a pattern is not expanded.

mod matching;
mod parse;
mod program;

use program::Program;

pub use program::Unknown;

/// A pattern that Python accepts.
#[derive(Clone, Debug)]
pub struct Regex {
    program: Result<Program, &'static str>,
}

impl Regex {
    /// # Errors
    /// If Python refuses the pattern: why, mostly in its own words.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let parsed = parse::parse(pattern)?;
        Ok(Self { program: if parsed.is_known { Ok(Program::of(&parsed)) } else { Err(NAMED) } })
    }

    /// Whether it matches anywhere in the text, as `re.search` does.
    ///
    /// # Errors
    /// If that is unknown: it would take too many steps, or needs what only Python has.
    pub fn is_match(&self, text: &str) -> Result<bool, Unknown> {
        let program = self.program.as_ref().map_err(|why| Unknown(why))?;
        matching::search(program, text)
    }
}

const NAMED: &str = "it names a character (\\N{…}), and only Python has the names; write the character itself";

#[cfg(test)]
mod tests;
