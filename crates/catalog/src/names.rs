//! Names, paths and patterns in a manifest, checked as they are read, so that errors have a file, line and column.

use std::fmt;

use anyhow::{Result, anyhow};
use serde::{Deserialize, Deserializer, Serialize, de};

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
        Err(format!(
            "`{}` is not a valid name: use up to 32 of a-z, 0-9 and `-`, beginning with a letter",
            quote(&text)
        ))
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
            Err(format!("`{}` is not a path inside the folder: it must be relative and without `..`", quote(&text)))
        }
    }
}

/// The file that describes a node.
pub const MANIFEST: &str = "node.yaml";

/// The longest pattern has a fraction of these characters.
const LONGEST_PATTERN: usize = 1000;

/// In bytes, filled in.
const LARGEST_NAME: usize = 10_000;
const LARGEST_FILE: usize = 1 << 20;

/// A name or a word in the manifest with values to fill in, such as `frr:{{ version }}`; known to parse.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Pattern(String);

impl Pattern {
    /// Whether it is the empty text, which every output contains.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text itself, if there is nothing to fill in.
    pub(crate) fn literal(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.contains("{{") && !text.contains("{#"))
    }

    /// The pattern filled in. It fails if `context` lacks a variable.
    pub fn render(&self, context: &tera::Context) -> Result<String> {
        filled(&self.0, context, LARGEST_NAME)
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let length = text.chars().count();
        if length > LONGEST_PATTERN {
            let start = quote(&text);
            return Err(format!("`{start}` is the beginning of {length} characters; {LONGEST_PATTERN} are the most"));
        }
        if text.contains("{%") {
            return Err(format!("`{text}` is a pattern with a statement, `{{%`; use only `{{{{ … }}}}`"));
        }
        parses(&text)?;
        Ok(Self(text))
    }
}

/// The most characters of a name, title or reason: such a line is printed whole.
const LONGEST_LINE: usize = 500;

/// A text that is printed within a line of this program's, or as one: it must not look like another.
pub(crate) fn line(text: &str) -> Result<(), String> {
    if text::printable_line(text) == text && text.chars().nth(LONGEST_LINE).is_none() {
        return Ok(());
    }
    let shown = quote(text);
    Err(format!("`{shown}` is not one line of at most {LONGEST_LINE} characters without control characters"))
}

/// Reads such a text, or a pattern that makes one.
pub(crate) fn one_line<'de, D: Deserializer<'de>, T: TryFrom<String>>(from: D) -> Result<T, D::Error>
where
    T::Error: std::fmt::Display,
{
    let text = String::deserialize(from)?;
    line(&text).map_err(de::Error::custom)?;
    T::try_from(text).map_err(de::Error::custom)
}

/// The same, of a text that may be missing.
pub(crate) fn one_line_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    one_line(from).map(Some)
}

/// Enough of a refused text to find it.
pub(crate) fn quote(text: &str) -> String {
    text::excerpt(text, 100)
}

/// The content of a file in the manifest, a Tera template of any kind; known to parse.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Content(String);

impl Content {
    /// The content filled in. It fails if `context` lacks a variable.
    pub fn render(&self, context: &tera::Context) -> Result<String> {
        filled(&self.0, context, LARGEST_FILE)
    }
}

impl TryFrom<String> for Content {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        parses(&text)?;
        Ok(Self(text))
    }
}

fn parses(text: &str) -> Result<(), String> {
    tera::Tera::new().add_raw_template("", text).map_err(|error| {
        let why = text::excerpt(&templates::sentence(&error), LONGEST_LINE);
        format!("`{}` is not a Tera pattern: {why}", quote(text))
    })
}

fn filled(text: &str, context: &tera::Context, most: usize) -> Result<String> {
    let what = format!("{MANIFEST}, the pattern `{}`", quote(text));
    let filled = templates::watched(&what, || templates::fill(text, context, most))?;
    filled.map_err(|error| anyhow!("{what}: {}", templates::sentence(&error)))
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
    fn patterns_are_short_and_without_statements() {
        let refused = |text: &str| Pattern::try_from(text.to_owned()).unwrap_err();
        assert!(Pattern::try_from("ü".repeat(1000)).is_ok());
        assert!(refused(&"x".repeat(1001)).ends_with("is the beginning of 1001 characters; 1000 are the most"));
        let text = "a{% set a = 1 %}";
        assert!(refused(text).starts_with("`a{% set a = 1 %}` is a pattern with a statement, `{%`"));
        assert!(Content::try_from(text.repeat(1000)).is_ok());
    }

    #[test]
    fn what_patterns_become_is_limited() {
        let pattern = "{{ 'x' | replace(from='x', to='xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx') FILTERS }}";
        let pattern = pattern.replace("FILTERS", &"| replace(from='x', to='xxxxxxxxxxx')".repeat(3));
        let error = Pattern::try_from(pattern).unwrap().render(&tera::Context::new()).unwrap_err();
        assert!(error.to_string().contains("more than 10000 bytes"), "{error}");
    }

    #[test]
    fn paths_stay_inside() {
        assert!(InnerPath::try_from("rootfs/start.sh".to_owned()).is_ok());
        for outside in ["", "/etc/passwd", "../x", "a/../../b", "a\\b"] {
            assert!(InnerPath::try_from(outside.to_owned()).is_err(), "{outside}");
        }
    }
}
