//! A node whose three artefacts are in dist/ and agree, with the list of what its image consists of.

use std::time::Instant;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::commands::args::NodeArgs;
use crate::commands::flow::built::Built;
use crate::commands::flow::inspected::{Inspected, Rendered, render};
use crate::commands::session::Session;
use crate::dist::{ArchiveRecord, archive_name};
use archive::Archive;
use catalog::BuildPlan;
use cml::Bundle;
use definitions::Definitions;
use digests::Digest;
use files::Lock;

/// The artefacts, and what they were made from.
pub struct Saved {
    pub built: Built,
    /// What is shipped: the definitions byte for byte as they are in dist/, and the archive's file.
    pub bundle: Bundle,
    /// The same for servers that need the other form, if the node has two.
    pub other: Option<Bundle>,
    /// False if there was nothing to do.
    pub written: bool,
}

impl Saved {
    /// Brings image, definitions and archive up to date.
    pub async fn up_to_date(session: &Session<'_>, args: &NodeArgs) -> Result<Self> {
        let (built, rendered) = Built::after(session, args, |plan| render(session, plan, args.recipe.form)).await?;
        let lock = session.dist.lock(session.ui).await?;
        let id = built.plan.names.id.clone();
        let record = session.dist.record(&id);
        let known = record.as_ref().filter(|record| record.engine_id == built.image.engine_id);
        // One pass over the export gives the image ID and the archive.
        let (image_id, draft) = match known {
            Some(record) => (record.image_id.clone(), None),
            None => {
                let draft = Draft::export(session, &built, None).await?;
                (draft.archive.contents.image_id.clone(), Some(draft))
            }
        };
        let inspected = Inspected::new(built, rendered, image_id)?;
        inspected.write(session, &lock, record.and_then(|record| record.archive))?;
        let draft = match (draft, session.dist.whole_archive(&id)) {
            (Some(draft), _) => draft,
            (None, Some(archive)) => {
                check_size(&inspected.built.plan, archive.size)?;
                session.ui.note(format_args!("{} is up to date", session.dist.archive(&id).display()));
                return Self::new(session, inspected, archive, false);
            }
            (None, None) => Draft::export(session, &inspected.built, Some(&inspected.image_id)).await?,
        };
        draft.publish(session, &lock, inspected)
    }

    fn new(session: &Session<'_>, inspected: Inspected, archive: ArchiveRecord, written: bool) -> Result<Self> {
        let record = inspected.record(Some(archive));
        let Inspected { built, definitions: Rendered { asked: Definitions { node, image, .. }, .. }, .. } = inspected;
        let (bundle, other) = session.dist.bundles(&built.plan.names.id, &record, [node, image])?;
        Ok(Self { built, bundle, other, written })
    }
}

/// An archive that does not have its final name yet.
struct Draft {
    file: NamedTempFile,
    archive: Archive,
    since: Instant,
}

impl Draft {
    /// Compresses the engine's export; `wanted` is the image ID that the definitions have already, if any.
    async fn export(session: &Session<'_>, built: &Built, wanted: Option<&Digest>) -> Result<Self> {
        let since = Instant::now();
        let path = session.dist.archive(&built.plan.names.id);
        let file = session.dist.draft(&path)?;
        let out = file.reopen()?;
        let bar = session.ui.byte_counter(format!("saving {}", built.plan.names.image));
        let compressed = built.export(|bytes| bar.inc(bytes), |reader| archive::compress(reader, out)).await;
        bar.finish_and_clear();
        let (archive, _) = compressed.with_context(|| format!("could not write {}", path.display()))?;
        check(&built.plan, wanted, &archive)?;
        Ok(Self { file, archive, since })
    }

    fn publish(self, session: &Session<'_>, _: &Lock, inspected: Inspected) -> Result<Saved> {
        let (dist, plan) = (&session.dist, &inspected.built.plan);
        let (id, Self { file, archive, since }) = (&plan.names.id, self);
        let sbom = list_contents(session, plan, &file, &archive)?;
        files::publish(file, &dist.archive(id))?;
        dist.write(&dist.sbom(id), &sbom)?;
        let record = dist.archive_record(id, archive.digest, archive.contents.image_id, &sbom)?;
        dist.remember(id, &inspected.record(Some(record.clone())))?;
        dist.write_sums(None)?;
        session.ui.note(format_args!(
            "saved {} ({}) as {} in {}",
            plan.names.image,
            text::size(archive.contents.size),
            text::size(archive.size),
            text::duration(since.elapsed())
        ));
        Saved::new(session, inspected, record, true)
    }
}

/// The list of what is in an archive, as `sbom` prints it.
fn list_contents(session: &Session<'_>, plan: &BuildPlan, file: &NamedTempFile, archive: &Archive) -> Result<String> {
    let system = archive::System::read(file.path(), sbom::wanted)?;
    if system.unread_layers > 0 {
        let layers = text::plural(system.unread_layers, "layer");
        session.ui.warn(format_args!("{layers} of {} could not be read: its list lacks packages", plan.names.image));
    }
    let (image_id, digest) = (&archive.contents.image_id, &archive.digest);
    let (id, tag, file) = (&plan.names.id, &plan.names.image, &archive_name(&plan.names.id));
    sbom::document(&sbom::Saved { id, tag, image_id, file, digest }, &system)
}

/// What CML would refuse, or start as something else, never gets its final name.
fn check(plan: &BuildPlan, wanted: Option<&Digest>, archive: &Archive) -> Result<()> {
    let (image, contents) = (&plan.names.image, &archive.contents);
    anyhow::ensure!(
        wanted.is_none_or(|wanted| *wanted == contents.image_id),
        "the archive of {image} contains image {}, but its definitions have {wanted:?}; run this again",
        contents.image_id
    );
    anyhow::ensure!(
        contents.tags.contains(image),
        "the archive does not have the tag {image}, which its definitions name; it has {:?}",
        contents.tags
    );
    check_size(plan, archive.size)
}

fn check_size(plan: &BuildPlan, size: u64) -> Result<()> {
    if let Some(limit) = plan.limits.archive_mb {
        anyhow::ensure!(
            size <= limit * 1_000_000,
            "the archive has {}; its manifest allows {limit} MB (limits.archive_mb)",
            text::size(size)
        );
    }
    Ok(())
}
