//! The definitions of a variant as its manifest alone describes them, without a plan of its build.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::dist;
use catalog::Names;
use catalog::{Manifest, Repository, Variant};
use definitions::{self, Definitions, Facts};
use digests::Digest;

/// # Errors
/// If a name or a template is wrong.
pub(crate) fn render(
    repository: &Repository,
    node: &Manifest,
    variant: &Variant,
    switches: &BTreeMap<String, bool>,
    image_id: &Digest,
) -> Result<Definitions> {
    let names = Names::of(node, variant, &variant.version)?;
    let template = |named: Option<&str>, default: &str| named.unwrap_or(default).to_owned();
    let facts = Facts {
        id: &names.id,
        image: &names.image,
        image_id,
        archive: &dist::archive_name(&names.id),
        node: node.node.as_str(),
        variant: variant.name.as_str(),
        version: &variant.version,
        label: &names.label,
        title: &node.title,
        description: &node.description,
        switches,
    };
    definitions::render(
        &repository.root,
        &template(node.node_definition.as_ref().map(|path| path.as_str()), &format!("{}.yaml", node.node)),
        &template(node.image_definition.as_ref().map(|path| path.as_str()), "container.yaml"),
        &facts,
    )
}
