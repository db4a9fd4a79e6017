//! A node whose image is in the engine, and the engine's export of it.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;

use crate::commands::args::NodeArgs;
use crate::commands::flow::select::{Action, select};
use crate::commands::session::Session;
use crate::engine::build::{Job, checks};
use crate::engine::images::prebuilt::{self, Place};
use crate::engine::images::{base, pipe};
use crate::engine::{Engine, Image};
use catalog::{BuildPlan, Planner};
use files::Lock;

/// A plan and the image that was built by it.
pub struct Built {
    pub engine: Engine,
    pub plan: BuildPlan,
    pub image: Image,
}

impl Built {
    /// The image that the arguments select, built if necessary.
    pub async fn up_to_date(session: &Session<'_>, args: &NodeArgs) -> Result<Self> {
        Self::after(session, args, |_| Ok(())).await.map(|(built, ())| built)
    }

    /// The same, with what `prepare` makes of the plan; if that fails, nothing is built.
    pub(super) async fn after<T>(
        session: &Session<'_>,
        args: &NodeArgs,
        prepare: impl FnOnce(&BuildPlan) -> Result<T>,
    ) -> Result<(Self, T)> {
        // A wrong name is reported before anything is installed.
        let node = &session.repository.node(args.node.as_deref())?.node;
        let engine = session.ensure_engine(args.recipe.consent()).await?;
        // The second of two commands finds what the first has built.
        let path = session.cache.join("locks").join(node.as_str());
        let _lock = Lock::acquire(&path, session.ui, &format!("builds {node}")).await?;
        let planner = session.planner()?;
        let (plan, action) = select(session, &planner, &engine, args).await?;
        let prepared = prepare(&plan)?;
        let image = match action {
            Action::Reuse(image) => {
                session.ui.note(format_args!("{} is up to date", plan.names.image));
                if plan.prebuilt.is_some() {
                    // It has no label that could tell whether it has passed them.
                    checks::accept(&engine, session.ui, &plan, &image).await?;
                } else if !image.has_passed(&plan.checks_digest()?) {
                    session.ui.note("it has not passed the checks of its manifest as they are now: running them");
                    checks::accept(&engine, session.ui, &plan, &image).await?;
                }
                image
            }
            Action::Take(place) => take(session, &engine, &plan, place).await?,
            Action::Build(origin) => build(session, &planner, &engine, &plan, origin, args.recipe.no_cache).await?,
        };
        Ok((Self { engine, plan, image }, prepared))
    }

    /// What `read` makes of the engine's export of the image; it runs on a thread of its own. `progress` gets the
    /// number of bytes of each chunk.
    pub(super) async fn export<T: Send + 'static>(
        &self,
        progress: impl Fn(u64),
        read: impl FnOnce(pipe::Reader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (feeder, reader) = pipe::pipe();
        let reading = tokio::task::spawn_blocking(move || read(reader));
        let sent = self.feed(feeder, progress).await;
        let read = reading.await.context("reading the export")?;
        sent?;
        let (read, image) = (read?, &self.plan.names.image);
        // The export went by the tag. If that has moved since, another image was exported.
        ensure!(
            self.engine.image(image).await?.is_some_and(|now| now.engine_id == self.image.engine_id),
            "{image} was built or tagged by another command in the meantime; run this again"
        );
        Ok(read)
    }

    async fn feed(&self, feeder: pipe::Feeder, progress: impl Fn(u64)) -> Result<()> {
        let image = &self.plan.names.image;
        let mut export = std::pin::pin!(self.engine.docker.export_image(image));
        while let Some(chunk) = export.next().await {
            let chunk = chunk.with_context(|| format!("the engine did not complete its export of {image}"))?;
            progress(chunk.len() as u64);
            if !feeder.feed(chunk).await {
                // The reader has stopped, and reports why itself.
                return Ok(());
            }
        }
        feeder.end().await;
        Ok(())
    }
}

/// Takes a prebuilt image: nothing of it changes but that it has the node's tag.
async fn take(session: &Session<'_>, engine: &Engine, plan: &BuildPlan, place: Place) -> Result<Image> {
    let ui = session.ui;
    ui.headline(format_args!("taking {} (node {}, variant {})", plan.names.image, plan.node, plan.variant));
    ui.note(format_args!("  {}", place.description));
    let record = session.dist.record(&plan.names.id).filter(|record| record.node == plan.node);
    let before = record.as_ref().map(|record| record.engine_id.as_str());
    let image = prebuilt::take(engine, ui, &session.repository.tree, plan, place, before).await?;
    ui.note(format_args!("took {}, {}", plan.names.image, text::size(image.size)));
    Ok(image)
}

async fn build(
    session: &Session<'_>,
    planner: &Planner<'_>,
    engine: &Engine,
    plan: &BuildPlan,
    origin: base::Origin,
    no_cache: bool,
) -> Result<Image> {
    let (ui, since) = (session.ui, Instant::now());
    ui.headline(format_args!("building {} (node {}, variant {})", plan.names.image, plan.node, plan.variant));
    for (name, pin) in &plan.sources {
        ui.note(format_args!("  {name}: {}", pin.describe()));
    }
    let scratch = tempfile::tempdir_in(&session.cache)
        .with_context(|| format!("could not create a folder in {}", session.cache.display()))?;
    let base = base::ensure(engine, ui, origin, &plan.platform, scratch.path()).await?;
    let _alone = match engine.build_lock() {
        Some(path) => Some(Lock::acquire(&path, ui, "builds on this engine").await?),
        None => None,
    };
    let (base, sources, scratch) = (&*base, &planner.sources, scratch.path());
    let image = Job { engine, ui, plan, base, sources, no_cache, scratch }.build().await?;
    ui.note(format_args!(
        "built {}, {}, in {}",
        plan.names.image,
        text::size(image.size),
        text::duration(since.elapsed())
    ));
    Ok(image)
}
