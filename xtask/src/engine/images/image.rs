//! What the engine knows about an image.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bollard::models::{ImageInspect, ImageSummary};
use catalog::labels;

/// The repository of images that have not passed their checks yet.
pub const CANDIDATE: &str = "cml-nodes/candidate";

/// The repository of bootstrapped bases, whose tag is the suite.
pub const BOOTSTRAPPED: &str = "cml-nodes/debian";

/// An image in the engine.
#[derive(Clone, Debug)]
pub struct Image {
    /// What the engine calls it. With the containerd image store this is *not* the ID that CML sees. (docs/cml.md, 3)
    pub engine_id: String,
    pub tags: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Bytes on the engine's disk.
    pub size: u64,
    pub architecture: String,
}

impl Image {
    /// The digest of the plan that made this image, if this project made it.
    pub fn recipe(&self) -> Option<&str> {
        self.labels.get(labels::RECIPE).map(String::as_str)
    }

    /// Whether this project made it.
    pub fn is_ours(&self) -> bool {
        self.labels.contains_key(labels::NODE) || self.labels.contains_key(labels::BASE)
    }

    /// Its tags that this project gave it. An image that a person made from ours has our labels, but none of these.
    pub fn own_tags(&self) -> Vec<&str> {
        let made = self.labels.get(labels::IMAGE);
        let is_own = |tag: &&str| {
            let name = tag.split(':').next().unwrap_or_default();
            made.is_some_and(|made| made == tag) || [CANDIDATE, BOOTSTRAPPED].contains(&name)
        };
        self.tags.iter().map(String::as_str).filter(is_own).collect()
    }

    pub(super) fn from_inspect(found: ImageInspect) -> Result<Self> {
        let config = found.config.unwrap_or_default();
        Ok(Self {
            engine_id: full_id(&found.id.context("the engine's answer has no ID for the image")?),
            tags: short_names(&found.repo_tags.unwrap_or_default()),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            size: found.size.unwrap_or_default().try_into().unwrap_or_default(),
            architecture: found.architecture.unwrap_or_default(),
        })
    }

    pub(super) fn from_summary(found: ImageSummary) -> Self {
        Self {
            engine_id: full_id(&found.id),
            tags: short_names(&found.repo_tags),
            labels: found.labels.into_iter().collect(),
            size: found.size.try_into().unwrap_or_default(),
            architecture: String::new(),
        }
    }
}

/// Podman answers with full names.
fn short_names(tags: &[String]) -> Vec<String> {
    tags.iter().map(|tag| archive::shortened(tag).to_owned()).collect()
}

/// Some answers leave out the hash algorithm.
fn full_id(id: &str) -> String {
    if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}
