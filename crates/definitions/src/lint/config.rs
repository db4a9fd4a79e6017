//! `config.json`, which tells CML's docker-shim how to create the container, with the place of every value. [docs/cml.md 5]

use std::sync::Arc;

use crate::finding::Finding;
use crate::schema::NodeDefinition;
use crate::yaml::{self, Mark, Node, Text, Value};

/// What the file is called.
pub(super) const NAME: &str = "config.json";

/// The words after which a Go template action stands for no value.
const CONTROL: [&str; 10] = ["range", "if", "else", "end", "with", "define", "block", "template", "break", "continue"];

pub(super) struct Config {
    pub root: Arc<Node>,
    /// Where the text stands in the definition.
    content: Arc<Node>,
    path: String,
}

/// What came of reading it.
pub(super) enum Reading {
    Config(Config),
    /// The definition has no such file.
    Missing,
    /// It is a template that makes JSON only when the shim fills it in.
    Undecided,
    Wrong {
        at: Mark,
        path: String,
        message: String,
    },
}

impl Config {
    pub fn of(definition: &NodeDefinition) -> Reading {
        let provisioning =
            definition.configuration.as_ref().and_then(|configuration| configuration.provisioning.as_ref());
        let files = provisioning.and_then(|provisioning| provisioning.files.as_deref()).unwrap_or_default();
        let is_it =
            |file: &crate::schema::node::ConfigurationFile| file.name.as_ref().is_some_and(|name| name.value == NAME);
        let Some(index) = files.iter().position(is_it) else { return Reading::Missing };
        let path = format!("configuration.provisioning.files[{index}].content");
        let Some(content) = files[index].content.clone() else {
            return Reading::Wrong { at: files[index].at, path, message: "config.json is empty".to_owned() };
        };
        read(content, path)
    }

    /// A finding about a value.
    pub fn finding(
        &self,
        rule: &'static crate::finding::Rule,
        node: &Node,
        path: &str,
        said: impl Into<String>,
    ) -> Finding {
        Finding::new(rule, self.content.place_inside(node.at), format!("{}.{path}", self.path), said)
    }

    /// The strings of a list in `docker`, each with its path.
    pub fn list(&self, key: &str) -> Vec<(String, &Node, &str)> {
        let list = self.root.get("docker").and_then(|docker| docker.get(key)).and_then(|list| list.list());
        let items = list.unwrap_or_default().iter().enumerate();
        items
            .filter_map(|(index, item)| Some((format!("docker.{key}[{index}]"), item.as_ref(), item.text()?)))
            .collect()
    }
}

fn read(content: Arc<Node>, path: String) -> Reading {
    let text = content.text().unwrap_or_default();
    let (tree, error) = match parse(text) {
        Ok(root) => (Some(root), None),
        Err(error) => {
            let filled = without_actions(text);
            let control = filled.1;
            match parse(&filled.0) {
                Ok(root) => (Some(root), None),
                Err(_) if control => (None, None),
                Err(_) => (None, Some(error)),
            }
        }
    };
    match (tree, error) {
        (Some(root), _) => Reading::Config(Config { root, content, path }),
        (None, None) => Reading::Undecided,
        (None, Some((at, message))) => Reading::Wrong { at: content.place_inside(at), path, message },
    }
}

/// Reads JSON. It is also YAML, but for tabs, so that YAML's reader can tell the places.
fn parse(text: &str) -> Result<Arc<Node>, (Mark, String)> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let bare = said.split(" at line ").next().unwrap_or_default().to_owned();
        (Mark { line: error.line().max(1), column: error.column().max(1) }, bare)
    })?;
    match yaml::read(text.replace('\t', " ").as_bytes()) {
        Ok(document) => Ok(document.root),
        Err(_) => Ok(unplaced(&json)),
    }
}

/// For what JSON allows and YAML does not: everything stands at the beginning.
fn unplaced(json: &serde_json::Value) -> Arc<Node> {
    let value = match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => number.as_i64().map_or(Value::Float(f64::NAN), Value::Int),
        serde_json::Value::String(text) => Value::Text(Text::from(text.clone())),
        serde_json::Value::Array(items) => Value::List(items.iter().map(unplaced).collect()),
        serde_json::Value::Object(object) => Value::Map(
            object
                .iter()
                .map(|(key, value)| (unplaced(&serde_json::Value::String(key.clone())), unplaced(value)))
                .collect(),
        ),
    };
    Node::of(Mark::START, value)
}

/// The text with something that JSON takes in place of each Go template action, equally long; and whether one of the actions
/// outside of strings controls what is written at all.
fn without_actions(text: &str) -> (String, bool) {
    let (mut filled, mut control, mut in_string) = (String::with_capacity(text.len()), false, false);
    let mut rest = text;
    // Behind the last end nothing more is looked for, again and again.
    let last_end = text.rfind("}}").unwrap_or(0);
    while let Some(c) = rest.chars().next() {
        let may_end = text.len() - rest.len() < last_end;
        let inner = rest.strip_prefix("{{").filter(|_| may_end);
        if let Some((action, after)) = inner.and_then(|inner| inner.split_once("}}")) {
            let words = action.trim_start_matches('-').trim_start();
            let controls =
                CONTROL.iter().any(|word| words.starts_with(word)) || words.starts_with("/*") || words.contains(":=");
            control |= controls && !in_string;
            let length = action.chars().count() + 4;
            filled += &match (in_string, controls) {
                (true, _) => "_".repeat(length),
                (false, true) => " ".repeat(length),
                (false, false) => format!("0{}", " ".repeat(length - 1)),
            };
            rest = after;
            continue;
        }
        // What is escaped ends no string.
        let length =
            if in_string && c == '\\' { 1 + rest[1..].chars().next().map_or(0, char::len_utf8) } else { c.len_utf8() };
        in_string ^= c == '"';
        filled += &rest[..length];
        rest = &rest[length..];
    }
    (filled, control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_give_way_to_what_json_takes() {
        let (filled, control) = without_actions(r#"{"a": "x{{ dev "b" }}y", "c": {{ .Ram }}}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&filled).is_ok(), "{filled}");
        assert!(!control);
        let (filled, control) = without_actions("[{{ range .Devices }}1,{{ end }} 2]");
        assert!(serde_json::from_str::<serde_json::Value>(&filled).is_ok(), "{filled}");
        assert!(control);
    }

    #[test]
    fn a_text_that_only_looks_like_an_action_stays() {
        assert_eq!(without_actions(r#"{"a\"{{": 1}"#).0, r#"{"a\"{{": 1}"#);
    }
}
