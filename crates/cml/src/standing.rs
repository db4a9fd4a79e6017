//! What a server has under a node's ID.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, Definition, Kind};

/// Both definitions of an ID, where they exist.
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
            Some(paths) => Some(format!("{kind}: {}", paths.join(", "))),
        };
        Kind::BOTH.into_iter().filter_map(line).collect()
    }

    /// Whether the archive of the image definition there is that of this one.
    pub fn has_archive_of(&self, image: &Definition) -> bool {
        self.image.as_ref().is_some_and(|theirs| image.has_archive_of(theirs))
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
