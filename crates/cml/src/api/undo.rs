//! Undoing the steps of a change that failed, and saying what the controller has then.

use anyhow::Result;

use crate::api::controller::Controller;
use crate::bundle::means_the_same;
use crate::{Definition, InstallRecord, Kind, Standing};

pub enum Undo {
    Delete(Kind),
    Restore(Kind, Definition),
    RemoveUpload,
    SetReadOnly(Kind),
}

/// A change of a node on a controller.
pub struct Change<'a> {
    pub controller: &'a Controller<'a>,
    /// Of the image definition, and of the node definition.
    pub id: &'a str,
    pub node_id: &'a str,
    /// The archive's name in the drop folder.
    pub archive: &'a str,
    pub before: &'a Standing,
    pub wanted: &'a Standing,
    /// Where the change has come so far that there is only the way forward.
    pub is_past_return: bool,
    /// What else this run has changed for good; empty if nothing.
    pub also: String,
}

/// Undoes the steps that this run took, the last one first; returns the reason with what became of it.
pub async fn undo(
    steps: Vec<Undo>,
    change: &Change<'_>,
    record: &mut InstallRecord,
    reason: anyhow::Error,
) -> anyhow::Error {
    if steps.is_empty() && !change.is_past_return && change.also.is_empty() {
        return reason;
    }
    let is_replaced = is_archive_replaced(&steps, change).await;
    if change.is_past_return || is_replaced.as_ref().is_ok_and(|is_replaced| *is_replaced) {
        let (at, id, now) = (&change.controller.address, change.id, change.state_now().await.0);
        return reason.context(format!(
            "{at} no longer has the earlier archive of {id}, so that nothing was undone. {now}\n\
             Run the same command again to complete the change"
        ));
    }
    let failed = undo_all(steps, change, record, is_replaced.err()).await;
    let (now, is_as_before) = change.state_now().await;
    if failed.is_empty() && is_as_before {
        return reason_with_success(change, record, reason);
    }
    let failed: Vec<String> = failed.iter().map(|error| format!("{error:#}")).collect();
    let why = if failed.is_empty() { String::new() } else { format!(" ({})", failed.join("; ")) };
    reason.context(format!(
        "{} could not be restored to its earlier state{why}. {now}\n\
         Run the same command again to complete the change",
        change.controller.address
    ))
}

/// Undoes all steps that can be undone; returns what failed, after what has failed `before`.
async fn undo_all(
    mut steps: Vec<Undo>,
    change: &Change<'_>,
    record: &mut InstallRecord,
    before: Option<anyhow::Error>,
) -> Vec<anyhow::Error> {
    let mut failed: Vec<anyhow::Error> = before.into_iter().collect();
    // The new archive first: an image definition that is restored must not find it in the drop folder.
    steps.sort_by_key(|step| matches!(step, Undo::RemoveUpload));
    let mut is_upload_gone = failed.is_empty();
    while let Some(step) = steps.pop() {
        let is_upload = matches!(step, Undo::RemoveUpload);
        if matches!(step, Undo::Restore(Kind::Image, _)) && !is_upload_gone {
            continue;
        }
        if let Err(error) = undo_step(step, change, record).await {
            is_upload_gone &= !is_upload;
            failed.push(error);
        }
    }
    failed
}

/// The reason, after everything was undone.
fn reason_with_success(change: &Change<'_>, record: &mut InstallRecord, reason: anyhow::Error) -> anyhow::Error {
    if record.replacing.as_ref().is_some_and(|begun| begun.is_the_same_as(change.before)) {
        record.replacing = None;
    }
    let kept = match &record.replacing {
        Some(_) => "; what an earlier, interrupted run has left is still there",
        None => "",
    };
    if let Err(error) = record.write() {
        return error;
    }
    let (at, also) = (&change.controller.address, &change.also);
    if also.is_empty() {
        return reason.context(format!("nothing was changed on {at}: the steps of this run were undone{kept}"));
    }
    reason.context(format!("the steps of this run on {at} were undone{kept}, but {also}"))
}

impl Change<'_> {
    fn id_of(&self, kind: Kind) -> &str {
        match kind {
            Kind::Node => self.node_id,
            Kind::Image => self.id,
        }
    }

    /// What the controller has now, as a sentence, and whether that is what it had before.
    async fn state_now(&self) -> (String, bool) {
        let at = &self.controller.address;
        let now = match self.controller.standing(self.id, self.node_id).await {
            Ok(now) => now,
            Err(error) => return (format!("What it has now could not be asked: {error:#}"), false),
        };
        let [node, image] = Kind::BOTH.map(|kind| {
            let now = now.definition(kind);
            let state = match now {
                _ if means_the_same(now, self.before.definition(kind)) => "the earlier one",
                _ if means_the_same(now, self.wanted.definition(kind)) => "the new one",
                Some(_) => "neither the earlier nor the new one",
                None => "gone",
            };
            if now.is_none() && self.before.definition(kind).is_none() {
                return format!("there is no {kind}, as before");
            }
            format!("the {kind} is {state}")
        });
        (format!("On {at} now {node}, and {image}"), now.is_the_same_as(self.before))
    }
}

/// Whether the controller moved the new archive over the old one, even if its answer was lost.
async fn is_archive_replaced(steps: &[Undo], change: &Change<'_>) -> Result<bool> {
    let is_replacement = steps.iter().any(|step| matches!(step, Undo::Restore(Kind::Image, _)));
    let is_uploaded = steps.iter().any(|step| matches!(step, Undo::RemoveUpload));
    let is_there =
        async || change.controller.drop_folder().await.map(|files| files.iter().any(|f| f == change.archive));
    Ok(is_replacement && is_uploaded && !is_there().await?)
}

async fn undo_step(step: Undo, change: &Change<'_>, record: &mut InstallRecord) -> Result<()> {
    let controller = change.controller;
    match step {
        Undo::Delete(kind) => controller.delete_definition(kind, change.id_of(kind)).await,
        Undo::Restore(kind, before) => {
            let id = change.id_of(kind);
            let there = controller.definition(kind, id).await?;
            if means_the_same(there.as_ref(), Some(&before)) {
                return Ok(());
            }
            // The new one may be read-only, whatever the old one was.
            if there.is_some_and(|there| there.is_read_only(kind)) {
                controller.set_read_only(kind, id, false).await?;
            }
            controller.write_back(kind, id, &before).await
        }
        // The restored text may say `false`: CML has the flag in a call of its own.
        Undo::SetReadOnly(kind) => controller.set_read_only(kind, change.id_of(kind), true).await,
        Undo::RemoveUpload => {
            if controller.drop_folder().await?.iter().any(|file| file == change.archive) {
                controller.remove_from_drop_folder(change.archive).await?;
            }
            record.uploaded = None;
            Ok(())
        }
    }
}
