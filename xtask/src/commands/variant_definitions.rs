//! Renders the definitions of a node's variant.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::dist;
use catalog::{Manifest, Names, Repository, Variant};
use definitions::{Definitions, Facts};
use digests::Digest;

/// The definitions of a variant as its manifest alone describes them, without a plan of its build.
pub(crate) fn render(
    repository: &Repository,
    node: &Manifest,
    variant: &Variant,
    switches: &BTreeMap<String, bool>,
    image_id: &Digest,
) -> Result<Definitions> {
    let names = Names::of(node, variant, &variant.version)?;
    render_version(repository, node, &names, variant.name.as_str(), &variant.version, switches, image_id)
}

/// The definitions of a variant at some version, with the names that follow from it.
pub(crate) fn render_version(
    repository: &Repository,
    node: &Manifest,
    names: &Names,
    variant: &str,
    version: &str,
    switches: &BTreeMap<String, bool>,
    image_id: &Digest,
) -> Result<Definitions> {
    let facts = Facts {
        id: &names.id,
        image: &names.image,
        image_id,
        archive: &dist::archive_name(&names.id),
        node: node.node.as_str(),
        variant,
        version,
        label: &names.label,
        title: &node.title,
        description: &node.description,
        switches,
    };
    let image_template = node.image_definition.as_ref().map_or("container.yaml", |path| path.as_str());
    definitions::render(&repository.root, &node.node_template(), image_template, &facts)
}
