//! Undoing the steps of an installation that failed.

use anyhow::Result;

use crate::api::controller::Controller;
use crate::bundle::means_the_same;
use crate::{Bundle, Definition, InstallRecord, Kind};

pub enum Undo {
    Delete(Kind),
    Restore(Kind, Definition),
    RemoveUpload,
    SetReadOnly(Kind),
}

/// Undoes the steps that this run took, the last one first; returns the reason with what became of it.
pub async fn undo(
    mut steps: Vec<Undo>,
    controller: &Controller<'_>,
    bundle: &Bundle,
    mut record: InstallRecord,
    reason: anyhow::Error,
) -> anyhow::Error {
    if steps.is_empty() {
        return reason;
    }
    let at = &controller.address;
    let mut failed = Vec::new();
    let is_replaced = is_archive_replaced(&steps, controller, bundle).await;
    if is_replaced.as_ref().is_ok_and(|is_replaced| *is_replaced) {
        return reason.context(format!(
            "{at} has already replaced the archive of {}, so the old one cannot be restored; \
             run the same command again to complete the installation",
            bundle.id
        ));
    }
    failed.extend(is_replaced.err());
    // The new archive first: an image definition that is restored must not find it in the drop folder.
    steps.sort_by_key(|step| matches!(step, Undo::RemoveUpload));
    let mut is_upload_gone = failed.is_empty();
    while let Some(step) = steps.pop() {
        let is_upload = matches!(step, Undo::RemoveUpload);
        if matches!(step, Undo::Restore(Kind::Image, _)) && !is_upload_gone {
            continue;
        }
        if let Err(error) = undo_step(step, controller, bundle, &mut record).await {
            is_upload_gone &= !is_upload;
            failed.push(error);
        }
    }
    if !failed.is_empty() {
        let failed: Vec<String> = failed.iter().map(|error| format!("{error:#}")).collect();
        return reason.context(format!(
            "{at} could not be restored to its earlier state ({}); \
             run the same command again to complete the installation",
            failed.join("; ")
        ));
    }
    record.replacing = None;
    match record.write() {
        Ok(()) => reason.context(format!("nothing was changed on {at}: the steps of this run were undone")),
        Err(error) => error,
    }
}

/// Whether the controller moved the new archive over the old one, even if its answer was lost.
async fn is_archive_replaced(steps: &[Undo], controller: &Controller<'_>, bundle: &Bundle) -> Result<bool> {
    let is_replacement = steps.iter().any(|step| matches!(step, Undo::Restore(Kind::Image, _)));
    let is_uploaded = steps.iter().any(|step| matches!(step, Undo::RemoveUpload));
    Ok(is_replacement && is_uploaded && !controller.drop_folder().await?.contains(&bundle.archive.name))
}

async fn undo_step(step: Undo, controller: &Controller<'_>, bundle: &Bundle, record: &mut InstallRecord) -> Result<()> {
    let archive = &bundle.archive.name;
    match step {
        Undo::Delete(kind) => controller.delete_definition(kind, bundle.id_of(kind)).await,
        Undo::Restore(kind, before) => {
            let id = bundle.id_of(kind);
            if means_the_same(controller.definition(kind, id).await?.as_ref(), Some(&before)) {
                return Ok(());
            }
            controller.write_definition(kind, id, &before, true).await
        }
        // The restored text may say `false`: CML has the flag in a call of its own.
        Undo::SetReadOnly(kind) => controller.set_read_only(kind, bundle.id_of(kind), true).await,
        Undo::RemoveUpload => {
            if controller.drop_folder().await?.contains(archive) {
                controller.remove_from_drop_folder(archive).await?;
            }
            record.uploaded = None;
            Ok(())
        }
    }
}
