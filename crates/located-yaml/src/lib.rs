//! YAML as CML's controller reads it, with the place of every value.
//!
//! The controller is Python: PyYAML's `SafeLoader`, thus YAML 1.1, where `yes` is a boolean and `010` is eight.
//! [docs/cml.md 4] No crate does the same: those that are kept up read YAML 1.2, the safe port of libyaml
//! panics on valid input, and libyaml itself tells tabs and colons apart in another way than the loader that Python uses by
//! default. So the grammar is written out here, after the behaviour of PyYAML (<https://pyyaml.org>), which the tests pin down.
//!
//! What comes in is hostile: size, depth, number of values and merged keys are bounded, aliases are shared and never
//! copied, and nothing here panics.

mod compose;
mod decode;
mod grammar;
mod scalar;
mod scan;

pub use scalar::saturated;

use std::fmt;
use std::sync::Arc;

/// The largest file that is read, in bytes. CML's web server takes no larger body. [docs/cml.md 4]
pub const LARGEST: usize = 20_000_000;
/// The deepest nesting. A definition has seven levels.
const DEEPEST: usize = 64;
/// The most values in one file. The largest definitions have some thousand.
const MOST_VALUES: usize = 50_000;
/// The most keys that `<<` may bring into one file.
const MOST_MERGED: usize = 100_000;

/// A place in a text: line and column, from 1, counted in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub line: usize,
    pub column: usize,
}

impl Mark {
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    pub at: Mark,
    pub value: Value,
    special: compose::Special,
}

/// What Python would have in hand.
#[derive(Debug)]
pub enum Value {
    Null,
    Bool(bool),
    /// Larger numbers are the largest or smallest of this type: no range of a definition reaches that far.
    Int(i64),
    Float(f64),
    Text(Text),
    /// `!!binary`, which pydantic takes for text where it is UTF-8.
    Bytes(Vec<u8>),
    /// A date or a time, as it is written. No field accepts one.
    Date(String),
    /// An element of `!!omap` or `!!pairs`, which no field takes.
    Pair,
    List(Vec<Arc<Node>>),
    Map(Map),
}

/// A string. Of a literal block (`|`), the place of each line is known.
#[derive(Debug, Default)]
pub struct Text {
    pub text: String,
    block: Option<Block>,
}

/// Where a literal block's content stands.
#[derive(Clone, Copy, Debug)]
struct Block {
    first_line: usize,
    indent: usize,
}

impl Text {
    /// The place in the file of a place in the text, where that can be told; else the place of the whole.
    fn place(&self, whole: Mark, inside: Mark) -> Mark {
        match self.block {
            Some(block) => Mark { line: block.first_line + inside.line - 1, column: block.indent + inside.column },
            None => whole,
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { text, block: None }
    }
}

/// A mapping, in the order of the file, with what `<<` merges in before its own keys.
#[derive(Debug, Default)]
pub struct Map(Vec<Entry>);

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Arc<Node>,
    pub value: Arc<Node>,
}

impl Map {
    /// The entry of that key; of several the last, which is the one that Python keeps.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().rev().find(|entry| entry.key.text() == Some(key))
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }
}

impl FromIterator<(Arc<Node>, Arc<Node>)> for Map {
    fn from_iter<I: IntoIterator<Item = (Arc<Node>, Arc<Node>)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| Entry { key, value }).collect())
    }
}

impl Node {
    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(&text.text),
            _ => None,
        }
    }

    /// The place in the file of a place in this text.
    pub fn place_inside(&self, inside: Mark) -> Mark {
        match &self.value {
            Value::Text(text) => text.place(self.at, inside),
            _ => self.at,
        }
    }

    pub fn map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Arc<Node>]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Arc<Node>> {
        Some(&self.map()?.get(key)?.value)
    }

    /// What stands there, in few words.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing (null)".to_owned(),
            Value::Bool(value) => format!("the boolean {value}"),
            Value::Int(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value}"),
            Value::Text(text) => quoted(&text.text),
            Value::Bytes(_) => "binary data".to_owned(),
            Value::Date(_) => "a date".to_owned(),
            Value::Pair => "a pair".to_owned(),
            Value::List(list) => format!("a list of {}", list.len()),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// A text between backticks, on one line and not longer than a message can bear.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    short = short.replace("\\'", "'").replace("\\\"", "\"");
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

/// Why a text can't be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub at: Mark,
    pub message: String,
    pub kind: ProblemKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// CML could not read it either.
    NotYaml,
    /// More than this program reads, and than any definition needs.
    TooMuch,
}

impl Problem {
    fn new(at: Mark, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), kind: ProblemKind::NotYaml }
    }

    fn too_much(at: Mark, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), kind: ProblemKind::TooMuch }
    }
}

/// A key that stands twice in one mapping. Python would take the second without a word.
#[derive(Debug, PartialEq, Eq)]
pub struct Duplicate {
    pub key: String,
    pub at: Mark,
    pub first: Mark,
}

/// A document that could be read.
#[derive(Debug)]
pub struct Document {
    pub root: Arc<Node>,
    pub duplicates: Vec<Duplicate>,
}

/// Reads a file that holds one document.
///
/// # Errors
/// With the place where reading ended.
pub fn read(bytes: &[u8]) -> Result<Document, Problem> {
    if bytes.len() > LARGEST {
        let said = format!("the file has {} bytes; CML takes no more than {LARGEST}", bytes.len());
        return Err(Problem::too_much(Mark::START, said));
    }
    grammar::document(decode::characters(bytes)?)
}

#[cfg(test)]
mod tests;
