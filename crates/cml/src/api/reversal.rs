//! Removes a node from a controller, or restores what it replaced.

use anyhow::{Context, Result, bail, ensure};

use crate::api::controller::Controller;
use crate::api::guards::{check_unused, check_writable};
use crate::{InstallRecord, InstallState, Kind, NodeReport, Options, Reversal, Standing};

pub async fn reverse(
    controller: &Controller<'_>,
    reversal: Reversal,
    id: &str,
    options: Options,
) -> Result<NodeReport> {
    match reversal {
        Reversal::Remove => remove(controller, id, options).await,
        Reversal::Rollback => rollback(controller, id, options).await,
    }
}

/// Removes both definitions, and with them the archive.
async fn remove(controller: &Controller<'_>, id: &str, options: Options) -> Result<NodeReport> {
    let standing = controller.standing(id).await?;
    let mut record = InstallRecord::open(&controller.access.state_folder, &controller.address, id);
    let archive = format!("{id}.tar.gz");
    let is_uploaded = record.uploaded.is_some() && controller.drop_folder().await?.contains(&archive);
    if standing.is_absent() && !is_uploaded {
        return Ok(NodeReport::new(id, InstallState::Absent));
    }
    check_removable(controller, id, &standing, &record, options.force).await?;
    if options.dry_run {
        return Ok(NodeReport::dry_run(id, Reversal::Remove));
    }
    // Ctrl-C waits for the end: the node must not be left half removed.
    let _hold = controller.access.ui.interrupt().hold();
    // The image definition first, because it names the node definition.
    for kind in [Kind::Image, Kind::Node] {
        controller.delete_definition(kind, id).await?;
    }
    if is_uploaded {
        controller.remove_from_drop_folder(&archive).await?;
    }
    record.replacing = Some(standing);
    record.finish(Standing::default())?;
    Ok(NodeReport::new(id, InstallState::Removed))
}

async fn check_removable(
    controller: &Controller<'_>,
    id: &str,
    standing: &Standing,
    record: &InstallRecord,
    force: bool,
) -> Result<()> {
    check_unused(controller, id, force && standing.node.is_none()).await?;
    for kind in [Kind::Image, Kind::Node] {
        if let Some(there) = standing.definition(kind) {
            check_writable(controller, kind, id, there, record, force)?;
        }
    }
    if standing.node.is_some() {
        // The controller would refuse to delete the node definition, but only after our image definition is gone.
        let others: Vec<String> = controller.images_of(id).await?.into_iter().filter(|image| image != id).collect();
        ensure!(
            others.is_empty(),
            "other image definitions on {} belong to the node definition {id}: {}; remove them first",
            controller.address,
            text::printable_line(&others.join(", "))
        );
    }
    Ok(())
}

/// Restores what this machine's last installation replaced.
async fn rollback(controller: &Controller<'_>, id: &str, options: Options) -> Result<NodeReport> {
    let at = &controller.address;
    let mut record = InstallRecord::open(&controller.access.state_folder, at, id);
    let standing = controller.standing(id).await?;
    let before = record.replaced.clone().with_context(|| {
        format!(
            "this machine has no record of what {id} replaced on {at}; \
             installations by `--via ssh` keep it on the server"
        )
    })?;
    let is_as_installed = record.installed.as_ref().is_some_and(|installed| standing.is_between(installed, &before));
    ensure!(
        is_as_installed || options.force,
        "{id} on {at} has changed since this machine installed it; --force rolls it back anyway"
    );
    let Some(image) = &before.image else {
        if before.node.is_none() {
            let report = remove(controller, id, options).await?;
            return Ok(NodeReport { state: InstallState::RolledBack, ..report });
        }
        bail!("{id} had no image definition on {at} before; to remove the node: `cargo xtask cml remove {id}`")
    };
    ensure!(
        standing.has_archive_of(image),
        "the API does not return archives, so the earlier version of {id} on {at} cannot be restored; \
         save and upload that version again, or install by `--via ssh`, which keeps what it replaces"
    );
    if !options.dry_run {
        let _hold = controller.access.ui.interrupt().hold();
        restore(controller, id, &standing, &before).await?;
        record.replacing = Some(standing);
        record.finish(controller.standing(id).await?)?;
    }
    Ok(NodeReport::new(id, InstallState::RolledBack))
}

async fn restore(controller: &Controller<'_>, id: &str, standing: &Standing, before: &Standing) -> Result<()> {
    for kind in Kind::BOTH {
        let (Some(definition), there) = (before.definition(kind), standing.definition(kind)) else { continue };
        if there.is_some_and(|there| there.is_read_only(kind)) {
            controller.set_read_only(kind, id, false).await?;
        }
        controller.write_definition(kind, id, definition, there.is_some()).await?;
    }
    Ok(())
}
