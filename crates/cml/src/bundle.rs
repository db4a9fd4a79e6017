//! What is installed on a server, three files that agree [docs/cml.md 1], and how it compares with what is there.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::archive_file::ArchiveFile;
use definitions::compare;
use digests::Digest;

#[derive(Clone, Debug)]
pub struct Bundle {
    /// Of the image definition.
    pub id: String,
    /// Of the node definition: the same, unless other versions share it.
    pub node_id: String,
    /// The node that it was made from, and its version.
    pub node: String,
    pub version: String,
    pub node_definition: Definition,
    pub image_definition: Definition,
    pub archive: ArchiveFile,
    /// The digest of the image's configuration: what CML compares.
    pub image_id: Digest,
}

impl Bundle {
    pub fn id_of(&self, kind: Kind) -> &str {
        match kind {
            Kind::Node => &self.node_id,
            Kind::Image => &self.id,
        }
    }

    pub fn definition(&self, kind: Kind) -> &Definition {
        match kind {
            Kind::Node => &self.node_definition,
            Kind::Image => &self.image_definition,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Node,
    Image,
}

impl Kind {
    pub const BOTH: [Self; 2] = [Self::Node, Self::Image];
}

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

    /// The node definition that an image definition belongs to.
    pub fn node_of_image(&self) -> Option<&str> {
        self.value.get("node_definition_id").and_then(Value::as_str)
    }

    /// Whether two image definitions name the same archive with the same content.
    pub fn has_archive_of(&self, other: &Self) -> bool {
        let same = |key: &str| self.value.get(key).is_some_and(|value| other.value.get(key) == Some(value));
        same("sha256") && same("disk_image")
    }
}

/// Both definitions of a node, where they exist.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Standing {
    pub node: Option<Definition>,
    pub image: Option<Definition>,
}

impl Standing {
    pub fn definition(&self, kind: Kind) -> Option<&Definition> {
        match kind {
            Kind::Node => self.node.as_ref(),
            Kind::Image => self.image.as_ref(),
        }
    }

    pub fn is_absent(&self) -> bool {
        self.node.is_none() && self.image.is_none()
    }

    /// A line for each definition that differs from the one here. Empty if none does.
    pub fn differences(&self, bundle: &Bundle) -> Vec<String> {
        let line = |kind| match self.definition(kind).map(|theirs| bundle.definition(kind).differences(theirs)) {
            None => Some(format!("{kind}: absent")),
            Some(paths) if paths.is_empty() => None,
            Some(paths) => Some(format!("{kind}: {}", text::printable_line(&paths.join(", ")))),
        };
        Kind::BOTH.into_iter().filter_map(line).collect()
    }

    /// A line for each definition that means something else than in `earlier`. Empty if none does.
    pub fn changes_since(&self, earlier: &Self) -> Vec<String> {
        let line = |kind| match (self.definition(kind), earlier.definition(kind)) {
            (None, None) => None,
            (None, Some(_)) => Some(format!("{kind}: gone")),
            (Some(_), None) => Some(format!("{kind}: was not there")),
            (Some(now), Some(earlier)) => {
                let paths = now.differences(earlier);
                (!paths.is_empty()).then(|| format!("{kind}: {}", text::printable_line(&paths.join(", "))))
            }
        };
        Kind::BOTH.into_iter().filter_map(line).collect()
    }

    /// Whether the archive of the image definition there is that of this one.
    pub fn has_archive_of(&self, image: &Definition) -> bool {
        self.image.as_ref().is_some_and(|theirs| image.has_archive_of(theirs))
    }

    pub fn is_the_same_as(&self, other: &Self) -> bool {
        self.is_between(other, other)
    }

    /// Whether each definition is that of one of these two: an interrupted rollback leaves one of each.
    pub fn is_between(&self, one: &Self, other: &Self) -> bool {
        let is = |kind, of: &Self| means_the_same(self.definition(kind), of.definition(kind));
        Kind::BOTH.into_iter().all(|kind| is(kind, one) || is(kind, other))
    }
}

/// Whether two definitions mean the same; also if both are absent.
pub fn means_the_same(one: Option<&Definition>, other: Option<&Definition>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.differences(other).is_empty(),
        _ => false,
    }
}

/// Fails if what is there after an installation is not what was installed.
pub fn check_installed(server: impl std::fmt::Display, id: &str, differences: &[String]) -> Result<()> {
    anyhow::ensure!(
        differences.is_empty(),
        "{server}: after the installation {id} differs from what was sent: {}",
        differences.join("; ")
    );
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn bundle(id: &str, node_id: &str) -> Bundle {
        Bundle {
            id: id.to_owned(),
            node_id: node_id.to_owned(),
            node: "frr".to_owned(),
            version: "10.3".to_owned(),
            node_definition: Definition::read(format!("id: {node_id}\n")).unwrap(),
            image_definition: Definition::read(format!("id: {id}\nnode_definition_id: {node_id}\n")).unwrap(),
            archive: ArchiveFile {
                path: "none".into(),
                name: format!("{id}.tar.gz"),
                size: 1,
                digest: Digest::of("archive"),
            },
            image_id: Digest::of("config"),
        }
    }
}
