//! What a server has under a node's ID.

use anyhow::Result;

use crate::bundle::{Bundle, Definition, Kind};
use crate::known::Pair;

/// Both definitions of an ID, where they exist.
#[derive(Clone, Debug)]
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

    /// The texts, as they are recorded.
    pub fn pair(&self) -> Pair {
        let text = |kind| self.definition(kind).map(|definition| definition.text.clone());
        Pair { node: text(Kind::Node), image: text(Kind::Image) }
    }

    /// Whether each definition is that of one of these pairs: an interrupted rollback leaves one of each.
    pub fn is_between(&self, one: &Pair, other: &Pair) -> bool {
        let is = |kind, pair: &Pair| means_the_same(self.definition(kind), pair.text(kind));
        Kind::BOTH.into_iter().all(|kind| is(kind, one) || is(kind, other))
    }
}

/// Whether a definition means what a recorded text means; also if both are absent.
pub fn means_the_same(definition: Option<&Definition>, text: Option<&str>) -> bool {
    match (definition, text.map(|text| Definition::read(text.to_owned()))) {
        (None, None) => true,
        (Some(definition), Some(Ok(other))) => definition.differences(&other).is_empty(),
        _ => false,
    }
}

/// Fails if what is there after an installation is not what was installed.
pub fn check_installed(server: impl std::fmt::Display, id: &str, differences: &[String]) -> Result<()> {
    anyhow::ensure!(
        differences.is_empty(),
        "{server}: {id} is installed, but reads back different: {}",
        differences.join("; ")
    );
    Ok(())
}
