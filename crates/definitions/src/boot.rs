//! When CML considers a node booted. [docs/cml.md 4]

use crate::finding::Example::Node;
use crate::finding::{Finding, Rule};
use crate::python_regex::Regex;
use crate::schema::NodeDefinition;
use crate::yaml::quoted;

pub(crate) static BOOT_REGEX: Rule = Rule::error(
    "boot-regex",
    "Each of `boot.completed` is a regular expression that Python accepts, if `uses_regex` is true",
    "CML's controller is a Python program, so these are expressions of Python's `re`, and a node whose expressions it \
     refuses never counts as booted. Other dialects differ: Python has `(?P<name>…)`, but not `(?<name>…)`, `\\p{…}` \
     or `[[:alpha:]]`, and `(?i)` can only be at the start. Judged by Python 3.11, the oldest version with atomic \
     groups `(?>…)` and possessive repetitions `a++` (which Python CML has is not known).",
    Node("boot:\n  completed: [\"(?<name>R1|R2)#\"]\n  uses_regex: true\n"),
    Node("boot:\n  completed: [\"(?P<name>R1|R2)#\", READY]\n  uses_regex: true\n"),
);

/// What Python refuses.
pub(crate) fn refused_patterns(definition: &NodeDefinition) -> Vec<Finding> {
    let boot = definition.boot.as_ref().filter(|boot| boot.uses_regex.as_ref().is_some_and(|uses| uses.value));
    let texts = boot.and_then(|boot| boot.completed.as_deref()).unwrap_or_default();
    let refused = texts.iter().enumerate().filter_map(|(index, text)| {
        let why = Regex::new(&text.value).err()?;
        let message = format!("Python refuses the regular expression {}: {why}", quoted(&text.value));
        Some(Finding::new(&BOOT_REGEX, text.at, format!("boot.completed[{index}]"), message))
    });
    refused.take(crate::finding::MOST_FINDINGS).collect()
}
