//! What must not be replaced or removed without `--force`.

use anyhow::{Result, ensure};

use crate::api::controller::Controller;
use crate::api::labs::Use;
use crate::bundle::means_the_same;
use crate::{Definition, InstallRecord, Kind};

pub async fn check_unused(controller: &Controller<'_>, what: Use<'_>, force: bool) -> Result<()> {
    let nodes = if force { Vec::new() } else { controller.nodes_with(what).await? };
    let more = if nodes.len() > 5 { format!(", and {} more", nodes.len() - 5) } else { String::new() };
    ensure!(
        nodes.is_empty(),
        "{} is in use on {}: {}{more}\n\
         Remove these nodes from their labs first, or pass --force to replace it under them, if CML allows that",
        what.id(),
        controller.address,
        text::printable_line(&nodes[..nodes.len().min(5)].join(", "))
    );
    Ok(())
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
    ensure!(
        force || is_ours || !theirs.is_read_only(kind),
        "the {kind} {id} on {} is read-only, and was not installed from this machine; --force replaces or removes it",
        controller.address
    );
    Ok(())
}
