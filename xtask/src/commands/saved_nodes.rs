//! The nodes that are saved in dist/, as the commands on servers need them.

use anyhow::{Result, bail};

use crate::commands::session::Session;
use cml::Bundle;
use cml::ssh::doctor::Needs;
use definitions::container::Container;

/// Every node that is saved completely, with artefacts that agree.
pub fn bundles(session: &Session<'_>) -> Vec<Bundle> {
    let dist = &session.dist;
    let bundle = |id: &String| {
        let (record, archive) = (dist.record(id)?, dist.whole_archive(id)?);
        let definitions = [dist.read(&dist.node_definition(id)).ok()?, dist.read(&dist.image_definition(id)).ok()?];
        dist.bundle(id, record.node, definitions, archive, record.image_id).ok()
    };
    dist.ids().iter().filter_map(bundle).collect()
}

/// What these nodes need from a server.
pub fn needs(bundles: &[Bundle]) -> Result<Needs> {
    let mut all = Needs::default();
    for bundle in bundles {
        let container = Container::read(&bundle.node_definition.text, &bundle.id)?;
        let config = &container.config;
        all = all.and(Needs::of(&config.docker.sysctls(), !config.day0cmd.is_empty(), bundle.archive.size));
    }
    Ok(all)
}

/// The ID for the argument NODE: an ID itself, or the only one that is saved of a node.
pub fn id_of(session: &Session<'_>, node: &str) -> Result<String> {
    let ids = session.dist.ids();
    let is_of_node = |id: &&String| session.dist.record(id).is_some_and(|record| record.node == node);
    let of_node: Vec<&str> = ids.iter().filter(is_of_node).map(String::as_str).collect();
    let id = match of_node.as_slice() {
        _ if ids.iter().any(|id| id == node) => node,
        [one] => one,
        [] => node,
        several => bail!("several versions of {node} are saved here: {}; name one of them", several.join(", ")),
    };
    definitions::id::check(id).map_err(anyhow::Error::msg)?;
    Ok(id.to_owned())
}
