//! The nodes that are saved in dist/, as the commands on servers need them.

use anyhow::{Result, bail};

use crate::commands::session::Session;
use cml::Forms;
use cml::ssh::doctor::Needs;
use definitions::container::Container;

/// Every node that is saved completely, with artefacts that agree. One whose definitions cannot be read is named, and
/// left out.
pub fn all(session: &Session<'_>) -> Vec<Forms> {
    let read = |id: &String| forms(session, id).transpose()?.inspect_err(|problem| warn_of(session, id, problem)).ok();
    session.dist.ids().iter().filter_map(read).collect()
}

/// Nothing, if the node is not saved completely.
fn forms(session: &Session<'_>, id: &str) -> Result<Option<Forms>> {
    let dist = &session.dist;
    let Some(record) = dist.record(id).filter(|_| dist.whole_archive(id).is_some()) else { return Ok(None) };
    let paths = [dist.node_definition(&dist.node_id(id)), dist.image_definition(id)];
    let [node, image] = paths.each_ref().map(|path| dist.read(path));
    let (asked, other) = dist.bundles(id, &record, [node?, image?])?;
    let forms = Forms::new(asked, other);
    needs_of(&forms)?;
    Ok(Some(forms))
}

fn warn_of(session: &Session<'_>, id: &str, problem: &anyhow::Error) {
    session.ui.warn(format_args!(
        "{id} is left out, because its files in {} are not as they were saved; `cargo xtask save` writes them again: \
         {problem:#}",
        session.dist.root.display()
    ));
}

/// What these nodes need from a server.
pub fn needs(nodes: &[Forms]) -> Result<Needs> {
    nodes.iter().try_fold(Needs::default(), |all, forms| Ok(all.and(needs_of(forms)?)))
}

fn needs_of(forms: &Forms) -> Result<Needs> {
    // What a node needs is the same in each form.
    let bundle = forms.asked();
    let config = Container::read(&bundle.node_definition.text, &bundle.node_id)?.config;
    Ok(Needs::of(&config.docker.sysctls(), !config.day0cmd.is_empty(), bundle.archive.size))
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
