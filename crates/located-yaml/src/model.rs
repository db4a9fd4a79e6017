//! A document: values and their places.

use std::fmt;
use std::sync::Arc;

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

#[derive(Debug)]
pub struct Node {
    pub at: Mark,
    pub value: Value,
    pub(crate) special: Special,
}

/// The value that Python would have.
#[derive(Debug)]
pub enum Value {
    Null,
    Bool(bool),
    /// Larger numbers are the largest or smallest of this type: no range of a definition reaches that far.
    Int(i64),
    Float(f64),
    Text(Text),
    /// `!!binary`, which pydantic accepts as text where it is UTF-8.
    Bytes(Vec<u8>),
    /// A date or a time, as it is written. No field accepts one.
    Date(String),
    /// An element of `!!omap` or `!!pairs`, which no field accepts.
    Pair,
    List(Vec<Arc<Node>>),
    Map(Map),
}

/// A string. Of a literal block (`|`), the place of each line is known.
#[derive(Debug, Default)]
pub struct Text {
    pub text: String,
    pub(crate) block: Option<Block>,
}

/// The place of a literal block's content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub first_line: usize,
    pub indent: usize,
}

impl Text {
    /// The place in the file of a place in the text if it is known, otherwise the place of the whole.
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
pub struct Map(pub(crate) Vec<Entry>);

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

/// A plain `<<` or `=`, which have a meaning as keys and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    No,
    Merge,
    Equals,
}

impl Node {
    pub fn of(at: Mark, value: Value) -> Arc<Self> {
        Arc::new(Self { at, value, special: Special::No })
    }

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

    pub fn get(&self, key: &str) -> Option<&Arc<Node>> {
        Some(&self.map()?.get(key)?.value)
    }

    /// A short description of the value, for messages.
    pub fn describe(&self) -> String {
        match &self.value {
            Value::Null => "null (no value)".to_owned(),
            Value::Bool(value) => format!("the boolean {value}"),
            Value::Int(value) => format!("the number {value}"),
            Value::Float(value) => format!("the number {value:?}"),
            Value::Text(text) => quoted(&text.text),
            Value::Bytes(_) => "binary data".to_owned(),
            Value::Date(_) => "a date".to_owned(),
            Value::Pair => "a pair".to_owned(),
            Value::List(list) => format!("a list of {}", list.len()),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// A text between backticks, on one line and short enough for a message.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    short = short.replace("\\'", "'").replace("\\\"", "\"");
    if text.chars().nth(LONGEST).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

/// A key that is twice in one mapping. Python silently takes the second.
#[derive(Debug, PartialEq, Eq)]
pub struct Duplicate {
    pub key: String,
    pub at: Mark,
    pub first: Mark,
}

#[derive(Debug)]
pub struct Document {
    pub root: Arc<Node>,
    pub duplicates: Vec<Duplicate>,
}
