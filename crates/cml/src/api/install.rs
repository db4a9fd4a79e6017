//! Installs a node by the API: no root, no restart.
//!
//! The controller has no transactions, so every step that changes something is logged, and undone if a later one fails.
//! The archive takes the time, so that what the controller may refuse is tried before it is sent: the node definition
//! is written, and the image definition that is there is made writable. The new image definition, which puts the
//! archive to use, comes last.

use std::time::Instant;

use anyhow::{Result, ensure};
use indicatif::ProgressBar;

use crate::api::controller::Controller;
use crate::api::guards::{Deed, check_unused, check_writable, other_versions};
use crate::api::labs::Use;
use crate::api::refusal::{is_forbidden, is_rejection};
use crate::api::undo::{Change, Undo, undo};
use crate::bundle::{check_installed, means_the_same};
use crate::known::MadeFrom;
use crate::space;
use crate::{Access, Bundle, Definition, Forms, InstallRecord, InstallState, Kind, NodeReport, Options, Standing};
use ui::interrupt::Interrupted;

struct Installation<'a> {
    controller: &'a Controller<'a>,
    bundle: &'a Bundle,
    options: Options,
    record: InstallRecord,
    /// An earlier run of this machine was interrupted.
    resumes: bool,
    /// How to undo the steps that were taken, the last one at the end.
    steps: Vec<Undo>,
    /// The old archive is gone, so that there is only the way forward.
    is_past_return: bool,
    /// A file in the drop folder that had to go; nothing brings it back.
    removed: Option<String>,
    report: NodeReport,
}

/// Makes the controller have exactly this node, in the form that suits it. On failure the steps of this run are undone,
/// and the error says so.
pub async fn install(controller: &Controller<'_>, forms: &Forms, options: Options) -> Result<NodeReport> {
    controller.check_usable()?;
    let (bundle, standing) = suiting(controller, forms).await?;
    bundle.check_form(&controller.address, &controller.version, standing.image.as_ref())?;
    let (access, id) = (controller.access, &bundle.id);
    let mut details = standing.differences(bundle);
    if bundle.is_shared() && standing.node.as_ref().is_some_and(|node| !is_as_wanted(node, bundle)) {
        details.extend(other_versions(controller, &bundle.node_id, id).await?);
    }
    let mut record = InstallRecord::open(&access.state_folder, &controller.address, id)?;
    let resumes = record.replacing.is_some();
    if details.is_empty() {
        if resumes {
            // An earlier run was interrupted after its last step, but before it recorded that.
            record.finish(standing)?;
        } else if record.installed.is_some() && record.made_from.is_none() {
            // An older version of this program has installed it.
            record.made_from = Some(MadeFrom::of(bundle));
            record.write()?;
        }
        return Ok(NodeReport::new(id, InstallState::Same));
    }
    let report = NodeReport::new(id, InstallState::WouldInstall).with(details);
    let steps = Vec::new();
    let mut installation = Installation {
        controller,
        bundle,
        options,
        record,
        resumes,
        steps,
        is_past_return: false,
        removed: None,
        report,
    };
    installation.check(&standing).await?;
    if options.dry_run {
        return Ok(installation.report);
    }
    // From here on Ctrl-C does not end this program at once: the steps are undone first.
    let _hold = access.ui.interrupt().hold();
    let result = installation.run(&standing).await;
    match result {
        Ok(now) => {
            installation.record.finish(now)?;
            Ok(NodeReport { state: InstallState::Installed, ..installation.report })
        }
        Err(error) => Err(installation.undo(&standing, error).await),
    }
}

pub async fn status(controller: &Controller<'_>, forms: &Forms) -> Result<NodeReport> {
    let (bundle, standing) = suiting(controller, forms).await?;
    // A node definition that other versions brought along is no sign of this one.
    let is_absent = standing.image.is_none() && (standing.node.is_none() || bundle.is_shared());
    Ok(NodeReport::compare(&bundle.id, is_absent, standing.differences(bundle)))
}

/// The form for this controller, and what it has of it.
async fn suiting<'a>(controller: &Controller<'_>, forms: &'a Forms) -> Result<(&'a Bundle, Standing)> {
    let image = controller.definition(Kind::Image, forms.id()).await?;
    let bundle = forms.suiting(Some(&controller.version), image.as_ref());
    let node = controller.definition(Kind::Node, &bundle.node_id).await?;
    Ok((bundle, Standing { node, image }))
}

fn is_as_wanted(node: &Definition, bundle: &Bundle) -> bool {
    means_the_same(Some(node), Some(&bundle.node_definition))
}

impl Installation<'_> {
    /// Finds everything that can be known to fail, before anything changes.
    async fn check(&self, standing: &Standing) -> Result<()> {
        let (controller, id, force) = (self.controller, &self.bundle.id, self.options.force);
        for kind in Kind::BOTH {
            if let Some(theirs) = standing.definition(kind).filter(|_| self.is_different(kind, standing)) {
                let node = self.bundle.node_id.as_str();
                let is_one_of_many = self.bundle.is_shared() && kind == Kind::Image;
                let what = if is_one_of_many { Use::Image { id, node } } else { Use::Node(node) };
                check_unused(controller, what, Deed::Replace(&self.report.details), force).await?;
                check_writable(controller, kind, self.bundle.id_of(kind), theirs, &self.record, force)?;
            }
        }
        if !self.has_archive(standing) {
            let needed = space::by_api(self.bundle.archive.size);
            if let Some(free) = controller.free_space().await? {
                space::check(&controller.address, "the controller's disk", free, id, needed)?;
            }
        }
        Ok(())
    }

    /// Installs; returns what the controller has then. Ctrl-C is obeyed between the steps and while the archive is
    /// sent. The answer to a definition is waited for: the controller may accept it even if this program does not wait.
    async fn run(&mut self, standing: &Standing) -> Result<Standing> {
        self.record.replacing.get_or_insert_with(|| standing.clone());
        self.record.made_from = Some(MadeFrom::of(self.bundle));
        self.record.write()?;
        // In the order that CML's own client documents.
        self.write(Kind::Node, standing).await?;
        self.send_archive(standing).await?;
        self.check_uploaded(standing).await?;
        self.write_node_again().await?;
        self.write(Kind::Image, standing).await?;
        self.check_archive_moved(standing).await?;
        let now = self.now_as_read_only_as_wanted().await?;
        check_installed(&self.controller.address, &self.bundle.id, &now.differences(self.bundle))?;
        Ok(now)
    }

    /// Undoes what [`run`](Self::run) did until this error.
    async fn undo(self, before: &Standing, error: anyhow::Error) -> anyhow::Error {
        let Self { controller, bundle, mut record, steps, is_past_return, removed, .. } = self;
        let wanted =
            Standing { node: Some(bundle.node_definition.clone()), image: Some(bundle.image_definition.clone()) };
        let also = removed.map_or_else(String::new, |name| format!("{name} was removed from the drop folder before"));
        let (id, node_id, archive) = (bundle.id.as_str(), bundle.node_id.as_str(), bundle.archive.name.as_str());
        let change = Change { controller, id, node_id, archive, before, wanted: &wanted, is_past_return, also };
        let is_interrupted = error.is::<Interrupted>();
        let result = undo(steps, &change, &mut record, error).await;
        if is_interrupted {
            controller.access.ui.note(format_args!("{result:#}"));
            return Interrupted.into();
        }
        result
    }

    /// What the controller has after the last step. CML has `read_only` in a call of its own, too, so that what was
    /// written may not have set it.
    async fn now_as_read_only_as_wanted(&self) -> Result<Standing> {
        let (controller, bundle) = (self.controller, self.bundle);
        let mut now = controller.standing(&bundle.id, &bundle.node_id).await?;
        for kind in Kind::BOTH {
            let is_open = now.definition(kind).is_some_and(|there| !there.is_read_only(kind));
            if is_open && bundle.definition(kind).is_read_only(kind) {
                controller.set_read_only(kind, bundle.id_of(kind), true).await?;
                now = controller.standing(&bundle.id, &bundle.node_id).await?;
            }
        }
        Ok(now)
    }

    fn check_interrupt(&self) -> Result<()> {
        if self.controller.access.ui.interrupt().is_asked() { Err(Interrupted.into()) } else { Ok(()) }
    }

    fn is_different(&self, kind: Kind, standing: &Standing) -> bool {
        !means_the_same(Some(self.bundle.definition(kind)), standing.definition(kind))
    }

    fn has_archive(&self, standing: &Standing) -> bool {
        standing.has_archive_of(&self.bundle.image_definition)
    }

    /// Creates or replaces a definition, unless the controller has it already.
    async fn write(&mut self, kind: Kind, standing: &Standing) -> Result<()> {
        if !self.is_different(kind, standing) {
            return Ok(());
        }
        self.check_interrupt()?;
        let (controller, id) = (self.controller, self.bundle.id_of(kind));
        let theirs = standing.definition(kind);
        match theirs {
            Some(theirs) => {
                self.unlock(kind, theirs).await?;
                self.steps.push(Undo::Restore(kind, theirs.clone()));
            }
            None => self.steps.push(Undo::Delete(kind)),
        }
        controller.write_definition(kind, id, self.bundle.definition(kind), theirs.is_some()).await
    }

    /// Makes a definition one that can be replaced.
    async fn unlock(&mut self, kind: Kind, theirs: &Definition) -> Result<()> {
        if !theirs.is_read_only(kind) {
            return Ok(());
        }
        if !self.steps.iter().any(|step| matches!(step, Undo::SetReadOnly(of) if *of == kind)) {
            self.steps.push(Undo::SetReadOnly(kind));
        }
        self.controller.set_read_only(kind, self.bundle.id_of(kind), false).await
    }

    /// Finds out whether the controller can change the image definition that is there, without changing what it says:
    /// it is made writable, even if it is that. The new text cannot be tried, since its archive is not there yet; and
    /// the old one must not be written, since another upload may have replaced it since it was read.
    async fn try_image_definition(&mut self, standing: &Standing) -> Result<()> {
        let Some(theirs) = &standing.image else { return Ok(()) };
        self.check_interrupt()?;
        if theirs.is_read_only(Kind::Image) {
            return self.unlock(Kind::Image, theirs).await;
        }
        match self.controller.set_read_only(Kind::Image, &self.bundle.id, false).await {
            // The request itself was not understood: that tells nothing about the definition.
            Err(error) if is_rejection(&error) && !is_forbidden(&error) => Ok(()),
            done => done,
        }
    }

    /// Writes the node definition again if another upload has replaced it while the archive was sent. From now on the
    /// archive in the drop folder keeps others away.
    async fn write_node_again(&mut self) -> Result<()> {
        let (controller, ours) = (self.controller, &self.bundle.node_definition);
        let there = controller.definition(Kind::Node, &self.bundle.node_id).await?;
        if means_the_same(Some(ours), there.as_ref()) {
            return Ok(());
        }
        if let Some(there) = there.as_ref() {
            self.unlock(Kind::Node, there).await?;
        }
        controller.write_definition(Kind::Node, &self.bundle.node_id, ours, there.is_some()).await
    }

    /// Sends the archive to the drop folder, unless it is there or installed already.
    async fn send_archive(&mut self, standing: &Standing) -> Result<()> {
        if self.has_archive(standing) {
            return Ok(());
        }
        let is_uploaded = self.is_uploaded_already().await?;
        if !is_uploaded {
            self.try_image_definition(standing).await?;
        }
        self.check_interrupt()?;
        self.steps.push(Undo::RemoveUpload);
        if is_uploaded {
            return Ok(());
        }
        let (archive, access) = (&self.bundle.archive, self.controller.access);
        let since = Instant::now();
        let progress = access.counter_of(archive, &self.controller.address);
        let sent = tokio::select! {
            sent = self.controller.upload(archive, &progress) => sent,
            () = interrupted_while_sending(archive.size, &progress, access) => Err(Interrupted.into()),
        };
        progress.finish_and_clear();
        if sent.as_ref().is_err_and(is_rejection) {
            // A controller that rejected the file has not stored it: a file of that name is not ours.
            self.steps.retain(|step| !matches!(step, Undo::RemoveUpload));
        }
        sent?;
        self.report.count_sent(archive.size, since.elapsed());
        self.record.uploaded = Some(archive.digest.clone());
        self.record.write()
    }

    /// Whether the drop folder has our archive. Another file of that name is removed if this machine uploaded it.
    async fn is_uploaded_already(&mut self) -> Result<bool> {
        let (archive, controller) = (&self.bundle.archive, self.controller);
        let (at, name) = (&controller.address, &archive.name);
        if !controller.drop_folder().await?.contains(name) {
            return Ok(false);
        }
        if self.record.uploaded.as_ref() == Some(&archive.digest) {
            controller.access.ui.note(format_args!("{at}: {name} is in the drop folder already"));
            return Ok(true);
        }
        // The API does not say what is in a file: one that this machine did not upload may be somebody else's.
        ensure!(
            self.resumes || self.options.force,
            "{at}: the drop folder already has a file {name}, which was not uploaded from this machine: \
             another upload of it is under way, or was interrupted. If none is under way, --force replaces the file"
        );
        controller.access.ui.note(format_args!("{at}: replacing {name} in the drop folder"));
        controller.remove_from_drop_folder(name).await?;
        self.removed = Some(name.clone());
        Ok(false)
    }

    /// Fails if the archive is gone: another upload has used or removed it, and the new image definition would be
    /// registered with an archive that is not its own.
    async fn check_uploaded(&self, standing: &Standing) -> Result<()> {
        let (controller, name) = (self.controller, &self.bundle.archive.name);
        ensure!(
            self.has_archive(standing) || controller.drop_folder().await?.contains(name),
            "{}: {name} has gone from the drop folder: another user or program used or removed it in the meantime",
            controller.address
        );
        Ok(())
    }

    /// Registering an image definition moves its file out of the drop folder. If the file is still there after a
    /// replacement, this controller takes files only for new definitions.
    async fn check_archive_moved(&mut self, standing: &Standing) -> Result<()> {
        if self.has_archive(standing) {
            return Ok(());
        }
        let (controller, id) = (self.controller, self.bundle.id.as_str());
        if !controller.drop_folder().await?.contains(&self.bundle.archive.name) {
            if standing.image.is_some() {
                self.is_past_return = true;
            }
            return Ok(());
        }
        ensure!(
            self.options.force,
            "{} does not accept another archive for the existing image definition {id}; \
             --force deletes the definition and creates it again",
            controller.address
        );
        controller.delete_definition(Kind::Image, id).await?;
        self.is_past_return = true;
        controller.write_definition(Kind::Image, id, &self.bundle.image_definition, false).await
    }
}

/// Ends at Ctrl-C while the archive is sent. Once it is sent completely this does not end: the answer is waited for,
/// since the controller may accept the file even if this program does not wait.
async fn interrupted_while_sending(size: u64, progress: &ProgressBar, access: &Access) {
    access.ui.interrupt().asked().await;
    if progress.position() > size {
        std::future::pending::<()>().await;
    }
}
