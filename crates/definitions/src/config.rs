//! `config.json`, which tells CML's docker-shim how to create the container. [docs/cml.md 5]
//!
//! Read once, for `lint` and for running the node: as values, and with the place of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::document::DUPLICATE_KEY;
use crate::finding::{Example, Finding, MOST_FINDINGS, Rule};
use crate::schema::NodeDefinition;
use crate::yaml::{self, Duplicate, Mark, Node};

pub(crate) const NAME: &str = "config.json";

/// The keys that the docker-shim is known to read, at the top and below `docker`.
pub(crate) const CONFIG_KEYS: &[&str] =
    &["docker", "shell", "day0cmd", "busybox", "device_name_map", "vnc", "privileged"];
pub(crate) const DOCKER_KEYS: &[&str] =
    &["image", "mounts", "caps", "env", "misc_args", "run_args", "name_args", "extra_args"];

/// The words with which a Go template action that has no value begins.
const CONTROL: [&str; 10] = ["range", "if", "else", "end", "with", "define", "block", "template", "break", "continue"];

/// A definition's file `config.json`, for the example of a rule.
macro_rules! config_json {
    ($json:literal) => {
        concat!(
            "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n",
            "        content: |\n          ",
            $json,
            "\n"
        )
    };
}
pub(crate) use config_json;

pub(crate) static CONFIG_JSON_MISSING: Rule = Rule::error(
    "config-json-missing",
    "A container's definition has a file `config.json`",
    "CML's docker-shim creates the container from `config.json`, one of the files under \
     `configuration.provisioning.files`.",
    Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: notes.txt\n        editable: false\n\
     \x20       content: hello\n",
    ),
    Example::Node(config_json!(r#"{"docker": {"image": "tiny:1.0"}}"#)),
);

pub(crate) static CONFIG_JSON: Rule = Rule::error(
    "config-json",
    "`config.json` is JSON that the docker-shim can read",
    "The docker-shim refuses anything else, and the node does not start. `docker` is an object; its `image` and the \
     top level's `shell` are strings; `mounts`, `caps`, `env`, the lists of arguments and `day0cmd` are lists of \
     strings; `busybox` and `privileged` are booleans; `device_name_map` maps strings to names of interfaces (not \
     `lo`, which each container has). An element of `env` has a name. Types are those of \
     Go's `encoding/json`: null is the same as no value, and a number is not a string. Go template actions \
     such as `{{ dev (index .Devices 0).DeviceName }}` are allowed; where they decide what is written at all \
     (`range`, `if`), the result is unknown and nothing is reported. Keys are spelt as here: the shim ignores their \
     case.",
    Example::Node(config_json!(r#"{"docker": {"image": "tiny:1.0",}}"#)),
    Example::Node(config_json!(r#"{"docker": {"image": "tiny:1.0"}}"#)),
);

#[derive(Clone, Debug, Default)]
pub struct Config {
    pub docker: Docker,
    /// The command of the second console.
    pub shell: Option<String>,
    pub day0cmd: Vec<String>,
    /// All capabilities and devices, and nothing that confines the container.
    pub privileged: bool,
    /// From CML's interface labels to Linux interface names.
    pub(crate) device_name_map: BTreeMap<String, String>,
}

/// Its part about `docker create`. The four lists of arguments are passed on unchanged.
#[derive(Clone, Debug, Default)]
pub struct Docker {
    pub image: Option<String>,
    pub mounts: Vec<String>,
    pub caps: Vec<String>,
    pub env: Vec<String>,
    pub misc_args: Vec<String>,
    pub run_args: Vec<String>,
    pub name_args: Vec<String>,
    pub extra_args: Vec<String>,
}

/// A `--sysctl` in one of the lists of arguments.
pub(crate) struct Sysctl<'a> {
    pub list: &'static str,
    /// That of the element with the setting.
    pub index: usize,
    /// `KEY=VALUE`
    pub setting: &'a str,
    /// Flag and setting are one element, so that docker does not know the flag.
    pub is_broken: bool,
}

impl Docker {
    /// The four lists of arguments, with their names.
    pub fn arguments(&self) -> [(&'static str, &Vec<String>); 4] {
        [
            ("misc_args", &self.misc_args),
            ("run_args", &self.run_args),
            ("name_args", &self.name_args),
            ("extra_args", &self.extra_args),
        ]
    }

    fn arguments_mut(&mut self) -> [&mut Vec<String>; 4] {
        [&mut self.misc_args, &mut self.run_args, &mut self.name_args, &mut self.extra_args]
    }

    /// Removes `argument`, and the flag before it, from the list that has it. Fails if none has.
    pub fn remove_argument(&mut self, argument: &str) -> Result<()> {
        for list in self.arguments_mut() {
            if let Some(at) = list.iter().position(|element| element == argument) {
                let first = if at > 0 && list[at - 1].starts_with("--") { at - 1 } else { at };
                list.drain(first..=at);
                return Ok(());
            }
        }
        bail!("the definition has no argument `{argument}`")
    }

    /// Removes every `--sysctl` of this name, in both of docker's spellings.
    pub fn remove_sysctl(&mut self, name: &str) {
        let is_meant = |setting: &str| setting.split_once('=').is_some_and(|(one, _)| one == name);
        for list in self.arguments_mut() {
            let mut at = 0;
            while let Some(element) = list.get(at) {
                let (count, setting) = match element.strip_prefix("--sysctl=") {
                    Some(setting) => (1, Some(setting)),
                    None if element == "--sysctl" => (2, list.get(at + 1).map(String::as_str)),
                    None => (1, None),
                };
                if setting.is_some_and(is_meant) {
                    list.drain(at..at + count);
                } else {
                    at += count;
                }
            }
        }
    }

    /// Names and values of every `--sysctl`, in both of docker's spellings.
    pub fn sysctls(&self) -> Vec<(String, String)> {
        let settings = self.sysctl_elements().into_iter().filter(|sysctl| !sysctl.is_broken);
        let pairs = settings.filter_map(|sysctl| sysctl.setting.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Every `--sysctl`, in whatever list and spelling.
    pub(crate) fn sysctl_elements(&self) -> Vec<Sysctl<'_>> {
        let mut found = Vec::new();
        for (list, elements) in self.arguments() {
            let mut is_setting = false;
            for (index, text) in elements.iter().enumerate() {
                let after = text.strip_prefix("--sysctl").and_then(|rest| rest.strip_prefix(['=', ' ']));
                if let Some(setting) = after.or(is_setting.then_some(text)) {
                    found.push(Sysctl { list, index, setting, is_broken: text.starts_with("--sysctl ") });
                }
                is_setting = text == "--sysctl";
            }
        }
        found
    }
}

/// The value of one of these keys in `type=bind,source=…,target=…`.
pub(crate) fn mount_field<'a>(mount: &'a str, keys: &[&str]) -> Option<&'a str> {
    let fields = mount.split(',').filter_map(|field| field.split_once('='));
    fields.filter(|(key, _)| keys.contains(key)).map(|(_, value)| value).next()
}

/// Whether Linux and every engine accept a name for an interface of a node. `lo` is each container's own.
pub(crate) fn is_interface_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && !matches!(name, "." | ".." | "lo")
}

/// As which of these keys Go reads a key: it ignores case, also of two letters that are not ASCII. [Go: encoding/json,
/// Unmarshal]
pub(crate) fn known_key<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let folded: String = key.replace('\u{17f}', "s").replace('\u{212a}', "k").to_ascii_lowercase();
    known.iter().copied().find(|known| *known == folded)
}

pub(crate) struct ConfigFile {
    pub config: Config,
    pub json: Value,
    /// The type errors; such values are missing in `config`.
    pub findings: Vec<Finding>,
    /// It is JSON only once CML has filled in the template actions outside strings; the values are placeholders.
    pub is_template: bool,
    places: Places,
}

struct Places {
    /// The text of the file, in the definition.
    content: Arc<Node>,
    path: String,
    /// The same as the JSON, read as YAML; `None` if it is JSON that YAML does not allow.
    root: Option<Arc<Node>>,
}

pub(crate) enum Reading {
    File(Box<ConfigFile>),
    Missing,
    /// It is a template whose result is unknown before CML fills it in.
    Undecided,
    Wrong(Finding),
}

impl ConfigFile {
    pub fn of(definition: &NodeDefinition) -> Reading {
        let files = definition.files();
        let config = files.iter().position(|file| file.name.as_ref().is_some_and(|it| it.value == NAME));
        let Some(index) = config else { return Reading::Missing };
        let path = format!("configuration.provisioning.files[{index}].content");
        let Some(content) = files[index].content.clone() else {
            return Reading::Wrong(Finding::new(&CONFIG_JSON, files[index].at, path, "config.json is empty"));
        };
        let text = files[index].text();
        let (json, plain, is_template) = match parse(&text) {
            Ok(json) => (json, text, false),
            Err((at, message)) => {
                let (filled, is_controlled) = without_actions(&text);
                match parse(&filled) {
                    Ok(json) => (json, filled.into(), true),
                    Err(_) if is_controlled => return Reading::Undecided,
                    Err(_) => {
                        let message = format!("config.json is not JSON: {message}");
                        return Reading::Wrong(Finding::new(&CONFIG_JSON, content.place_inside(at), path, message));
                    }
                }
            }
        };
        // JSON is YAML, but for tabs.
        let document = yaml::read(plain.replace('\t', " ").as_bytes()).ok();
        let (root, duplicates) = document.map(|it| (it.root, it.duplicates)).unzip();
        let places = Places { content, path, root };
        let mut values = Values { json: &json, places: &places, findings: Vec::new() };
        let (config, mut findings) = (values.config(), values.findings);
        if is_template {
            // A placeholder may be of another type than what CML fills in.
            findings.clear();
        }
        findings.extend(places.duplicates(&duplicates.unwrap_or_default()));
        Reading::File(Box::new(Self { config, json, findings, is_template, places }))
    }

    /// The keys that the docker-shim is not known to read, each with the keys that lead to it and those known there.
    pub fn unknown_keys(&self) -> Vec<(Vec<&str>, &'static [&'static str])> {
        let mut unknown = Vec::new();
        for (parents, known) in [(&[][..], CONFIG_KEYS), (&["docker"][..], DOCKER_KEYS)] {
            let object = parents.iter().try_fold(&self.json, |value, key| value.get(key)).and_then(Value::as_object);
            let keys = object.into_iter().flat_map(serde_json::Map::keys);
            let keys = keys.filter(|key| known_key(key, known).is_none()).take(MOST_FINDINGS);
            unknown.extend(keys.map(|key| ([parents, &[key.as_str()]].concat(), known)));
        }
        unknown
    }

    /// A finding about the value at `steps`, the keys and indices that lead to it.
    pub fn finding(&self, rule: &'static Rule, steps: &[&str], message: impl Into<String>) -> Finding {
        self.places.finding(rule, steps, message)
    }

    /// A finding about the last key of `steps`.
    pub fn key_finding(&self, rule: &'static Rule, steps: &[&str], message: impl Into<String>) -> Finding {
        let mut finding = self.finding(rule, steps, message);
        let parent = steps.split_last().and_then(|(key, parents)| Some((self.places.find(parents)?, key)));
        if let Some(entry) = parent.and_then(|(parent, key)| parent.map()?.get(key)) {
            finding.at = self.places.content.place_inside(entry.key.at);
        }
        finding
    }
}

impl Places {
    fn find(&self, steps: &[&str]) -> Option<&Arc<Node>> {
        steps.iter().try_fold(self.root.as_ref()?, |node, step| match node.list() {
            Some(list) => list.get(step.parse::<usize>().ok()?),
            None => node.get(step),
        })
    }

    fn duplicates(&self, duplicates: &[Duplicate]) -> Vec<Finding> {
        let found = duplicates.iter().take(MOST_FINDINGS).map(|duplicate| {
            let message = format!("config.json has the key {} twice", yaml::quoted(&duplicate.key));
            let at = self.content.place_inside(duplicate.at);
            Finding::new(&DUPLICATE_KEY, at, self.path.clone(), message).help("remove one of them")
        });
        found.collect()
    }

    fn finding(&self, rule: &'static Rule, steps: &[&str], message: impl Into<String>) -> Finding {
        let at = self.find(steps).map_or(Mark::START, |node| node.at);
        let mut path = self.path.clone();
        for step in steps {
            let is_index = !step.is_empty() && step.bytes().all(|b| b.is_ascii_digit());
            path += &if is_index { format!("[{step}]") } else { format!(".{step}") };
        }
        Finding::new(rule, self.content.place_inside(at), path, message)
    }
}

const A_STRING: &str = "a string";
const A_BOOLEAN: &str = "true or false";
const STRINGS: &str = "a list of strings";

/// Turns JSON into values, and collects type errors.
struct Values<'a> {
    json: &'a Value,
    places: &'a Places,
    findings: Vec<Finding>,
}

impl Values<'_> {
    fn config(&mut self) -> Config {
        for object in [&[][..], &["docker"]] {
            self.typed(object, "an object", |value| value.as_object().map(drop));
        }
        self.spelling(&[], CONFIG_KEYS);
        self.spelling(&["docker"], DOCKER_KEYS);
        self.typed(&["busybox"], A_BOOLEAN, Value::as_bool);
        let config = self.values();
        for (index, _) in config.docker.env.iter().enumerate().filter(|(_, element)| element.starts_with('=')) {
            let message = "expected NAME=VALUE, found no name before `=`";
            self.refuse(
                &["docker", "env", &index.to_string()],
                message,
                "docker create refuses a variable without a name",
            );
        }
        for (label, name) in &config.device_name_map {
            if !is_interface_name(name) && !name.contains("{{") {
                let message = format!("{} is not a valid name of an interface", yaml::quoted(name));
                let help = "a name has 1 to 15 letters, digits, `.`, `_` and `-`, and `lo` is taken";
                self.refuse(&["device_name_map", label], &message, help);
            }
        }
        config
    }

    fn values(&mut self) -> Config {
        Config {
            privileged: self.typed(&["privileged"], A_BOOLEAN, Value::as_bool).unwrap_or_default(),
            docker: Docker {
                image: self.string(&["docker", "image"]),
                mounts: self.list(&["docker", "mounts"]),
                caps: self.list(&["docker", "caps"]),
                env: self.list(&["docker", "env"]),
                misc_args: self.list(&["docker", "misc_args"]),
                run_args: self.list(&["docker", "run_args"]),
                name_args: self.list(&["docker", "name_args"]),
                extra_args: self.list(&["docker", "extra_args"]),
            },
            shell: self.string(&["shell"]),
            day0cmd: self.list(&["day0cmd"]),
            device_name_map: self.map(&["device_name_map"]),
        }
    }

    /// The value at `steps`, unless it is null, which Go takes for absent.
    fn at(&self, steps: &[&str]) -> Option<&Value> {
        let value = steps.iter().try_fold(self.json, |value, step| value.get(step))?;
        (!value.is_null()).then_some(value)
    }

    fn typed<T>(&mut self, steps: &[&str], expected: &str, read: fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.at(steps)?;
        let read = read(value);
        if read.is_none() {
            self.wrong(steps, expected, describe(value));
        }
        read
    }

    fn wrong(&mut self, steps: &[&str], expected: &str, found: &str) {
        if self.findings.len() < MOST_FINDINGS {
            let finding = self.places.finding(&CONFIG_JSON, steps, format!("expected {expected}, found {found}"));
            self.findings.push(finding.help(match (expected, found) {
                (A_STRING, "a number" | "a boolean") => "put it in quotes",
                (A_BOOLEAN, _) => "write true or false, without quotes",
                (STRINGS, "a string") => "put it in brackets: a list, each element of which is one argument",
                _ => "the node would not start: the docker-shim refuses a config.json with a value of another type",
            }));
        }
    }

    /// A value of the right type that nothing can be done with.
    fn refuse(&mut self, steps: &[&str], message: &str, help: &str) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(self.places.finding(&CONFIG_JSON, steps, message).help(help));
        }
    }

    /// A string; for null, Go leaves it empty.
    fn text(&mut self, steps: &[&str], value: &Value) -> String {
        match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => {
                self.wrong(steps, A_STRING, describe(other));
                String::new()
            }
        }
    }

    /// Refuses keys that Go takes for known ones although their case differs: what they ask for must not go unseen.
    fn spelling(&mut self, parents: &[&str], known: &[&str]) {
        let object = parents.iter().try_fold(self.json, |value, key| value.get(key)).and_then(Value::as_object);
        for key in object.into_iter().flat_map(serde_json::Map::keys) {
            if let Some(meant) = known_key(key, known).filter(|known| known != key) {
                let message =
                    format!("CML reads the key {} as {}, whatever its case", yaml::quoted(key), yaml::quoted(meant));
                let finding = self.places.finding(&CONFIG_JSON, &[parents, &[key]].concat(), message);
                self.findings.push(finding.help(format!("write {}", yaml::quoted(meant))));
            }
        }
    }

    fn string(&mut self, steps: &[&str]) -> Option<String> {
        self.typed(steps, A_STRING, |value| value.as_str().map(str::to_owned))
    }

    fn list(&mut self, steps: &[&str]) -> Vec<String> {
        let elements = self.typed(steps, STRINGS, |value| value.as_array().cloned()).unwrap_or_default();
        let texts = elements.iter().enumerate();
        texts.map(|(index, element)| self.text(&[steps, &[&index.to_string()]].concat(), element)).collect()
    }

    fn map(&mut self, steps: &[&str]) -> BTreeMap<String, String> {
        let map = self.typed(steps, "an object of strings", |value| value.as_object().cloned()).unwrap_or_default();
        map.iter().map(|(key, value)| (key.clone(), self.text(&[steps, &[key]].concat(), value))).collect()
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The JSON, or the place and description of what is wrong with it.
fn parse(text: &str) -> Result<Value, (Mark, String)> {
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let bare = message.split(" at line ").next().unwrap_or_default().to_owned();
        (Mark { line: error.line().max(1), column: error.column().max(1) }, bare)
    })
}

/// The text with a placeholder of the same length instead of each Go template action, so that it may be JSON; and
/// whether an action outside strings decides what is written at all.
fn without_actions(text: &str) -> (String, bool) {
    let (mut filled, mut control, mut in_string) = (String::with_capacity(text.len()), false, false);
    let mut rest = text;
    // Without this, each `{{` after the last end would search the rest of the text.
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
        // An escaped quote does not end a string.
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
    fn actions_become_placeholders() {
        let (filled, control) = without_actions(r#"{"a": "x{{ dev "b" }}y", "c": {{ .Ram }}}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&filled).is_ok(), "{filled}");
        assert!(!control);
        let (filled, control) = without_actions("[{{ range .Devices }}1,{{ end }} 2]");
        assert!(serde_json::from_str::<serde_json::Value>(&filled).is_ok(), "{filled}");
        assert!(control);
    }

    #[test]
    fn go_reads_a_key_in_any_case() {
        for key in ["Privileged", "PRIVILEGED", "privileged"] {
            assert_eq!(known_key(key, CONFIG_KEYS), Some("privileged"));
        }
        assert_eq!(known_key("bu\u{17f}ybox", CONFIG_KEYS), Some("busybox"));
        assert_eq!(known_key("privileges", CONFIG_KEYS), None);
    }

    #[test]
    fn a_text_that_only_looks_like_an_action_is_kept() {
        assert_eq!(without_actions(r#"{"a\"{{": 1}"#).0, r#"{"a\"{{": 1}"#);
    }
}
