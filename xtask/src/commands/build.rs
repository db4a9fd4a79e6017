//! `cargo xtask build`

use std::time::Instant;

use anyhow::{Context, Result};

use crate::commands::args::NodeArgs;
use crate::commands::choose;
use crate::commands::choose::{Choice, State};
use crate::commands::session::Session;
use crate::engine;
use crate::engine::images::base;
use crate::engine::{Engine, Image};
use crate::setup;
use catalog::{BuildPlan, Planner};
use files::Lock;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

/// A plan and the image that was built by it.
pub struct Built {
    pub engine: Engine,
    pub plan: BuildPlan,
    pub image: Image,
}

/// # Errors
/// If the image can't be built.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let built = up_to_date(session, &args.node).await?;
    session.ui.result(&built.plan.names.image)
}

/// The image that the arguments mean, built if need be.
///
/// # Errors
/// If it can't be built.
pub async fn up_to_date(session: &Session<'_>, args: &NodeArgs) -> Result<Built> {
    up_to_date_after(session, args, |_| Ok(())).await
}

/// The same, if `check` finds no fault with the plan.
///
/// # Errors
/// As [`up_to_date`], and what `check` finds.
pub(super) async fn up_to_date_after(
    session: &Session<'_>,
    args: &NodeArgs,
    check: impl FnOnce(&BuildPlan) -> Result<()>,
) -> Result<Built> {
    // Names that don't exist are told before anything is installed.
    let node = &session.repository.node(args.node.as_deref())?.node;
    let engine = setup::engine(session.ui, args.recipe.consent(), &session.finder).await?;
    // The second of two commands finds what the first has built.
    let path = session.cache.join("locks").join(node.as_str());
    let _lock = Lock::acquire(&path, session.ui, &format!("builds {node}")).await?;
    let planner = session.planner()?;
    let Choice { plan, state } = choose::choose(session, &planner, &engine, args).await?;
    check(&plan)?;
    let image = match state {
        State::UpToDate(image) => {
            session.ui.note(format_args!("{} is up to date", plan.names.image));
            image
        }
        State::Buildable(origin) => build(session, &planner, &engine, &plan, origin, args.recipe.no_cache).await?,
    };
    Ok(Built { engine, plan, image })
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
        .with_context(|| format!("{} can't be written", session.cache.display()))?;
    let base = base::ensure(engine, ui, origin, &plan.platform, scratch.path()).await?;
    let _alone = match engine.build_lock() {
        Some(path) => Some(Lock::acquire(&path, ui, "builds on this engine").await?),
        None => None,
    };
    let job = engine::build::Job { no_cache, scratch: scratch.path() };
    let image = engine::build::build(engine, ui, plan, &base, &planner.sources, &job).await?;
    ui.note(format_args!(
        "built {}, {}, in {}",
        plan.names.image,
        text::size(image.size),
        text::duration(since.elapsed())
    ));
    Ok(image)
}
