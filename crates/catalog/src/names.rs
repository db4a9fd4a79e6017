//! Names, paths and patterns in a manifest, checked as they are read, so that errors have a file, line and column.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A short lower-case name of a node, variant or source. Safe in paths, tags and labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let has_letter_first = text.starts_with(|c: char| c.is_ascii_lowercase());
        let is_plain = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if has_letter_first && is_plain && text.len() <= 32 {
            return Ok(Self(text));
        }
        Err(format!("`{text}` is not a valid name: use up to 32 of a-z, 0-9 and `-`, beginning with a letter"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A relative path without `..`, so that it stays inside its folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct InnerPath(String);

impl InnerPath {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for InnerPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_inside =
            !text.is_empty() && !text.contains('\\') && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if is_inside {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is not a path inside the folder: it must be relative and without `..`"))
        }
    }
}

/// A Tera template in the manifest, such as `frr:{{ version }}`; known to parse.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Pattern(String);

impl Pattern {
    /// The pattern filled in. It fails if `context` lacks a variable.
    pub fn render(&self, context: &tera::Context) -> Result<String, tera::Error> {
        tera::Tera::one_off(&self.0, context, false)
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match tera::Tera::new().add_raw_template("", &text) {
            Ok(()) => Ok(Self(text)),
            Err(error) => Err(format!("`{text}` is not a Tera pattern: {error}")),
        }
    }
}

/// A version as part of an id, by Cisco's rule: in lower case, with `-` for each of `~ . + :` (`10.4` → `10-4`).
/// [docs/cml.md 1, cisco]
pub fn version_id(version: &str) -> String {
    version.to_ascii_lowercase().replace(['~', '.', '+', ':'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_become_ids_by_ciscos_rule() {
        assert_eq!(version_id("10.4"), "10-4");
        assert_eq!(version_id("1:2.0~RC1+dfsg"), "1-2-0-rc1-dfsg");
    }

    #[test]
    fn paths_stay_inside() {
        assert!(InnerPath::try_from("rootfs/start.sh".to_owned()).is_ok());
        for outside in ["", "/etc/passwd", "../x", "a/../../b", "a\\b"] {
            assert!(InnerPath::try_from(outside.to_owned()).is_err(), "{outside}");
        }
    }
}
