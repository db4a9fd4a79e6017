//! The typed model of CML's node definition and image definition. [docs/cml.md 3] [docs/cml.md 4]
//!
//! It accepts what CML's schema accepts and refuses what that refuses, for every domain driver. Reading collects
//! findings instead of stopping at the first, so any field of a model may be missing: it was absent, or it was wrong
//! and was reported.

pub mod image;
pub mod node;
mod reader;
pub mod rules;
mod scalar;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use serde::Serialize;

use crate::finding::Finding;
use crate::yaml::{Map, Node};
use reader::Reader;

pub use image::ImageDefinition;
pub use node::NodeDefinition;
pub use scalar::At;

/// A document, as the kind of definition that its keys identify.
#[derive(Debug, Serialize)]
#[serde(untagged)]
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

/// Returns the definition in a document, and adds its errors to `findings`.
pub fn read(root: &Arc<Node>, findings: &mut Vec<Finding>) -> Definition {
    let mut reader = Reader::new(findings);
    match root.map() {
        Some(map) if is_image(map) => {
            Definition::Image(Box::new(ImageDefinition::read(&mut reader, root).unwrap_or_default()))
        }
        Some(map) if is_node(map) => {
            Definition::Node(Box::new(NodeDefinition::read(&mut reader, root).unwrap_or_default()))
        }
        map => {
            let found = match map {
                Some(_) => "a mapping with no key of either".to_owned(),
                None => root.describe(),
            };
            let message = format!("expected a node definition or an image definition, found {found}");
            reader.report(&rules::KIND, root.at, message, None);
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
