//! `cargo xtask inspect`
//!
//! CML compares the SHA-256 of the image's configuration. What `docker inspect` prints is that on
//! some engines and a manifest's digest on others, so it is computed here, from what the engine
//! exports. [docs/cml.md 3]

use std::io;

use anyhow::{Context, Result};
use futures_util::StreamExt;

use crate::commands::args::NodeArgs;
use crate::commands::build;
use crate::commands::build::Built;
use crate::commands::lint;
use crate::commands::session::Session;
use crate::dist;
use crate::dist::Record;
use crate::engine::Engine;
use crate::engine::images::pipe;
use catalog::BuildPlan;
use definitions::{self, Facts};
use digests::Digest;
use files::Lock;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

/// An image whose ID is known and stands in both definitions.
pub struct Inspected {
    pub plan: BuildPlan,
    pub record: Record,
}

/// # Errors
/// If the image can't be built or read, or a definition not be rendered.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let built = build::up_to_date_after(session, &args.node, |plan| check_templates(session, plan)).await?;
    let image_id = match recorded_image_id(session, &built) {
        Some(image_id) => image_id,
        None => compute_image_id(session, &built).await?,
    };
    let lock = session.dist.lock(session.ui).await?;
    let inspected = write_definitions(session, &lock, built, image_id)?;
    let id = &inspected.plan.names.id;
    session.ui.note("image ID (the SHA-256 of the image's configuration, which is what CML compares):");
    session.ui.result(&inspected.record.image_id)?;
    session.ui.note(session.dist.node_definition(id).display());
    session.ui.note(session.dist.image_definition(id).display());
    Ok(())
}

/// The ID that was computed before for this very image.
pub(super) fn recorded_image_id(session: &Session<'_>, built: &Built) -> Option<Digest> {
    let record = session.dist.record(&built.plan.names.id)?;
    (record.engine_id == built.image.engine_id).then_some(record.image_id)
}

/// Renders both definitions with this image ID, and writes what has changed.
pub(super) fn write_definitions(session: &Session<'_>, _: &Lock, built: Built, image_id: Digest) -> Result<Inspected> {
    let (plan, dist) = (built.plan, &session.dist);
    let texts = render(session, &plan, &image_id)?;
    let id = &plan.names.id;
    let record = Record {
        node: plan.node.clone(),
        variant: plan.variant.clone(),
        engine_id: built.image.engine_id,
        image_id,
        archive: dist.record(id).and_then(|record| record.archive),
    };
    let files = [(dist.node_definition(id), &texts.node), (dist.image_definition(id), &texts.image)];
    let changed = files.iter().any(|(path, text)| !dist.has(path, text));
    if changed {
        dist.withdraw_sums(id)?;
    }
    for (path, text) in &files {
        dist.write(path, text)?;
    }
    dist.remember(id, &record)?;
    dist.write_sums()?;
    if changed {
        session.ui.note(format_args!("wrote the definitions of {id}"));
    }
    Ok(Inspected { plan, record })
}

/// A mistake in a template is told before the compiler has run for minutes.
pub(super) fn check_templates(session: &Session<'_>, plan: &BuildPlan) -> Result<()> {
    render(session, plan, &Digest::of("not known yet")).map(drop)
}

/// Both definitions of a plan's node.
pub(super) fn render(session: &Session<'_>, plan: &BuildPlan, image_id: &Digest) -> Result<definitions::Definitions> {
    let facts = Facts {
        id: &plan.names.id,
        image: &plan.names.image,
        image_id,
        archive: &dist::archive_name(&plan.names.id),
        node: &plan.node,
        variant: &plan.variant,
        version: &plan.version,
        label: &plan.names.label,
        title: &plan.title,
        description: &plan.description,
        switches: &plan.switches,
    };
    let definitions =
        definitions::render(&session.repository.root, &plan.node_definition, &plan.image_definition, &facts)?;
    lint::refuse_errors(session, &plan.node, &definitions)?;
    Ok(definitions)
}

/// The export went by the tag. If that has moved since, another image was exported.
pub(super) async fn refuse_another_image(built: &Built) -> Result<()> {
    let image = &built.plan.names.image;
    let now = built.engine.image(image).await?.map(|image| image.engine_id);
    anyhow::ensure!(
        now.as_ref() == Some(&built.image.engine_id),
        "{image} was built or tagged anew by somebody else meanwhile; run this again"
    );
    Ok(())
}

async fn compute_image_id(session: &Session<'_>, built: &Built) -> Result<Digest> {
    let image = &built.plan.names.image;
    let spinner = session.ui.spinner(format!("computing the image ID of {image} from its export"));
    let (feeder, reader) = pipe::pipe();
    let reading = tokio::task::spawn_blocking(move || archive::examine(reader));
    let sent = feed(&built.engine, image, feeder, |_| {}).await;
    let contents = reading.await.context("reading the export")?;
    spinner.finish_and_clear();
    sent?;
    let image_id = contents?.image_id;
    refuse_another_image(built).await?;
    Ok(image_id)
}

/// Sends the engine's export of `image` into a pipe; `count` is told the bytes of each piece.
///
/// # Errors
/// If the engine breaks off.
pub(super) async fn feed(engine: &Engine, image: &str, feeder: pipe::Feeder, count: impl Fn(u64)) -> Result<()> {
    let mut export = std::pin::pin!(engine.export(image));
    while let Some(piece) = export.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                feeder.feed(Err(io::Error::other("the export broke off"))).await;
                return Err(error).with_context(|| format!("the engine broke off its export of {image}"));
            }
        };
        count(piece.len() as u64);
        if !feeder.feed(Ok(piece)).await {
            // The reader gave up, and says why itself.
            return Ok(());
        }
    }
    feeder.end().await;
    Ok(())
}
