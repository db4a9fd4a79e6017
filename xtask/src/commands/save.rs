//! `cargo xtask save`

use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::commands::args::NodeArgs;
use crate::commands::build;
use crate::commands::build::Built;
use crate::commands::inspect;
use crate::commands::inspect::Inspected;
use crate::commands::session::Session;
use crate::dist::{ArchiveRecord, Record};
use crate::engine::images::pipe;
use archive::{self, Archive};
use catalog::BuildPlan;
use digests::Digest;
use files::Lock;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    id: &'a str,
    image: &'a str,
    image_id: &'a str,
    archive: String,
    size: u64,
    sha256: &'a str,
    node_definition: String,
    image_definition: String,
    /// False if there was nothing to do.
    written: bool,
}

/// # Errors
/// If the image can't be built, exported or written.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let saved = up_to_date(session, &args.node).await?;
    report(session, &saved, args.json)
}

/// Brings image, definitions and archive up to date.
///
/// # Errors
/// As [`run`].
pub async fn up_to_date(session: &Session<'_>, args: &NodeArgs) -> Result<Saved> {
    let built = build::up_to_date_after(session, args, |plan| inspect::check_templates(session, plan)).await?;
    let lock = session.dist.lock(session.ui).await?;
    match inspect::recorded_image_id(session, &built) {
        Some(image_id) => if_need_be(session, &lock, built, image_id).await,
        None => save(session, &lock, built, None).await,
    }
}

/// The three artefacts of a node, which agree.
pub struct Saved {
    pub inspected: Inspected,
    pub archive: ArchiveRecord,
    /// False if there was nothing to do.
    written: bool,
}

/// The image was inspected or saved before: its archive may be there already.
async fn if_need_be(session: &Session<'_>, lock: &Lock, built: Built, image_id: Digest) -> Result<Saved> {
    let (id, engine, image) = (built.plan.names.id.clone(), built.engine.clone(), built.image.clone());
    let inspected = inspect::write_definitions(session, lock, built, image_id)?;
    if let Some(archive) = session.dist.whole_archive(&id) {
        session.ui.note(format_args!("{} is up to date", session.dist.archive(&id).display()));
        return Ok(Saved { inspected, archive, written: false });
    }
    let wanted = inspected.record.image_id.clone();
    save(session, lock, Built { engine, plan: inspected.plan, image }, Some(wanted)).await
}

/// Writes the archive. One pass over the engine's export compresses it and computes the image ID;
/// `wanted` is the ID that the definitions say already, if any.
async fn save(session: &Session<'_>, lock: &Lock, built: Built, wanted: Option<Digest>) -> Result<Saved> {
    let (dist, since) = (&session.dist, Instant::now());
    let (id, image) = (built.plan.names.id.clone(), built.plan.names.image.clone());
    let path = dist.archive(&id);
    let draft = dist.draft(&path)?;
    let archive = export(session, &built, draft.reopen()?)
        .await
        .with_context(|| format!("{} can't be written", path.display()))?;
    check(&built.plan, wanted.as_ref(), &archive)?;
    inspect::refuse_another_image(&built).await?;
    let inspected = inspect::write_definitions(session, lock, built, archive.contents.image_id.clone())?;
    dist.publish(draft, &path)?;
    let record = dist.archive_record(&id, archive.digest, archive.contents.image_id)?;
    dist.remember(&id, &Record { archive: Some(record.clone()), ..inspected.record.clone() })?;
    dist.write_sums()?;
    let (before, after) = (text::size(archive.contents.size), text::size(archive.size));
    session.ui.note(format_args!("saved {image} ({before}) as {after} in {}", text::duration(since.elapsed())));
    Ok(Saved { inspected, archive: record, written: true })
}

async fn export(session: &Session<'_>, built: &Built, out: std::fs::File) -> Result<Archive> {
    let image = &built.plan.names.image;
    let bar = session.ui.byte_counter(format!("saving {image}"));
    let (feeder, reader) = pipe::pipe();
    let compressing = tokio::task::spawn_blocking(move || archive::compress(reader, out));
    let sent = inspect::feed(&built.engine, image, feeder, |bytes| bar.inc(bytes)).await;
    let compressed = compressing.await.context("compressing the export");
    bar.finish_and_clear();
    sent?;
    Ok(compressed??.0)
}

/// What CML would refuse, or start as something else, never gets its final name.
fn check(plan: &BuildPlan, wanted: Option<&Digest>, archive: &Archive) -> Result<()> {
    let found = &archive.contents.image_id;
    anyhow::ensure!(
        wanted.is_none_or(|wanted| wanted == found),
        "the archive of {} holds the image {found}, but its definitions say {wanted:?}; run it again",
        plan.names.image
    );
    anyhow::ensure!(
        archive.contents.tags.contains(&plan.names.image),
        "the archive does not bear the tag {}, which the node definition names; it bears {:?}",
        plan.names.image,
        archive.contents.tags
    );
    if let Some(limit) = plan.limits.archive_mb {
        anyhow::ensure!(
            archive.size <= limit * 1_000_000,
            "the archive has {}, its manifest allows {limit} MB (limits.archive_mb)",
            text::size(archive.size)
        );
    }
    Ok(())
}

fn report(session: &Session<'_>, saved: &Saved, json: bool) -> Result<()> {
    let (plan, dist) = (&saved.inspected.plan, &session.dist);
    let id = &plan.names.id;
    let report = Report {
        id,
        image: &plan.names.image,
        image_id: saved.inspected.record.image_id.hex(),
        archive: dist.archive(id).display().to_string(),
        size: saved.archive.size,
        sha256: saved.archive.digest.hex(),
        node_definition: dist.node_definition(id).display().to_string(),
        image_definition: dist.image_definition(id).display().to_string(),
        written: saved.written,
    };
    if json {
        return session.ui.result(serde_json::to_string_pretty(&report)?);
    }
    let size = format!("{} ({} bytes)", text::size(report.size), report.size);
    for (what, value) in [
        ("archive", report.archive.as_str()),
        ("size", &size),
        ("sha256", report.sha256),
        ("image ID", report.image_id),
        ("node definition", &report.node_definition),
        ("image definition", &report.image_definition),
    ] {
        session.ui.result(format_args!("{what:<17} {value}"))?;
    }
    Ok(())
}
