//! Removes a node from a controller, or restores what it replaced.
//!
//! A node definition that other versions share stays as long as one of them, or a lab, uses it.

use anyhow::{Result, bail, ensure};

use crate::api::controller::Controller;
use crate::api::guards::{Deed, check_unused, check_writable, other_versions};
use crate::api::labs::Use;
use crate::api::undo::{Change, Undo, undo};
use crate::bundle::means_the_same;
use crate::report::no_such_node;
use crate::{Definition, InstallRecord, InstallState, Kind, NodeReport, Options, Reversal, Standing};

/// Removes or restores the node whose image definition has this ID. `shared` are the IDs of the node definitions that
/// versions of the nodes here share.
pub async fn reverse(
    controller: &Controller<'_>,
    reversal: Reversal,
    id: &str,
    shared: &[String],
    options: Options,
) -> Result<NodeReport> {
    match reversal {
        Reversal::Remove => remove(controller, id, shared, options).await,
        Reversal::Rollback => rollback(controller, id, shared, options).await,
    }
}

/// What a controller has of a node, and what this machine knows of it.
pub(super) struct Installed {
    pub record: InstallRecord,
    pub standing: Standing,
    pub node_id: String,
}

impl Installed {
    pub async fn read(controller: &Controller<'_>, id: &str) -> Result<Self> {
        let record = InstallRecord::open(&controller.access.state_folder, &controller.address, id)?;
        let image = controller.definition(Kind::Image, id).await?;
        let known = [&record.replacing, &record.installed].into_iter().flatten().find_map(|known| known.image.as_ref());
        let node_id = image.as_ref().or(known).and_then(Definition::node_of_image).unwrap_or(id).to_owned();
        let node = controller.definition(Kind::Node, &node_id).await?;
        Ok(Self { record, standing: Standing { node, image }, node_id })
    }

    pub fn is_shared(&self, id: &str) -> bool {
        self.node_id != id
    }

    /// Whether the server has nothing of this version: a node definition that versions share does not count.
    pub fn is_gone(&self, id: &str) -> bool {
        self.standing.image.is_none() && (self.standing.node.is_none() || self.is_shared(id))
    }

    /// Whether a removal, or another change, has taken the image definition away and did not end.
    fn is_half_removed(&self) -> bool {
        let begun = self.record.replacing.as_ref().is_some_and(|begun| begun.image.is_some());
        begun && self.standing.image.is_none() && self.standing.node.is_some()
    }

    /// What a lab must not use if the image definition changes or goes.
    pub fn image_use<'a>(&'a self, id: &'a str) -> Use<'a> {
        if self.is_shared(id) { Use::Image { id, node: &self.node_id } } else { Use::Node(id) }
    }
}

/// Removes the image definition, and with it the archive; and the node definition, unless it serves others.
pub(super) async fn remove(
    controller: &Controller<'_>,
    id: &str,
    shared: &[String],
    options: Options,
) -> Result<NodeReport> {
    let mut there = Installed::read(controller, id).await?;
    let archive = format!("{id}.tar.gz");
    let is_uploaded = there.record.uploaded.is_some() && controller.drop_folder().await?.contains(&archive);
    // A node definition that is shared goes with the last version, not on its own.
    let is_absent = there.is_gone(id) && !there.is_half_removed();
    if is_absent && !is_uploaded {
        let is_known = options.is_known || there.record.installed.is_some() || there.record.replacing.is_some();
        if !is_known {
            bail!(no_such_node(&controller.address, id, &controller.ids().await?));
        }
        return Ok(NodeReport::new(id, InstallState::Absent));
    }
    let kept = check_removable(controller, id, &there, shared, options.force).await?;
    if options.dry_run {
        let mut report = NodeReport::dry_run(id, Reversal::Remove);
        report.details.extend(kept);
        return Ok(report);
    }
    // Ctrl-C waits for the end: the node must not be left half removed.
    let _hold = controller.access.ui.interrupt().hold();
    // The image definition first, because it names the node definition.
    controller.delete_definition(Kind::Image, id).await?;
    let node_id = Some(there.node_id.as_str()).filter(|_| kept.is_none());
    let rest = remove_rest(controller, node_id, Some(archive.as_str()).filter(|_| is_uploaded)).await;
    if !there.is_half_removed() {
        there.record.replacing = Some(there.standing);
    }
    if let Err(error) = rest {
        there.record.write()?;
        return Err(error.context(format!(
            "{id} is only half removed from {}: its image definition is gone\n\
             Run the same command again to complete the removal",
            controller.address
        )));
    }
    there.record.finish(Standing::default())?;
    Ok(NodeReport::new(id, InstallState::Removed).with(kept.into_iter().collect()))
}

/// Removes the node definition, and the archive in the drop folder, where they are to go.
async fn remove_rest(controller: &Controller<'_>, node_id: Option<&str>, archive: Option<&str>) -> Result<()> {
    if let Some(node_id) = node_id {
        controller.delete_definition(Kind::Node, node_id).await?;
    }
    match archive {
        Some(archive) => controller.remove_from_drop_folder(archive).await,
        None => Ok(()),
    }
}

/// Fails if the node must not be removed. Returns why its node definition must stay, if so.
async fn check_removable(
    controller: &Controller<'_>,
    id: &str,
    there: &Installed,
    shared: &[String],
    force: bool,
) -> Result<Option<String>> {
    let (standing, node_id) = (&there.standing, &there.node_id);
    check_unused(controller, there.image_use(id), Deed::Remove, force && standing.node.is_none()).await?;
    if let Some(image) = &standing.image {
        check_writable(controller, Kind::Image, id, image, &there.record, force)?;
    }
    let Some(node) = &standing.node else { return Ok(None) };
    let others: Vec<String> = controller.images_of(node_id).await?.into_iter().filter(|image| image != id).collect();
    let list = text::printable_line(&others.join(", "));
    if there.is_shared(id) {
        let installed = there.record.installed.as_ref().and_then(|installed| installed.node.as_ref());
        let is_ours = installed.is_some() || shared.contains(node_id);
        let why = if !others.is_empty() {
            format!("also serves {list}")
        } else if !is_ours {
            "was not installed from here".to_owned()
        } else if !controller.nodes_with(Use::Node(node_id)).await?.is_empty() {
            "is in use".to_owned()
        } else {
            check_writable(controller, Kind::Node, node_id, node, &there.record, force)?;
            return Ok(None);
        };
        return Ok(Some(format!("the node definition {} stays: it {why}", text::printable_line(node_id))));
    }
    check_writable(controller, Kind::Node, id, node, &there.record, force)?;
    // The controller would refuse to delete the node definition, but only after our image definition is gone.
    ensure!(
        others.is_empty(),
        "other image definitions on {} belong to the node definition {id}: {list}; remove them first",
        controller.address,
    );
    Ok(None)
}

/// Restores what this machine's last installation replaced.
async fn rollback(controller: &Controller<'_>, id: &str, shared: &[String], options: Options) -> Result<NodeReport> {
    let at = &controller.address;
    let there = Installed::read(controller, id).await?;
    let before = what_was_replaced(controller, id, &there, options.force)?;
    let (standing, node_id) = (&there.standing, there.node_id.as_str());
    let Some(image) = &before.image else {
        if before.node.is_none() || node_id != id {
            // What somebody has changed since is not restored.
            let installed = there.record.installed.as_ref().and_then(|installed| installed.node.as_ref());
            let is_ours = means_the_same(standing.node.as_ref(), installed);
            let before = before.node.as_ref().filter(|_| is_ours);
            return forget_version(controller, id, node_id, shared, before, options).await;
        }
        bail!("{id} had no image definition on {at} before; to remove the node: `cargo xtask cml remove {id}`")
    };
    ensure!(
        standing.has_archive_of(image),
        "the API does not return archives, so the earlier version of {id} on {at} cannot be restored; \
         save and upload that version again, or install by `--via ssh`, which keeps what it replaces"
    );
    let changes = check_restorable(controller, id, &there, &before, options.force).await?;
    if options.dry_run {
        let details = changes.iter().map(|change| format!("to be restored: {change}")).collect();
        return Ok(NodeReport::dry_run(id, Reversal::Rollback).with(details));
    }
    let _hold = controller.access.ui.interrupt().hold();
    let mut steps = Vec::new();
    let Installed { mut record, standing, node_id } = there;
    if let Err(error) = restore(controller, id, &node_id, &standing, &before, &mut steps).await {
        let archive = format!("{id}.tar.gz");
        let (archive, node_id, wanted, before) = (archive.as_str(), node_id.as_str(), &before, &standing);
        let (is_past_return, also) = (false, String::new());
        let change = Change { controller, id, node_id, archive, before, wanted, is_past_return, also };
        return Err(undo(steps, &change, &mut record, error).await);
    }
    let now = controller.standing(id, &node_id).await?;
    let is_restored = now.is_the_same_as(&before);
    record.finish_rollback(now)?;
    ensure!(is_restored, "{id} on {at} is not as it was before, although {at} accepted what was there then");
    let details = changes.iter().map(|change| format!("restored: {change}")).collect();
    Ok(NodeReport::new(id, InstallState::RolledBack).with(details))
}

/// What the last installation replaced, as far as this machine knows.
fn what_was_replaced(controller: &Controller<'_>, id: &str, there: &Installed, force: bool) -> Result<Standing> {
    let (at, Installed { record, standing, .. }) = (&controller.address, there);
    let Some(before) = record.replaced.clone() else {
        // Only a rollback leaves a record of this kind.
        ensure!(
            record.installed.is_none(),
            "nothing is left to roll back: the last installation of {id} on {at} from this machine was rolled back \
             already"
        );
        bail!(
            "this machine has no record of what {id} replaced on {at}; \
             installations by `--via ssh` keep it on the server"
        );
    };
    let installed = record.installed.clone().unwrap_or_default();
    ensure!(
        force || (record.installed.is_some() && standing.is_between(&installed, &before)),
        "{id} on {at} has changed since this machine installed it: {}; --force rolls it back anyway",
        standing.changes_since(&installed).join("; ")
    );
    Ok(before)
}

/// Fails if a lab uses what would be restored. Returns what would change, and which other versions that affects.
async fn check_restorable(
    controller: &Controller<'_>,
    id: &str,
    there: &Installed,
    before: &Standing,
    force: bool,
) -> Result<Vec<String>> {
    let (standing, node_id) = (&there.standing, there.node_id.as_str());
    let mut changes = standing.changes_since(before);
    let is_different = |kind| !means_the_same(standing.definition(kind), before.definition(kind));
    if there.is_shared(id) && is_different(Kind::Node) {
        changes.extend(other_versions(controller, node_id, id).await?);
    }
    for (kind, what) in [(Kind::Node, Use::Node(node_id)), (Kind::Image, there.image_use(id))] {
        if is_different(kind) {
            check_unused(controller, what, Deed::Replace(&changes), force).await?;
        }
    }
    Ok(changes)
}

/// Undoes the installation of a version that was not there; `node` is the node definition that others had before.
async fn forget_version(
    controller: &Controller<'_>,
    id: &str,
    node_id: &str,
    shared: &[String],
    node: Option<&Definition>,
    options: Options,
) -> Result<NodeReport> {
    let report = remove(controller, id, shared, options).await?;
    let (state, verb) = match options.dry_run {
        true => (InstallState::WouldRollBack, "to be removed"),
        false => (InstallState::RolledBack, "removed"),
    };
    let mut report = NodeReport { state, ..report };
    report.details.insert(0, format!("{verb}: it was not there before"));
    let there = controller.definition(Kind::Node, node_id).await?;
    let changed = there.as_ref().zip(node).filter(|(there, before)| !means_the_same(Some(there), Some(before)));
    if let Some((there, before)) = changed {
        let what = format!("the node definition {node_id}: {}", there.differences(before).join(", "));
        let what = text::printable_line(&what);
        let users = if options.force { Vec::new() } else { controller.nodes_with(Use::Node(node_id)).await? };
        if let Some(user) = users.first() {
            let more = if users.len() > 1 { format!(", and {} more", users.len() - 1) } else { String::new() };
            let user = text::printable_line(user);
            report.details.push(format!("not restored, since it is in use ({user}{more}): {what}"));
        } else if options.dry_run {
            report.details.push(format!("to be restored: {what}"));
        } else {
            let _hold = controller.access.ui.interrupt().hold();
            let mut steps = Vec::new();
            let restored = restore_one(controller, Kind::Node, node_id, before, Some(there), &mut steps).await;
            if let (Err(error), true) = (&restored, there.is_read_only(Kind::Node)) {
                let error = anyhow::anyhow!("{error:#}");
                return Err(controller.locked_again(Kind::Node, node_id, error).await);
            }
            restored?;
            report.details.push(format!("restored: {what}"));
        }
    }
    if !options.dry_run {
        let record = InstallRecord::open(&controller.access.state_folder, &controller.address, id)?;
        record.finish_rollback(Standing::default())?;
    }
    Ok(report)
}

/// Writes the definitions of `before` over those in `standing`, and notes how to undo that.
async fn restore(
    controller: &Controller<'_>,
    id: &str,
    node_id: &str,
    standing: &Standing,
    before: &Standing,
    steps: &mut Vec<Undo>,
) -> Result<()> {
    for (kind, id) in [(Kind::Node, node_id), (Kind::Image, id)] {
        let (Some(definition), there) = (before.definition(kind), standing.definition(kind)) else { continue };
        if !means_the_same(there, Some(definition)) {
            restore_one(controller, kind, id, definition, there, steps).await?;
        }
    }
    Ok(())
}

async fn restore_one(
    controller: &Controller<'_>,
    kind: Kind,
    id: &str,
    before: &Definition,
    there: Option<&Definition>,
    steps: &mut Vec<Undo>,
) -> Result<()> {
    if there.is_some_and(|there| there.is_read_only(kind)) {
        steps.push(Undo::SetReadOnly(kind));
        controller.set_read_only(kind, id, false).await?;
    }
    steps.push(there.map_or(Undo::Delete(kind), |there| Undo::Restore(kind, there.clone())));
    match there {
        Some(_) => controller.write_back(kind, id, before).await?,
        None => controller.write_definition(kind, id, before, false).await?,
    }
    if before.is_read_only(kind) {
        controller.set_read_only(kind, id, true).await?;
    }
    Ok(())
}
