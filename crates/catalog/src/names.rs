//! The names a manifest may use, checked as they are read, so that a wrong one is reported with
//! its file, line and column.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A short lower-case name: of a node, a variant, a source. Safe in paths, tags and labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
        let all_well = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if starts_well && all_well && text.len() <= 32 {
            return Ok(Self(text));
        }
        Err(format!("`{text}` is no name: up to 32 of a-z, 0-9 and `-`, a letter first"))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A path inside the node's folder or a template folder: relative and without `..`.
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
        let well =
            !text.is_empty() && !text.contains('\\') && text.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if well {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is no path inside the folder: relative, without `..`"))
        }
    }
}

/// A Tera expression in the manifest, such as `frr:{{ version }}`; known to parse.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(String);

impl Pattern {
    /// Fills the pattern in.
    ///
    /// # Errors
    /// If it uses a variable that `context` has not.
    pub fn render(&self, context: &tera::Context) -> Result<String, tera::Error> {
        tera::Tera::one_off(&self.0, context, false)
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match tera::Tera::new().add_raw_template("", &text) {
            Ok(()) => Ok(Self(text)),
            Err(error) => Err(format!("`{text}` is no Tera pattern: {error}")),
        }
    }
}

/// The id that a version becomes, by Cisco's rule: lower case, and each of `~ . + :` a `-`
/// (`10.4` → `10-4`). [docs/cml.md 1, cisco]
pub fn version_id(version: &str) -> String {
    version.to_ascii_lowercase().replace(['~', '.', '+', ':'], "-")
}

/// Whether CML takes `id` as the id of a definition and it also makes a safe file name.
/// [docs/cml.md 3] allows more; what a shell or a URL would trip over is left out.
pub fn is_definition_id(id: &str) -> bool {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=250).contains(&id.len()) && !id.starts_with('.') && id.bytes().all(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_become_ids_as_cisco_does_it() {
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

    #[test]
    fn definition_ids_are_file_names_too() {
        assert!(is_definition_id("frr-10-4"));
        for wrong in ["", ".frr", "a/b", "a b", "a;b"] {
            assert!(!is_definition_id(wrong), "{wrong}");
        }
    }
}
