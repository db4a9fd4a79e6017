//! A node whose three artefacts are in dist/ and agree.

use std::time::Instant;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::commands::args::NodeArgs;
use crate::commands::flow::built::Built;
use crate::commands::flow::definitions::render;
use crate::commands::flow::export::export;
use crate::commands::flow::inspected::{Inspected, is_of};
use crate::commands::session::Session;
use crate::dist::{self, ArchiveRecord};
use archive::Archive;
use catalog::BuildPlan;
use cml::{ArchiveFile, Bundle, Definition};
use digests::Digest;
use files::Lock;

/// The artefacts, and what they were made from.
pub struct Saved {
    pub built: Built,
    /// What is shipped: the definitions byte for byte as they are in dist/, and the archive's file.
    pub bundle: Bundle,
    /// False if there was nothing to do.
    pub written: bool,
}

impl Saved {
    /// Brings image, definitions and archive up to date.
    pub async fn up_to_date(session: &Session<'_>, args: &NodeArgs) -> Result<Self> {
        let (built, rendered) = Built::after(session, args, |plan| render(session, plan)).await?;
        let lock = session.dist.lock(session.ui).await?;
        let id = built.plan.names.id.clone();
        let (image_id, archive) = match session.dist.record(&id) {
            Some(record) if is_of(&record, &built) => (Some(record.image_id), record.archive),
            record => (None, record.and_then(|record| record.archive)),
        };
        let Some(image_id) = image_id else {
            let draft = Draft::export(session, &built, None).await?;
            let inspected = Inspected::new(built, rendered, draft.archive.contents.image_id.clone())?;
            inspected.write(session, &lock, archive)?;
            return draft.publish(session, &lock, inspected);
        };
        // The image was inspected or saved before: its archive may be there already.
        let inspected = Inspected::new(built, rendered, image_id)?;
        inspected.write(session, &lock, archive)?;
        if let Some(archive) = session.dist.whole_archive(&id) {
            session.ui.note(format_args!("{} is up to date", session.dist.archive(&id).display()));
            return Self::new(session, inspected, archive, false);
        }
        let draft = Draft::export(session, &inspected.built, Some(&inspected.image_id)).await?;
        draft.publish(session, &lock, inspected)
    }

    fn new(session: &Session<'_>, inspected: Inspected, archive: ArchiveRecord, written: bool) -> Result<Self> {
        let Inspected { built, definitions, image_id } = inspected;
        let id = &built.plan.names.id;
        let bundle = Bundle {
            id: id.clone(),
            node: built.plan.node.clone(),
            node_definition: Definition::read(definitions.node)?,
            image_definition: Definition::read(definitions.image)?,
            archive: ArchiveFile {
                path: session.dist.archive(id),
                name: dist::archive_name(id),
                size: archive.size,
                digest: archive.digest,
            },
            image_id,
        };
        Ok(Self { built, bundle, written })
    }
}

/// An archive that does not have its final name yet.
struct Draft {
    file: NamedTempFile,
    archive: Archive,
    since: Instant,
}

impl Draft {
    /// One pass over the engine's export compresses it and computes the image ID; `wanted` is the ID that the
    /// definitions have already, if any.
    async fn export(session: &Session<'_>, built: &Built, wanted: Option<&Digest>) -> Result<Self> {
        let since = Instant::now();
        let path = session.dist.archive(&built.plan.names.id);
        let file = session.dist.draft(&path)?;
        let out = file.reopen()?;
        let bar = session.ui.byte_counter(format!("saving {}", built.plan.names.image));
        let compressed = export(built, |bytes| bar.inc(bytes), |reader| archive::compress(reader, out)).await;
        bar.finish_and_clear();
        let (archive, _) = compressed.with_context(|| format!("could not write {}", path.display()))?;
        check(&built.plan, wanted, &archive)?;
        Ok(Self { file, archive, since })
    }

    fn publish(self, session: &Session<'_>, _: &Lock, inspected: Inspected) -> Result<Saved> {
        let (dist, plan) = (&session.dist, &inspected.built.plan);
        let (id, Self { file, archive, since }) = (&plan.names.id, self);
        files::publish(file, &dist.archive(id))?;
        let record = dist.archive_record(id, archive.digest, archive.contents.image_id)?;
        dist.remember(id, &inspected.record(Some(record.clone())))?;
        dist.write_sums()?;
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
        "the archive does not have the tag {image}, which the node definition names; it has {:?}",
        contents.tags
    );
    if let Some(limit) = plan.limits.archive_mb {
        anyhow::ensure!(
            archive.size <= limit * 1_000_000,
            "the archive has {}; its manifest allows {limit} MB (limits.archive_mb)",
            text::size(archive.size)
        );
    }
    Ok(())
}
