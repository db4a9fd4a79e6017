//! Places in a manifest.

use definitions::yaml::{Entry, Mark, Node, Value};

/// A path in a manifest: keys, and numbers of elements.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Key(String),
    Index(usize),
}

impl Place {
    /// The value of a key here.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.and(Part::Key(key.to_owned()))
    }

    /// An element of the list here.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.and(Part::Index(index))
    }

    fn and(&self, step: Part) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// This as the place of a mistake.
    pub(crate) fn wrong(&self, why: impl ToString) -> Wrong {
        Wrong { at: self.clone(), why: why.to_string() }
    }

    /// Where it is in the text, as far as it is there, and how it is written: `scenes[0].steps[1].prints`.
    pub fn find(&self, root: &Node) -> (Mark, String) {
        let (mut node, mut mark, mut shown) = (Some(root), Mark::START, String::new());
        for step in &self.0 {
            node = match step {
                Part::Key(key) => {
                    shown += &if shown.is_empty() { key.clone() } else { format!(".{key}") };
                    node.and_then(|node| entry(node, key)).map(|entry| &*entry.value)
                }
                Part::Index(index) => {
                    shown += &format!("[{index}]");
                    node.and_then(|node| node.list()?.get(*index)).map(|node| &**node)
                }
            };
            mark = node.map_or(mark, |node| node.at);
        }
        (mark, shown)
    }
}

/// The entry of a key. The reader of places has YAML 1.1, in which a plain `on` is a boolean.
fn entry<'a>(node: &'a Node, key: &str) -> Option<&'a Entry> {
    let map = node.map()?;
    let is_on = |entry: &&Entry| key == "on" && matches!(entry.key.value, Value::Bool(true));
    map.get(key).or_else(|| map.entries().find(is_on))
}

/// A mistake in a manifest whose values are well formed.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub at: Place,
    pub why: String,
}
