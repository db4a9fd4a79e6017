//! Renders the definitions of a node's variant.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::dist;
use catalog::{Manifest, Names, Repository, SharedNode, Variant};
use definitions::{Definitions, Facts};
use digests::Digest;

/// What decides the definitions of a node, but for the image ID.
pub(crate) struct Rendering<'a> {
    pub node: &'a Manifest,
    pub variant: &'a str,
    pub version: &'a str,
    pub names: Names,
    pub switches: &'a BTreeMap<String, bool>,
    /// The node definition that its versions share, in the form for CML 2.10.
    pub shared: Option<&'a SharedNode>,
}

/// The forms in which the definitions of a node can be rendered, that of its manifest first.
pub(crate) fn forms(node: &Manifest) -> impl Iterator<Item = Option<&SharedNode>> {
    node.shared_node.as_ref().map(Some).into_iter().chain([None])
}

impl<'a> Rendering<'a> {
    /// A variant as its manifest alone describes it, without a plan of its build.
    pub fn of(
        node: &'a Manifest,
        variant: &'a Variant,
        switches: &'a BTreeMap<String, bool>,
        shared: Option<&'a SharedNode>,
    ) -> Result<Self> {
        let names = Names::of(node, variant, &variant.version)?;
        Ok(Self { node, variant: variant.name.as_str(), version: &variant.version, names, switches, shared })
    }

    /// The ID of the node definition.
    pub fn node_id(&self) -> &str {
        self.shared.map_or(&self.names.id, |shared| &shared.id)
    }

    pub fn render(&self, repository: &Repository, image_id: &Digest) -> Result<Definitions> {
        let Self { node, names, .. } = self;
        let facts = Facts {
            id: &names.id,
            image: &names.image,
            image_id,
            archive: &dist::archive_name(&names.id),
            node: node.node.as_str(),
            variant: self.variant,
            version: self.version,
            label: &names.label,
            title: &node.title,
            description: &node.description,
            switches: self.switches,
            shared: self.shared.map(|SharedNode { id, label }| definitions::SharedNode { id, label }),
        };
        let image_template = node.image_definition.as_ref().map_or("container.yaml", |path| path.as_str());
        definitions::render(&repository.root, &node.node_template(), image_template, &facts)
    }
}
