//! All rules.

use super::{container, image, node};
use crate::finding::Rule;
use crate::{document, schema};

/// Every rule, in the order of `docs/lint.md`.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    [schema::rules::ALL, document::RULES, container::ALL, node::ALL, image::ALL].into_iter().flatten().copied()
}

/// The rule of that id; or a message, with the most similar id.
pub fn rule(id: &str) -> Result<&'static Rule, String> {
    rules()
        .find(|rule| rule.id == id)
        .ok_or_else(|| format!("there is no rule `{id}`: {}", text::near(id, rules().map(|rule| rule.id))))
}
