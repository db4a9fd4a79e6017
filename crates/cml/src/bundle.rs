//! What goes onto a server: three files that agree. [docs/cml.md 1]

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::compare;
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

/// A definition: the text that is sent, and what it says.
#[derive(Clone, Debug)]
pub struct Definition {
    pub text: String,
    pub value: Value,
}

/// The archive's file, which is read when it is sent.
#[derive(Clone, Debug)]
pub struct ArchiveFile {
    pub path: PathBuf,
    /// The name that the image definition gives it.
    pub name: String,
    pub size: u64,
    pub digest: Digest,
}

impl Definition {
    /// # Errors
    /// If it is no YAML.
    pub fn read(text: String) -> Result<Self> {
        let value = compare::parse(&text).context("a definition is no YAML")?;
        Ok(Self { text, value })
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.text)
    }
}
