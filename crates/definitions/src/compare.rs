//! Whether two definitions mean the same, however they are written.
//!
//! A controller returns a definition in its own form: keys in another order, defaults added, JSON instead of YAML, `60`
//! for what was `"60"`. So what the model of the schema reads is compared. What the model does not know, such as a key
//! of a newer controller, is compared as it is written.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use serde_json::{Number, Value};

use crate::schema;
use crate::yaml::{self, Mark, Node, Problem, Text};

/// Keys that a controller adds itself.
const ADDED: [&str; 2] = ["image_definitions", "schema_version"];

/// What is meant where a definition does not say, if that is not nothing. [docs/cml.md 3] [docs/cml.md 4]
fn default_of(path: &str) -> Option<Value> {
    match path {
        "sim.linux_native.enable_rng" | "pyats.use_in_testbed" => Some(true.into()),
        "schema_version" => Some("0.0.1".into()),
        _ => None,
    }
}

/// The normal form of a definition in YAML or JSON. Fails if it is neither.
pub fn normal_form(text: &str) -> Result<Value> {
    anyhow::ensure!(text.len() <= yaml::LARGEST, "expected at most {} bytes, found {}", yaml::LARGEST, text.len());
    anyhow::ensure!(!is_json_of_too_many_values(text), "expected at most {} values", yaml::MOST_VALUES);
    let (written, root) = match serde_json::from_str::<Value>(text) {
        Ok(json) => {
            let root = node_of(&json);
            (json, root)
        }
        Err(_) => {
            let document = yaml::read(text.as_bytes());
            let document =
                document.map_err(|Problem { at, message, .. }| anyhow!("{at}: neither YAML nor JSON: {message}"))?;
            (Written { budget: 2 * yaml::LARGEST }.value_of(&document.root)?, document.root)
        }
    };
    let definition = schema::read(&root, &mut Vec::new());
    Ok(overlaid(written, serde_json::to_value(definition)?))
}

/// Whether a text that begins as JSON has more values than are read of YAML, by its commas outside of strings. In YAML
/// there may be other commas, but no definition has nearly as many.
fn is_json_of_too_many_values(text: &str) -> bool {
    let (mut commas, mut is_in_string, mut is_escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_in_string,
            b'"' => is_in_string = !is_in_string,
            b',' if !is_in_string => commas += 1,
            _ => {}
        }
    }
    text.trim_start().starts_with(['{', '[']) && commas >= yaml::MOST_VALUES
}

/// `written`, with the values that the model has read in place of how they are written.
fn overlaid(written: Value, read: Value) -> Value {
    match (written, read) {
        (written, Value::Null) => written,
        (Value::Object(written), Value::Object(mut read)) => {
            let overlay = |(key, value): (String, Value)| {
                let read = read.remove(&key).unwrap_or_default();
                (key, overlaid(value, read))
            };
            Value::Object(written.into_iter().map(overlay).collect())
        }
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            Value::Array(written.into_iter().zip(read).map(|(written, read)| overlaid(written, read)).collect())
        }
        // The model leaves out elements that it cannot read.
        (written @ Value::Array(_), Value::Array(_)) => written,
        (_, read) => read,
    }
}

struct Written {
    /// How much may still be copied, in bytes: aliases can make a small file endless.
    budget: usize,
}

impl Written {
    fn value_of(&mut self, node: &Node) -> Result<Value> {
        let length = node.text().map_or(0, str::len);
        self.budget = self.budget.checked_sub(size_of::<Node>() + length).context("its aliases make it too large")?;
        Ok(match &node.value {
            yaml::Value::Null => Value::Null,
            yaml::Value::Bool(value) => Value::Bool(*value),
            yaml::Value::Int(value) => Value::from(*value),
            yaml::Value::Float(value) => {
                Number::from_f64(*value).map_or_else(|| value.to_string().into(), Value::Number)
            }
            yaml::Value::Text(text) => Value::from(text.text.as_str()),
            yaml::Value::Bytes(bytes) => {
                String::from_utf8(bytes.clone()).unwrap_or_else(|_| format!("{bytes:?}")).into()
            }
            yaml::Value::Date(text) => Value::from(text.as_str()),
            yaml::Value::Pair => Value::from("a pair"),
            yaml::Value::List(list) => {
                Value::Array(list.iter().map(|item| self.value_of(item)).collect::<Result<_>>()?)
            }
            yaml::Value::Map(map) => {
                let entries = map.entries().map(|entry| Ok((self.key_of(&entry.key)?, self.value_of(&entry.value)?)));
                Value::Object(entries.collect::<Result<_>>()?)
            }
        })
    }

    /// A key as text. Only unknown parts have keys that are not text.
    fn key_of(&mut self, node: &Node) -> Result<String> {
        let value = self.value_of(node)?;
        Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
}

/// JSON as the schema reads it.
fn node_of(json: &Value) -> Arc<Node> {
    let text = |text: &String| yaml::Value::Text(Text::from(text.clone()));
    let value = match json {
        Value::Null => yaml::Value::Null,
        Value::Bool(value) => yaml::Value::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(value) => yaml::Value::Int(value),
            None => yaml::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(value) => text(value),
        Value::Array(items) => yaml::Value::List(items.iter().map(node_of).collect()),
        Value::Object(object) => yaml::Value::Map(
            object.iter().map(|(key, value)| (Node::of(Mark::START, text(key)), node_of(value))).collect(),
        ),
    };
    Node::of(Mark::START, value)
}

/// Where two definitions differ: paths such as `ui.label`. Empty if they mean the same.
pub fn differences(ours: &Value, theirs: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk("", ours, theirs, &mut found);
    found
}

fn walk(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    let inner = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, value) in ours {
                match theirs.get(key) {
                    Some(other) => walk(&inner(key), value, other, found),
                    None if may_be_absent(&inner(key), value) => {}
                    None => found.push(inner(key)),
                }
            }
            let added = theirs.iter().filter(|(key, _)| !ours.contains_key(*key) && !ADDED.contains(&key.as_str()));
            found.extend(added.map(|(key, value)| (inner(key), value)).filter_map(|(path, value)| {
                let is_meant_anyway = may_be_absent(&path, value);
                (!is_meant_anyway).then_some(path)
            }));
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                // A file is shown by its name, not its number.
                let name = ours.get("name").and_then(Value::as_str).map_or(format!("[{index}]"), str::to_owned);
                walk(&inner(&name), ours, theirs, found);
            }
        }
        (Value::Number(one), Value::Number(other)) if same_number(one, other) => {}
        _ if ours == theirs => {}
        _ => found.push(path.to_owned()),
    }
}

/// Whether a controller may add or leave out this value without changing the meaning.
fn may_be_absent(path: &str, value: &Value) -> bool {
    match (default_of(path), value) {
        (Some(default), value) => value.is_null() || *value == default,
        (None, Value::Object(map)) => map.iter().all(|(key, value)| may_be_absent(&format!("{path}.{key}"), value)),
        (None, value) => is_nothing(value),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_nothing),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// `256` and `256.0` are the same.
fn same_number(one: &Number, other: &Number) -> bool {
    match (one.as_i64(), other.as_i64()) {
        (Some(one), Some(other)) => one == other,
        _ => one.as_f64() == other.as_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_no_more_values_than_yaml_may_have() {
        let list = |count: usize| format!("{{\"a,,\\\",\": [{}0]}}", "0,".repeat(count - 1));
        assert!(normal_form(&list(yaml::MOST_VALUES)).is_ok());
        assert!(normal_form(&list(yaml::MOST_VALUES + 1)).unwrap_err().to_string().contains("at most 50000 values"));
        let text = format!("{{\"a\": \"{}\"}}", ",".repeat(yaml::MOST_VALUES + 1));
        assert!(normal_form(&text).is_ok());
    }

    #[track_caller]
    fn compared(ours: &str, theirs: &str) -> Vec<String> {
        differences(&normal_form(ours).unwrap(), &normal_form(theirs).unwrap())
    }

    #[test]
    fn order_form_and_defaults_do_not_count() {
        let theirs = r#"{"ui": {"icon": null, "label": "A"}, "id": "a", "general": {"read_only": false},
            "image_definitions": ["x"]}"#;
        assert!(compared("id: a\nui: {label: A}\n", theirs).is_empty());
        assert!(compared("ram: 256", "ram: 256.0").is_empty());
    }

    #[test]
    fn a_default_that_is_not_nothing_may_be_left_out_and_nothing_else_in_its_place() {
        let node = |value: &str| format!("id: a\nsim: {{linux_native: {{driver: server{value}}}}}\n");
        assert!(compared(&node(""), &node(", enable_rng: true, enable_tpm: false")).is_empty());
        assert!(compared(&node(", enable_rng: yes"), &node("")).is_empty());
        assert_eq!(compared(&node(", enable_rng: false"), &node("")), ["sim.linux_native.enable_rng"]);
        assert_eq!(compared(&node(""), &node(", enable_rng: false")), ["sim.linux_native.enable_rng"]);
        assert!(compared("pyats: {os: x}", "pyats: {os: x, use_in_testbed: true, model: null}").is_empty());
        assert!(compared("schema_version: 0.0.1", "{}").is_empty());
    }

    #[test]
    fn what_differs_is_named_by_its_path() {
        let files = |text: &str| format!("files: [{{name: config.json, content: '{text}'}}, {{name: x, content: y}}]");
        assert_eq!(compared(&files("1"), &files("2")), ["files.config.json.content"]);
        assert_eq!(compared("a: 1\nb: {c: 2}", "a: 1\nb: {c: 3, d: 4}"), ["b.c", "b.d"]);
        assert_eq!(compared("a: [1]", "a: [1, 2]"), ["a"]);
        assert_eq!(compared("read_only: true", "{}"), ["read_only"]);
    }

    #[test]
    fn parts_that_the_model_does_not_know_are_compared_as_they_are_written() {
        let ours = "boot: {timeout: '60', completed: [on my mark], new: {since: 2030-01-01}}";
        assert!(
            compared(ours, r#"{"boot": {"completed": ["on my mark"], "timeout": 60, "new": {"since": "2030-01-01"}}}"#)
                .is_empty()
        );
        assert_eq!(compared(ours, &ours.replace("2030", "2031")), ["boot.new.since"]);
        assert_eq!(compared(ours, &ours.replace("'60'", "61")), ["boot.timeout"]);
        // A controller that adds a key of its own is not the same, but the known parts are.
        assert_eq!(compared("boot: {timeout: 010}", r#"{"boot": {"timeout": 8, "future": 1}}"#), ["boot.future"]);
        // Elements that the model refuses are not lost.
        assert_eq!(compared("boot: {completed: [1, a]}", "boot: {completed: [2, a]}"), ["boot.completed.[0]"]);
    }

    #[test]
    fn json_is_read_as_json() {
        let theirs = r#"{"ui": {"label": "\ud83d\ude00", "description": "a\/b"}}"#;
        assert!(compared("ui: {label: 😀, description: a/b}", theirs).is_empty());
        let error = normal_form("a: [").unwrap_err().to_string();
        assert!(error.contains("neither YAML nor JSON"), "{error}");
    }

    #[test]
    fn aliases_do_not_multiply() {
        let mut text = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
        for level in 1..20 {
            let last = format!("*a{}, ", level - 1).repeat(10);
            text += &format!("a{level}: &a{level} [{last}]\n");
        }
        assert!(normal_form(&text).unwrap_err().to_string().contains("aliases"));
    }
}
