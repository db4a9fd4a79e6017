//! A node onto a server by the API: no root, no restart.
//!
//! The controller has no transactions, so what each step changed is noted, and taken back if a later one
//! fails. The archive is what takes time and can go wrong; where a node is replaced it is sent
//! before anything else changes, and the image definition, which makes it count, comes last.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::access::Access;
use crate::api::controller::{Controller, Kind, Refused, Use};
use crate::bundle::{Bundle, Definition};
use crate::compare;
use crate::known::{Pair, Past};
use crate::progress::{Progress, with_bar};
use crate::report::{NodeReport, State};
use crate::version::OLDEST;
use ui::interrupt::Interrupted;

/// What `upload` may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub force: bool,
    pub dry_run: bool,
}

/// What stands on the controller under a node's id.
pub(super) struct Standing {
    pub(super) node: Option<Definition>,
    pub(super) image: Option<Definition>,
}

/// A step that was taken, as it is taken back.
enum Undo {
    Remove(Kind),
    Restore(Kind, String),
    RemoveDropped,
    ReadOnly(Kind),
}

/// One installation under way.
struct Work<'a> {
    access: &'a Access,
    controller: &'a Controller<'a>,
    bundle: &'a Bundle,
    options: Options,
    past: Past,
    /// An earlier run of this machine has not come to its end.
    resumes: bool,
    undo: Vec<Undo>,
    sent: u64,
    millis: u64,
}

/// # Errors
/// If the controller is too old, or still starting.
pub fn check_controller(controller: &Controller<'_>) -> Result<()> {
    let version = controller.version();
    anyhow::ensure!(
        version.is_none_or(|version| version >= OLDEST),
        "{} runs CML {}; containers need {OLDEST} or newer",
        controller.address,
        controller.version
    );
    anyhow::ensure!(
        controller.ready,
        "{} is not ready yet: CML is still starting; try again in a minute",
        controller.address
    );
    Ok(())
}

/// Makes the controller have exactly this node.
///
/// # Errors
/// If it refuses, or is lost; what this run changed has then been taken back, as far as the error does not say otherwise.
pub async fn install(
    access: &Access,
    controller: &Controller<'_>,
    bundle: &Bundle,
    options: Options,
) -> Result<NodeReport> {
    check_controller(controller)?;
    let standing = Standing::read(controller, &bundle.id).await?;
    let details = standing.differences(bundle);
    let past = Past::read(&access.memory, &controller.address, &bundle.id);
    if details.is_empty() {
        if past.begun.is_some() {
            // An earlier run was ended between its last step and its last note.
            remember_left(access, controller, &bundle.id, &standing, past)?;
        }
        return Ok(NodeReport::new(&bundle.id, State::Same));
    }
    let resumes = past.begun.is_some();
    let mut work = Work { access, controller, bundle, options, past, resumes, undo: Vec::new(), sent: 0, millis: 0 };
    work.check(&standing).await?;
    if options.dry_run {
        return Ok(NodeReport::new(&bundle.id, State::WouldInstall).with(details));
    }
    // From here on Ctrl-C does not just end us: what was done is taken back first.
    let _unfinished = access.ui.interrupt().hold();
    match work.install(&standing).await {
        Ok(now) => {
            let report =
                NodeReport { sent: work.sent, millis: work.millis, ..NodeReport::new(&bundle.id, State::Installed) };
            remember_left(access, controller, &bundle.id, &now, work.past)?;
            Ok(report.with(details))
        }
        Err(error) if error.is::<Interrupted>() => {
            let told = work.take_back(error).await;
            access.ui.note(format_args!("{told:#}"));
            Err(Interrupted.into())
        }
        Err(error) => Err(work.take_back(error).await),
    }
}

/// How the controller's node compares to the one here.
///
/// # Errors
/// If the controller does not answer.
pub async fn status(controller: &Controller<'_>, bundle: &Bundle) -> Result<NodeReport> {
    let standing = Standing::read(controller, &bundle.id).await?;
    let state = match standing.differences(bundle) {
        _ if standing.node.is_none() && standing.image.is_none() => State::Absent,
        differences if differences.is_empty() => State::Same,
        differences => return Ok(NodeReport::new(&bundle.id, State::Differs).with(differences)),
    };
    Ok(NodeReport::new(&bundle.id, state))
}

impl Standing {
    pub(super) async fn read(controller: &Controller<'_>, id: &str) -> Result<Self> {
        let mut both = [None, None];
        for (kind, slot) in [Kind::Node, Kind::Image].into_iter().zip(&mut both) {
            let text = controller.definition(kind, id).await?;
            let what = || format!("the {} {id} of {} can't be read", kind.name(), controller.address);
            *slot = text.map(Definition::read).transpose().with_context(what)?;
        }
        let [node, image] = both;
        Ok(Self { node, image })
    }

    /// What differs from the node here, in words. Empty if nothing does.
    fn differences(&self, bundle: &Bundle) -> Vec<String> {
        let mut found = Vec::new();
        for (kind, ours, theirs) in
            [(Kind::Node, &bundle.node_definition, &self.node), (Kind::Image, &bundle.image_definition, &self.image)]
        {
            match theirs {
                None => found.push(format!("{}: absent", kind.name())),
                Some(theirs) => {
                    let paths = compare::differences(&ours.value, &theirs.value);
                    if !paths.is_empty() {
                        found.push(format!("{}: {}", kind.name(), paths.join(", ")));
                    }
                }
            }
        }
        found
    }

    pub(super) fn pair(&self) -> Pair {
        let text = |definition: &Option<Definition>| definition.as_ref().map(|there| there.text.clone());
        Pair { node: text(&self.node), image: text(&self.image) }
    }

    /// Whether each definition is one of these two: a rollback that was cut off leaves one of each.
    pub(super) fn is_between(&self, one: &Pair, other: &Pair) -> bool {
        let node = |pair: &Pair| same_meaning(self.node.as_ref(), pair.node.as_ref());
        let image = |pair: &Pair| same_meaning(self.image.as_ref(), pair.image.as_ref());
        (node(one) || node(other)) && (image(one) || image(other))
    }
}

impl Work<'_> {
    /// Everything that can be known to fail, before anything changes.
    async fn check(&self, standing: &Standing) -> Result<()> {
        let (controller, id) = (self.controller, &self.bundle.id);
        for (kind, ours, theirs) in self.pairs(standing) {
            if let Some(theirs) = theirs.filter(|theirs| differ(ours, theirs)) {
                refuse_if_in_use(controller, id, self.options.force).await?;
                refuse_if_read_only(controller, kind, id, theirs, &self.past, self.options.force)?;
            }
        }
        if !self.has_archive(standing) {
            let free = controller.free_space().await?;
            let size = self.bundle.archive.size;
            anyhow::ensure!(
                free.is_none_or(|free| free > size),
                "{}: the disk has {} left, the archive needs {}",
                controller.address,
                text::size(free.unwrap_or_default()),
                text::size(size)
            );
        }
        Ok(())
    }

    /// Yields what stands there then. Ctrl-C is heeded between the steps, and while the archive is on its way; a definition
    /// that was sent is waited for, since the controller may take it after we have gone.
    async fn install(&mut self, standing: &Standing) -> Result<Standing> {
        let standing_pair = standing.pair();
        self.past.begun.get_or_insert(standing_pair);
        self.note_past()?;
        // A fresh node type is made in the order that CML's own client documents; a replaced one changes late.
        if standing.node.is_none() {
            self.write(Kind::Node, standing).await?;
            self.send_archive(standing).await?;
        } else {
            self.send_archive(standing).await?;
            self.write(Kind::Node, standing).await?;
        }
        self.see_it_waiting(standing).await?;
        self.write(Kind::Image, standing).await?;
        self.see_it_taken(standing).await?;
        self.read_back().await
    }

    fn heed_interrupt(&self) -> Result<()> {
        if self.access.ui.interrupt().is_asked() { Err(Interrupted.into()) } else { Ok(()) }
    }

    fn pairs<'s>(&'s self, standing: &'s Standing) -> [(Kind, &'s Definition, Option<&'s Definition>); 2] {
        [
            (Kind::Node, &self.bundle.node_definition, standing.node.as_ref()),
            (Kind::Image, &self.bundle.image_definition, standing.image.as_ref()),
        ]
    }

    /// Whether the archive of the image definition there is the one here.
    fn has_archive(&self, standing: &Standing) -> bool {
        standing.image.as_ref().is_some_and(|theirs| same_archive(&self.bundle.image_definition.value, &theirs.value))
    }

    async fn write(&mut self, kind: Kind, standing: &Standing) -> Result<()> {
        let (controller, id) = (self.controller, self.bundle.id.as_str());
        let (ours, theirs) = match kind {
            Kind::Node => (&self.bundle.node_definition, &standing.node),
            Kind::Image => (&self.bundle.image_definition, &standing.image),
        };
        match theirs {
            Some(theirs) if !differ(ours, theirs) => return Ok(()),
            _ => self.heed_interrupt()?,
        }
        match theirs {
            Some(theirs) => {
                if is_read_only(kind, &theirs.value) {
                    self.undo.push(Undo::ReadOnly(kind));
                    controller.set_read_only(kind, id, false).await?;
                }
                self.undo.push(Undo::Restore(kind, theirs.text.clone()));
            }
            None => self.undo.push(Undo::Remove(kind)),
        }
        controller.write_definition(kind, id, &ours.text, theirs.is_some()).await
    }

    /// Sends the archive to the drop folder, unless it is there already.
    async fn send_archive(&mut self, standing: &Standing) -> Result<()> {
        if self.has_archive(standing) {
            return Ok(());
        }
        let waits = self.waits_already().await?;
        self.heed_interrupt()?;
        self.undo.push(Undo::RemoveDropped);
        if waits {
            return Ok(());
        }
        let (archive, since, progress) = (&self.bundle.archive, Instant::now(), Progress::default());
        let label = format!("{}: sending {} ({})", self.controller.address, archive.name, text::size(archive.size));
        let sending = with_bar(self.access, &label, &progress, self.controller.upload(archive, &progress));
        let sent = tokio::select! {
            sent = sending => sent,
            () = interrupted_before(archive.size, &progress, self.access) => Err(Interrupted.into()),
        };
        if sent.as_ref().is_err_and(is_refusal) {
            // Who refuses it has not taken it: what waits there under its name is not ours.
            self.undo.retain(|step| !matches!(step, Undo::RemoveDropped));
        }
        sent?;
        self.millis = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.sent = archive.size;
        self.past.waiting = Some(archive.digest.clone());
        self.note_past()
    }

    /// Whether the drop folder holds our archive. Another file of that name is removed if this machine put it there.
    async fn waits_already(&self) -> Result<bool> {
        let (archive, controller) = (&self.bundle.archive, self.controller);
        let (at, name) = (&controller.address, &archive.name);
        if !controller.drop_folder().await?.contains(name) {
            return Ok(false);
        }
        if self.past.waiting.as_ref() == Some(&archive.digest) {
            self.access.ui.note(format_args!("{at}: {name} is there already"));
            return Ok(true);
        }
        // The API does not tell what is in a file, so one of unknown origin can't be used, and may be on somebody's way.
        anyhow::ensure!(
            self.resumes || self.options.force,
            "{at}: {name} waits in the drop folder already, and this machine has not put it there: another upload of it is \
             under way, or was broken off. If none is under way, --force replaces the file"
        );
        self.access.ui.note(format_args!("{at}: replacing {name} in the drop folder"));
        controller.remove_dropped(name).await?;
        Ok(false)
    }

    /// Whether our archive is still there for the image definition. If another upload has taken or removed it, the new
    /// definition would stand beside an archive that is not its own.
    async fn see_it_waiting(&self, standing: &Standing) -> Result<()> {
        let (controller, name) = (self.controller, &self.bundle.archive.name);
        anyhow::ensure!(
            self.has_archive(standing) || controller.drop_folder().await?.contains(name),
            "{}: {name} has gone from the drop folder: somebody else has taken or removed it meanwhile",
            controller.address
        );
        Ok(())
    }

    /// Registering an image definition moves its file out of the drop folder. If the file still waits after a
    /// replacement, this controller takes files only for new definitions.
    async fn see_it_taken(&mut self, standing: &Standing) -> Result<()> {
        let (controller, id) = (self.controller, self.bundle.id.as_str());
        let name = &self.bundle.archive.name;
        if self.has_archive(standing) || !controller.drop_folder().await?.contains(name) {
            if !self.has_archive(standing) && standing.image.is_some() {
                // The old archive is gone: from here on, the only way is forward.
                self.undo.clear();
            }
            return Ok(());
        }
        anyhow::ensure!(
            self.options.force,
            "{} does not take another archive for the image definition {id}, which exists; with --force that is deleted and made anew",
            controller.address
        );
        take_away(controller, Kind::Image, id).await?;
        self.undo.clear();
        controller.write_definition(Kind::Image, id, &self.bundle.image_definition.text, false).await
    }

    async fn read_back(&self) -> Result<Standing> {
        let now = Standing::read(self.controller, &self.bundle.id).await.context("reading back what was installed")?;
        let differences = now.differences(self.bundle);
        anyhow::ensure!(
            differences.is_empty(),
            "{} took the definitions of {}, but gives them back different: {}",
            self.controller.address,
            self.bundle.id,
            differences.join("; ")
        );
        Ok(now)
    }

    fn note_past(&self) -> Result<()> {
        self.past.write(&self.access.memory, &self.controller.address, &self.bundle.id)
    }

    /// Takes back what this run changed, the last step first, and says so with the reason.
    async fn take_back(mut self, reason: anyhow::Error) -> anyhow::Error {
        let nothing_to_do = self.undo.is_empty();
        let mut failed = Vec::new();
        match self.has_been_taken().await {
            Ok(true) => {
                return reason.context(format!(
                    "{} has taken the new archive of {} already, so the old one can't be put back; the same command, run again, \
                     completes the installation",
                    self.controller.address, self.bundle.id
                ));
            }
            Ok(false) => {}
            Err(error) => failed.push(format!("{error:#}")),
        }
        // The new archive first: a definition that is put back must not find it in the drop folder.
        self.undo.sort_by_key(|step| matches!(step, Undo::RemoveDropped));
        let mut archive_is_out_of_the_way = failed.is_empty();
        while let Some(step) = self.undo.pop() {
            let is_archive = matches!(step, Undo::RemoveDropped);
            if matches!(step, Undo::Restore(Kind::Image, _)) && !archive_is_out_of_the_way {
                continue;
            }
            if let Err(error) = self.take_back_step(step).await {
                archive_is_out_of_the_way &= !is_archive;
                failed.push(format!("{error:#}"));
            }
        }
        let at = &self.controller.address;
        if !failed.is_empty() {
            let failed = failed.join("; ");
            return reason.context(format!(
                "{at} could not be brought back to what it was ({failed}); the same command, run again, completes the installation"
            ));
        }
        if nothing_to_do {
            return reason;
        }
        self.past.begun = None;
        match self.note_past() {
            Ok(()) => reason.context(format!("nothing was changed on {at}: what this run had done is taken back")),
            Err(error) => error,
        }
    }

    /// Whether the controller moved the new archive over the old one, though its answer may have been lost.
    async fn has_been_taken(&self) -> Result<bool> {
        let replacing = self.undo.iter().any(|step| matches!(step, Undo::Restore(Kind::Image, _)));
        let sent = self.undo.iter().any(|step| matches!(step, Undo::RemoveDropped));
        Ok(replacing && sent && !self.controller.drop_folder().await?.contains(&self.bundle.archive.name))
    }

    async fn take_back_step(&mut self, step: Undo) -> Result<()> {
        let (controller, id) = (self.controller, self.bundle.id.as_str());
        match step {
            Undo::Remove(kind) => take_away(controller, kind, id).await,
            Undo::Restore(kind, text) => {
                let now = controller.definition(kind, id).await?.map(Definition::read).transpose()?;
                if same_meaning(now.as_ref(), Some(&text)) {
                    return Ok(());
                }
                controller.write_definition(kind, id, &text, true).await
            }
            // `false` in the text that was put back may have been the original's word.
            Undo::ReadOnly(kind) => controller.set_read_only(kind, id, true).await,
            Undo::RemoveDropped => {
                let name = &self.bundle.archive.name;
                if controller.drop_folder().await?.contains(name) {
                    controller.remove_dropped(name).await?;
                }
                self.past.waiting = None;
                Ok(())
            }
        }
    }
}

/// Notes what stands there now, and what stood there before, for a later rollback.
fn remember_left(access: &Access, controller: &Controller<'_>, id: &str, left: &Standing, past: Past) -> Result<()> {
    let now = Past { waiting: None, left: Some(left.pair()), replaced: past.begun.or(past.replaced), begun: None };
    now.write(&access.memory, &controller.address, id)
}

/// Ctrl-C while so many bytes are on their way. Once they are all sent the answer is waited for: the controller may take the
/// file after we have gone.
async fn interrupted_before(size: u64, progress: &Progress, access: &Access) {
    access.ui.interrupt().asked().await;
    if progress.bytes() > size {
        std::future::pending::<()>().await;
    }
}

fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| (400..500).contains(&refused.status))
}

/// Deletes a definition if it is there, read-only or not.
pub(super) async fn take_away(controller: &Controller<'_>, kind: Kind, id: &str) -> Result<()> {
    let Some(text) = controller.definition(kind, id).await? else { return Ok(()) };
    if is_read_only(kind, &Definition::read(text)?.value) {
        controller.set_read_only(kind, id, false).await?;
    }
    controller.delete_definition(kind, id).await
}

pub(super) async fn refuse_if_in_use(controller: &Controller<'_>, id: &str, force: bool) -> Result<()> {
    let uses = if force { Vec::new() } else { controller.uses(id).await? };
    anyhow::ensure!(
        uses.is_empty(),
        "{id} is in use on {}: {}\nRemove these nodes from their labs first; to replace it under them, where CML allows that: --force",
        controller.address,
        in_words(&uses)
    );
    Ok(())
}

fn in_words(uses: &[Use]) -> String {
    let mut words: Vec<String> =
        uses.iter().take(5).map(|one| format!("`{}` in the lab `{}`", one.node, one.lab)).collect();
    if uses.len() > words.len() {
        words.push(format!("and {} more", uses.len() - words.len()));
    }
    words.join(", ")
}

/// What this machine made read-only itself, and nobody has changed since, may be replaced by it.
pub(super) fn refuse_if_read_only(
    controller: &Controller<'_>,
    kind: Kind,
    id: &str,
    theirs: &Definition,
    past: &Past,
    force: bool,
) -> Result<()> {
    let left =
        past.left.as_ref().and_then(|left| if kind == Kind::Node { left.node.as_ref() } else { left.image.as_ref() });
    let ours = left.is_some() && same_meaning(Some(theirs), left);
    anyhow::ensure!(
        force || ours || !is_read_only(kind, &theirs.value),
        "the {} {id} on {} is read-only, and was not put there by this machine; --force replaces or removes it",
        kind.name(),
        controller.address
    );
    Ok(())
}

pub(super) fn is_read_only(kind: Kind, definition: &Value) -> bool {
    let place = if kind == Kind::Node { "/general/read_only" } else { "/read_only" };
    definition.pointer(place).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn same_archive(ours: &Value, theirs: &Value) -> bool {
    let same = |key: &str| ours.get(key).is_some_and(|value| theirs.get(key) == Some(value));
    same("sha256") && same("disk_image")
}

fn differ(ours: &Definition, theirs: &Definition) -> bool {
    !compare::differences(&ours.value, &theirs.value).is_empty()
}

fn same_meaning(one: Option<&Definition>, other: Option<&String>) -> bool {
    match (one, other.map(|text| compare::parse(text))) {
        (None, None) => true,
        (Some(one), Some(Ok(other))) => compare::differences(&one.value, &other).is_empty(),
        _ => false,
    }
}
