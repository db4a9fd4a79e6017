//! Walks through a document and collects errors, each with its place and path.

use std::fmt::Write;
use std::sync::Arc;

use super::rules;
use crate::finding::{Finding, MOST_FINDINGS, Rule};
use crate::yaml::{Map, Mark, Node, Value, quoted};

pub(crate) struct Reader<'f> {
    findings: &'f mut Vec<Finding>,
    path: String,
}

impl<'f> Reader<'f> {
    pub fn new(findings: &'f mut Vec<Finding>) -> Self {
        Self { findings, path: String::new() }
    }

    pub fn report(&mut self, rule: &'static Rule, at: Mark, message: impl Into<String>, help: Option<String>) {
        if !self.is_full() {
            self.findings.push(Finding { rule, at, path: self.path.clone(), message: message.into(), help });
        }
    }

    fn is_full(&self) -> bool {
        self.findings.len() >= MOST_FINDINGS
    }

    /// Reports a value of the wrong type. Always returns `None`, for the caller to pass on.
    pub fn wrong_type<T>(&mut self, node: &Node, expected: &str, help: Option<String>) -> Option<T> {
        self.report(&rules::TYPE, node.at, format!("expected {expected}, found {}", node.describe()), help);
        None
    }

    pub fn object<T>(&mut self, node: &Node, read: impl FnOnce(&mut Fields<'_, 'f>) -> T) -> Option<T> {
        let Some(map) = node.map() else {
            return self.wrong_type(node, "a mapping", None);
        };
        let mut fields = Fields { reader: self, map, at: node.at, known: Vec::new() };
        let object = read(&mut fields);
        fields.report_unknown();
        Some(object)
    }

    /// Reads something whose path is this one and `step`.
    pub fn inside<T>(&mut self, step: impl std::fmt::Display, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        let _ = write!(self.path, "{step}");
        let value = read(self);
        self.path.truncate(length);
        value
    }

    fn inside_key<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let dot = if self.path.is_empty() { "" } else { "." };
        self.inside(format_args!("{dot}{key}"), read)
    }
}

/// The keys of one mapping. Those that have been read are known; all others are reported in the end.
pub(crate) struct Fields<'r, 'f> {
    pub reader: &'r mut Reader<'f>,
    map: &'r Map,
    pub at: Mark,
    known: Vec<&'static str>,
}

impl Fields<'_, '_> {
    pub fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Reader<'_>, &Arc<Node>) -> Option<T>,
    ) -> Option<T> {
        if self.map.get(key).is_none() {
            self.report(&rules::REQUIRED, key, format!("the key `{key}` is missing"));
        }
        self.optional(key, read)
    }

    pub fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Reader<'_>, &Arc<Node>) -> Option<T>,
    ) -> Option<T> {
        self.known.push(key);
        let value = &self.map.get(key)?.value;
        self.reader.inside_key(key, |reader| read(reader, value))
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.map.get(key).map(|entry| entry.value.as_ref())
    }

    /// Whether a key has a value; null counts as none.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some_and(|node| !matches!(node.value, Value::Null))
    }

    /// Reports a key that is missing, or does not agree with others.
    pub fn report(&mut self, rule: &'static Rule, key: &str, message: impl Into<String>) {
        let at = self.map.get(key).map_or(self.at, |entry| entry.value.at);
        self.reader.inside_key(key, |reader| reader.report(rule, at, message, None));
    }

    fn report_unknown(self) {
        for entry in self.map.entries() {
            let Some(key) = entry.key.text() else {
                let message = format!("expected a text as key, found {}", entry.key.describe());
                self.reader.report(&rules::UNKNOWN_KEY, entry.key.at, message, Some("quote it".to_owned()));
                continue;
            };
            if self.known.contains(&key) {
                continue;
            }
            if self.reader.is_full() {
                return;
            }
            let near = match text::nearest(key, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys: {}", self.known.join(", ")),
            };
            let message = format!("unknown key {}", quoted(key));
            self.reader.inside_key(key, |reader| reader.report(&rules::UNKNOWN_KEY, entry.key.at, message, Some(near)));
        }
    }
}

/// A list of at least `least` elements (0 or 1).
pub(super) fn list<T>(
    least: usize,
    read: impl Fn(&mut Reader<'_>, &Arc<Node>) -> Option<T>,
) -> impl Fn(&mut Reader<'_>, &Arc<Node>) -> Option<Vec<T>> {
    move |reader, node| {
        let Some(items) = node.list() else {
            return reader.wrong_type(node, "a list", None);
        };
        if items.len() < least {
            reader.report(&rules::LENGTH, node.at, "expected at least one element, found an empty list", None);
        }
        let read_one = |(index, item)| reader.inside(format_args!("[{index}]"), |reader| read(reader, item));
        // All elements are checked; those that are wrong are left out.
        Some(items.iter().enumerate().filter_map(read_one).collect())
    }
}

/// A mapping of the schema: a struct whose fields have the names of its keys, and a function that reads it. Each field
/// is `None` if the key is missing, or if its value is wrong and was reported. A method can check what depends on
/// several keys.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$attribute:meta])* $key:ident: $type:ty = $presence:ident $read:expr,)*
    } $($check:ident)?) => {
        $(#[$doc])*
        #[derive(Debug, Default, serde::Serialize)]
        pub struct $name {
            $($(#[$attribute])* pub $key: Option<$type>,)*
        }

        impl $name {
            pub(super) fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
                reader.object(node, |fields| {
                    let object = Self { $($key: fields.$presence(stringify!($key), $read),)* };
                    $(object.$check(fields);)?
                    object
                })
            }
        }
    };
}
pub(super) use object;
