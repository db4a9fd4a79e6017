//! The typed model of CML's node definition and image definition. [docs/cml.md 3] [docs/cml.md 4]
//!
//! What CML's schema accepts is accepted here, what it refuses is refused, for every domain driver. Reading collects findings
//! instead of ending at the first, so each field of a model may be missing: it was not there, or it was wrong and was reported.

pub mod image;
pub mod node;
mod reader;
pub mod rules;
mod scalar;
#[cfg(test)]
mod tests;

use super::finding::Finding;
use super::yaml::{Map, Mark, Node};
pub use image::ImageDefinition;
pub use node::NodeDefinition;
use reader::Reader;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct At<T> {
    pub value: T,
    pub at: Mark,
}

/// A document, read as what its keys say it is.
#[derive(Debug)]
pub enum Definition {
    Node(Box<NodeDefinition>),
    Image(Box<ImageDefinition>),
    /// It has the keys of neither.
    Unknown,
}

impl Definition {
    /// The kind of a document in `--json`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Node(_) => "node_definition",
            Self::Image(_) => "image_definition",
            Self::Unknown => "unknown",
        }
    }
}

/// Reads a document and adds what is wrong with it to `findings`.
pub fn read(root: &Node, findings: &mut Vec<Finding>) -> Definition {
    let mut reader = Reader::new(findings);
    match root.map() {
        Some(map) if is_image(map) => {
            Definition::Image(Box::new(ImageDefinition::read(&mut reader, root).unwrap_or_default()))
        }
        Some(map) if is_node(map) => {
            Definition::Node(Box::new(NodeDefinition::read(&mut reader, root).unwrap_or_default()))
        }
        _ => {
            reader.report(&rules::KIND, root.at, format!("this is {}, and no definition", root.describe()), None);
            Definition::Unknown
        }
    }
}

fn is_image(map: &Map) -> bool {
    let has = |keys: &[&str]| keys.iter().any(|key| map.get(key).is_some());
    has(&["node_definition_id"]) || (!is_node(map) && has(&["disk_image", "docker_tag", "sha256"]))
}

fn is_node(map: &Map) -> bool {
    ["sim", "boot", "general", "configuration", "device", "ui", "inherited"].iter().any(|key| map.get(key).is_some())
}
