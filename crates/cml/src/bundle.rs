//! What is installed on a server: three files that agree. [docs/cml.md 1]

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::archive_file::ArchiveFile;
use definitions::compare;
use digests::Digest;

/// The three artefacts of a node, as `save` left them.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Of both definitions.
    pub id: String,
    /// The node of this repository.
    pub node: String,
    pub node_definition: Definition,
    pub image_definition: Definition,
    pub archive: ArchiveFile,
    /// The digest of the image's configuration: what CML compares.
    pub image_id: Digest,
}

impl Bundle {
    pub fn definition(&self, kind: Kind) -> &Definition {
        match kind {
            Kind::Node => &self.node_definition,
            Kind::Image => &self.image_definition,
        }
    }
}

/// The kind of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Node,
    Image,
}

impl Kind {
    pub const BOTH: [Self; 2] = [Self::Node, Self::Image];
}

/// As messages name it.
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Node => "node definition",
            Self::Image => "image definition",
        })
    }
}

/// A definition: the text that is sent and recorded, and the value that it means.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Definition {
    pub text: String,
    pub value: Value,
}

impl From<Definition> for String {
    fn from(definition: Definition) -> Self {
        definition.text
    }
}

impl TryFrom<String> for Definition {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        Self::read(text)
    }
}

impl Definition {
    pub fn read(text: String) -> Result<Self> {
        let value = compare::normal_form(&text).context("a definition is not valid YAML")?;
        Ok(Self { text, value })
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.text)
    }

    /// The paths where `theirs` means something else, such as `ui.label`. Empty if they agree.
    pub fn differences(&self, theirs: &Self) -> Vec<String> {
        compare::differences(&self.value, &theirs.value)
    }

    pub fn is_read_only(&self, kind: Kind) -> bool {
        let path = if kind == Kind::Node { "/general/read_only" } else { "/read_only" };
        self.value.pointer(path).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Whether two image definitions name the same archive with the same content.
    pub fn has_archive_of(&self, other: &Self) -> bool {
        let same = |key: &str| self.value.get(key).is_some_and(|value| other.value.get(key) == Some(value));
        same("sha256") && same("disk_image")
    }
}
