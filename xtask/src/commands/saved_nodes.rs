//! The nodes that are saved in dist/, as the commands on servers need them.

use anyhow::{Result, bail};

use crate::commands::session::Session;
use cml::Forms;
use cml::ssh::doctor::Needs;
use definitions::container::Container;

/// Every node that is saved completely, with artefacts that agree.
pub fn all(session: &Session<'_>) -> Vec<Forms> {
    let dist = &session.dist;
    let forms = |id: &String| {
        let record = dist.record(id).filter(|_| dist.whole_archive(id).is_some())?;
        let node = dist.read(&dist.node_definition(&dist.node_id(id))).ok()?;
        let (asked, other) = dist.bundles(id, &record, [node, dist.read(&dist.image_definition(id)).ok()?]).ok()?;
        Some(Forms::new(asked, other))
    };
    dist.ids().iter().filter_map(forms).collect()
}

/// What these nodes need from a server.
pub fn needs(nodes: &[Forms]) -> Result<Needs> {
    let mut all = Needs::default();
    // What they need is the same in each form.
    for bundle in nodes.iter().map(Forms::asked) {
        let container = Container::read(&bundle.node_definition.text, &bundle.id)?;
        let config = &container.config;
        all = all.and(Needs::of(&config.docker.sysctls(), !config.day0cmd.is_empty(), bundle.archive.size));
    }
    Ok(all)
}

/// Whether a node is saved here under this ID.
pub fn is_known(session: &Session<'_>, id: &str) -> bool {
    session.dist.ids().iter().any(|saved| saved == id)
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

/// The IDs of the node definitions that versions of the nodes here share.
pub fn shared_ids(session: &Session<'_>) -> Vec<String> {
    session.repository.nodes().filter_map(|node| Some(node.shared_node.as_ref()?.id.clone())).collect()
}
