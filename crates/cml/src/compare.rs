//! Whether two definitions say the same, however they are written.
//!
//! A controller hands a definition back in its own words: keys in another order, defaults added, JSON
//! instead of YAML. So meanings are compared, not texts.

use anyhow::{Context, Result};
use serde_json::Value;

/// Keys that a controller adds by itself.
const ITS_OWN: [&str; 2] = ["image_definitions", "schema_version"];

/// Reads YAML or JSON, which is YAML.
///
/// # Errors
/// If it is neither, or has keys that are no texts.
pub fn parse(text: &str) -> Result<Value> {
    let yaml: serde_yaml::Value = serde_yaml::from_str(text).context("it is neither YAML nor JSON")?;
    serde_json::to_value(yaml).context("it has keys that are no texts")
}

/// Where `theirs` does not say what `ours` says: paths such as `ui.label`. Empty if they agree.
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
                    None if is_nothing(value) => {}
                    None => found.push(inner(key)),
                }
            }
            let added = theirs.iter().filter(|(key, value)| !ours.contains_key(*key) && !is_nothing(value));
            found.extend(added.filter(|(key, _)| !ITS_OWN.contains(&key.as_str())).map(|(key, _)| inner(key)));
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                // A file is better named than numbered.
                let name = ours.get("name").and_then(Value::as_str).map_or(format!("[{index}]"), str::to_owned);
                walk(&inner(&name), ours, theirs, found);
            }
        }
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => {}
        _ if ours == theirs => {}
        _ => found.push(path.to_owned()),
    }
}

/// What a controller may add or leave out without changing the meaning.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_nothing),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(ours: &str, theirs: &str) -> Vec<String> {
        differences(&parse(ours).unwrap(), &parse(theirs).unwrap())
    }

    #[test]
    fn order_form_and_defaults_do_not_count() {
        let theirs = r#"{"ui": {"icon": null, "label": "A"}, "id": "a", "general": {"read_only": false}, "image_definitions": ["x"]}"#;
        assert!(compared("id: a\nui: {label: A}\n", theirs).is_empty());
        assert!(compared("ram: 256", "ram: 256.0").is_empty());
    }

    #[test]
    fn what_differs_is_named_by_its_path() {
        let files = |text: &str| format!("files: [{{name: config.json, content: '{text}'}}, {{name: x, content: y}}]");
        assert_eq!(compared(&files("1"), &files("2")), ["files.config.json.content"]);
        assert_eq!(compared("a: 1\nb: {c: 2}", "a: 1\nb: {c: 3, d: 4}"), ["b.c", "b.d"]);
        assert_eq!(compared("a: [1]", "a: [1, 2]"), ["a"]);
        assert_eq!(compared("read_only: true", "{}"), ["read_only"]);
    }
}
