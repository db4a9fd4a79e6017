//! What must not be replaced or removed without `--force`.

use anyhow::{Result, ensure};

use crate::api::controller::Controller;
use crate::api::labs::{Use, is_certain};
use crate::bundle::means_the_same;
use crate::{Definition, InstallRecord, Kind};

/// What would be done to a definition.
#[derive(Clone, Copy, Debug)]
pub enum Deed<'a> {
    /// With what that would change.
    Replace(&'a [String]),
    /// CML refuses to delete what is in use, so `--force` does not help.
    Remove,
}

/// Fails if a node of a lab uses this.
pub async fn check_unused(controller: &Controller<'_>, what: Use<'_>, deed: Deed<'_>, force: bool) -> Result<()> {
    let nodes = if force { Vec::new() } else { controller.nodes_with(what).await? };
    let more = if nodes.len() > 5 { format!(", and {} more", nodes.len() - 5) } else { String::new() };
    let is = if nodes.iter().any(|node| is_certain(node)) { "is" } else { "may be" };
    let changes = match deed {
        Deed::Replace(changes) if !changes.is_empty() => format!("\nThis would change: {}", changes.join("; ")),
        _ => String::new(),
    };
    let advice = match deed {
        Deed::Replace(_) => ", or pass --force to replace it under them, if CML allows that",
        Deed::Remove => "; CML does not remove what is in use",
    };
    ensure!(
        nodes.is_empty(),
        "{} {is} in use on {}: {}{more}{changes}\n\
         Remove these nodes from their labs first{advice}",
        what.id(),
        controller.address,
        text::printable_line(&nodes[..nodes.len().min(5)].join(", "))
    );
    Ok(())
}

/// Which other versions a node definition serves, besides the one with this image definition; nothing if none.
pub async fn other_versions(controller: &Controller<'_>, node_id: &str, id: &str) -> Result<Option<String>> {
    let images = controller.images_of(node_id).await?.into_iter();
    let others: Vec<String> = images.filter(|image| image != id).collect();
    let (node, list) = (text::printable_line(node_id), text::printable_line(&others.join(", ")));
    Ok((!others.is_empty()).then(|| format!("the node definition {node} also serves {list}")))
}

/// Fails if a definition is read-only, unless this machine installed it so and nobody has changed it since.
pub fn check_writable(
    controller: &Controller<'_>,
    kind: Kind,
    id: &str,
    theirs: &Definition,
    record: &InstallRecord,
    force: bool,
) -> Result<()> {
    let installed = record.installed.as_ref().and_then(|installed| installed.definition(kind));
    let is_ours = means_the_same(Some(theirs), installed);
    let why = match installed {
        None => "was not installed from this machine".to_owned(),
        Some(installed) => {
            let changed = text::printable_line(&theirs.differences(installed).join(", "));
            format!("has changed since this machine installed it: {changed}")
        }
    };
    ensure!(
        force || is_ours || !theirs.is_read_only(kind),
        "the {kind} {id} on {} is read-only, and {why}; --force replaces or removes it",
        controller.address
    );
    Ok(())
}
