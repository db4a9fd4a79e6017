//! The nodes that are saved in dist/, as the commands on servers need them.

use anyhow::{Result, bail, ensure};

use crate::commands::session::Session;
use crate::dist;
use cml::ssh::doctor::Needs;
use cml::{ArchiveFile, Bundle, Definition};
use definitions::container::Container;

/// Every node that is saved completely.
pub fn bundles(session: &Session<'_>) -> Vec<Bundle> {
    session.dist.ids().iter().filter_map(|id| bundle(session, id)).collect()
}

/// The three artefacts of an ID, if they are there and agree.
fn bundle(session: &Session<'_>, id: &str) -> Option<Bundle> {
    let dist = &session.dist;
    let (record, archive) = (dist.record(id)?, dist.whole_archive(id)?);
    let read = |path| Definition::read(std::fs::read_to_string(path).ok()?).ok();
    Some(Bundle {
        id: id.to_owned(),
        node: record.node,
        node_definition: read(dist.node_definition(id))?,
        image_definition: read(dist.image_definition(id))?,
        archive: ArchiveFile {
            path: dist.archive(id),
            name: dist::archive_name(id),
            size: archive.size,
            digest: archive.digest,
        },
        image_id: record.image_id,
    })
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
    if ids.iter().any(|id| id == node) {
        return Ok(node.to_owned());
    }
    let is_of_node = |id: &&String| session.dist.record(id).is_some_and(|record| record.node == node);
    let of_node: Vec<&str> = ids.iter().filter(is_of_node).map(String::as_str).collect();
    match of_node.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => {
            let is_plain = !node.is_empty()
                && !node.starts_with(['.', '-'])
                && node.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            ensure!(is_plain, "`{}` is neither a node nor an ID", text::printable(node));
            Ok(node.to_owned())
        }
        several => bail!("several versions of {node} are saved here: {}; name one of them", several.join(", ")),
    }
}
