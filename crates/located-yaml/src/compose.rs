//! Anchors, tags and merge keys: they turn the plain tree into the values that Python would have.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Duplicate, Entry, Map, Mark, Node, Special, Text, Value, quoted};
use crate::problem::{MOST_MERGED, MOST_VALUES, Problem};
use crate::scalar;

const YAML_TAG: &str = "tag:yaml.org,2002:";

type Result<T> = std::result::Result<T, Problem>;

#[derive(Default)]
pub(super) struct Composer {
    /// `None` while the value is being read.
    anchors: HashMap<String, Option<Arc<Node>>>,
    values: usize,
    merged: usize,
    pub duplicates: Vec<Duplicate>,
}

impl Composer {
    pub fn begin_anchor(&mut self, anchor: Option<&(Mark, String)>) -> Result<()> {
        match anchor {
            Some((at, name)) if self.anchors.insert(name.clone(), None).is_some() => {
                Err(Problem::new(*at, format!("the anchor {} is defined twice", quoted(name))))
            }
            _ => Ok(()),
        }
    }

    pub fn anchor(&mut self, anchor: Option<(Mark, String)>, node: &Arc<Node>) -> Result<()> {
        if let Some((_, name)) = anchor {
            self.anchors.insert(name, Some(node.clone()));
        }
        Ok(())
    }

    pub fn alias(&mut self, at: Mark, name: &str) -> Result<Arc<Node>> {
        self.count(at)?;
        match self.anchors.get(name) {
            Some(Some(node)) => Ok(node.clone()),
            Some(None) => {
                Err(Problem::new(at, format!("the alias {} is inside the value that it refers to", quoted(name))))
            }
            None => Err(Problem::new(at, format!("there is no anchor {} before this alias", quoted(name)))),
        }
    }

    pub fn scalar(&mut self, at: Mark, tag: Option<&str>, plain: bool, text: Text) -> Result<Arc<Node>> {
        self.count(at)?;
        let tag = match tag {
            None | Some("!") if plain => scalar::tag_of_plain(&text.text),
            None | Some("!") => "str",
            Some(tag) => tag.strip_prefix(YAML_TAG).unwrap_or(tag),
        };
        // Only the mapping knows whether such a scalar is one of its keys.
        let value = match tag {
            "merge" | "value" if plain => Value::Text(text),
            _ => scalar::value(tag, text).map_err(|said| Problem::new(at, said))?,
        };
        let special = match tag {
            "merge" => Special::Merge,
            "value" => Special::Equals,
            _ => Special::No,
        };
        Ok(Arc::new(Node { at, value, special }))
    }

    pub fn list(&mut self, at: Mark, tag: Option<&str>, items: Vec<Arc<Node>>) -> Result<Arc<Node>> {
        self.count(at)?;
        let value = match short(tag) {
            None | Some("!" | "seq") => {
                refuse_special(&items)?;
                Value::List(items)
            }
            Some("omap" | "pairs") => Value::List(items.iter().map(pair).collect::<Result<_>>()?),
            Some(other) => return Err(Problem::new(at, format!("{} is not a tag for a list", quoted(other)))),
        };
        Ok(Node::of(at, value))
    }

    pub fn mapping(&mut self, at: Mark, tag: Option<&str>, pairs: Vec<(Arc<Node>, Arc<Node>)>) -> Result<Arc<Node>> {
        self.count(at)?;
        let map = self.merge(pairs)?;
        let value = match short(tag) {
            None | Some("!" | "map") => Value::Map(map),
            // pydantic accepts a set as a list.
            Some("set") => Value::List(map.entries().map(|entry| entry.key.clone()).collect()),
            Some(other) => return Err(Problem::new(at, format!("{} is not a tag for a mapping", quoted(other)))),
        };
        Ok(Node::of(at, value))
    }

    /// Keys merged by `<<` come before a mapping's own keys, so that these win.
    fn merge(&mut self, pairs: Vec<(Arc<Node>, Arc<Node>)>) -> Result<Map> {
        let (mut merged, mut own) = (Vec::new(), Vec::with_capacity(pairs.len()));
        for (key, value) in pairs {
            if key.special == Special::Merge {
                merged.extend(self.merged(&value)?);
                continue;
            }
            if matches!(value.special, Special::Merge | Special::Equals) {
                return Err(misplaced(&value));
            }
            if matches!(key.value, Value::List(_) | Value::Map(_)) {
                return Err(Problem::new(key.at, "a key must be a single value"));
            }
            own.push(Entry { key, value });
        }
        self.find_duplicates(&own);
        merged.append(&mut own);
        Ok(Map(merged))
    }

    fn merged(&mut self, value: &Arc<Node>) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        match &value.value {
            Value::Map(map) => entries.extend_from_slice(&map.0),
            // The first mapping of the list wins, so it comes last.
            Value::List(maps) => {
                for map in maps.iter().rev() {
                    let Some(map) = map.map() else {
                        return Err(Problem::new(map.at, "`<<` merges mappings, and this is not one"));
                    };
                    self.merged += map.0.len();
                    self.check_merged(value.at)?;
                    entries.extend_from_slice(&map.0);
                }
            }
            _ => return Err(Problem::new(value.at, "`<<` merges a mapping or a list of mappings")),
        }
        self.merged += entries.len();
        self.check_merged(value.at)?;
        Ok(entries)
    }

    fn check_merged(&self, at: Mark) -> Result<()> {
        if self.merged > MOST_MERGED {
            return Err(Problem::too_much(at, format!("expected at most {MOST_MERGED} keys merged by `<<`")));
        }
        Ok(())
    }

    fn find_duplicates(&mut self, entries: &[Entry]) {
        let mut seen: HashMap<&str, Mark> = HashMap::with_capacity(entries.len());
        for entry in entries {
            let Some(key) = entry.key.text() else { continue };
            match seen.get(key) {
                Some(first) => {
                    self.duplicates.push(Duplicate { key: key.to_owned(), at: entry.key.at, first: *first });
                }
                None => {
                    seen.insert(key, entry.key.at);
                }
            }
        }
    }

    fn count(&mut self, at: Mark) -> Result<()> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(Problem::too_much(at, format!("expected at most {MOST_VALUES} values")));
        }
        Ok(())
    }
}

fn short(tag: Option<&str>) -> Option<&str> {
    tag.map(|tag| tag.strip_prefix(YAML_TAG).unwrap_or(tag))
}

fn misplaced(node: &Node) -> Problem {
    let text = quoted(node.text().unwrap_or_default());
    Problem::new(node.at, format!("{text} has a meaning only as a key; quote it if it is text"))
}

pub(super) fn refuse_special(items: &[Arc<Node>]) -> Result<()> {
    match items.iter().find(|item| item.special != Special::No) {
        Some(item) => Err(misplaced(item)),
        None => Ok(()),
    }
}

fn pair(item: &Arc<Node>) -> Result<Arc<Node>> {
    match item.map() {
        Some(map) if map.0.len() == 1 => Ok(Node::of(item.at, Value::Pair)),
        _ => Err(Problem::new(item.at, "expected a mapping with one key")),
    }
}
