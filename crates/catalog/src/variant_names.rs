//! The names of a variant at some version: its id, image and label.

use anyhow::{Context, Result};

use crate::manifest::{Manifest, Variant};
use crate::names::{Pattern, is_definition_id, version_id};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub id: String,
    pub image: String,
    pub label: String,
}

impl Names {
    /// Fills in the manifest's patterns; refuses names that CML or Docker would refuse.
    pub fn of(node: &Manifest, variant: &Variant, version: &str) -> Result<Self> {
        let context = tera::context! {
            node => &node.node, title => &node.title, variant => &variant.name, suffix => &variant.suffix,
            version, version_id => &version_id(version)
        };
        let fill =
            |key: &str, pattern: &Pattern| pattern.render(&context).with_context(|| format!("the pattern `{key}`"));
        let names =
            Self { id: fill("id", &node.id)?, image: fill("image", &node.image)?, label: fill("label", &node.label)? };
        anyhow::ensure!(is_definition_id(&names.id), "`id` becomes `{}`, which CML does not accept", names.id);
        anyhow::ensure!(is_tag(&names.image), "`image` becomes `{}`, which is not a NAME:TAG", names.image);
        let length = names.label.chars().count();
        let (label, fits) = (&names.label, (1..=32).contains(&length));
        anyhow::ensure!(fits, "`label` becomes `{label}`, which has {length} characters; CML accepts 1 to 32");
        Ok(names)
    }
}

/// Whether Docker accepts `image` as NAME:TAG, without a registry's host.
fn is_tag(image: &str) -> bool {
    let name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'/');
    let tag = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    image.split_once(':').is_some_and(|(left, right)| {
        !left.is_empty()
            && left.bytes().all(name)
            && (1..=128).contains(&right.len())
            && right.bytes().all(tag)
            && !right.starts_with(['.', '-'])
    })
}
