//! Which variant: the one that was asked for, else one that is up to date, else the first that
//! this machine can build. Whatever is chosen is said, with the reason.

use anyhow::{Context, Result, anyhow, bail};

use crate::commands::args::NodeArgs;
use crate::commands::session::Session;
use crate::engine::images::base;
use crate::engine::images::base::Origin;
use crate::engine::{Engine, Image};
use catalog::planner::Network;
use catalog::{BuildPlan, Manifest, Overrides, Planner, Variant};

/// What to build, and what there is of it.
pub struct Choice {
    pub plan: BuildPlan,
    pub state: State,
}

pub enum State {
    /// The engine has exactly this.
    UpToDate(Image),
    /// It must be built, on a base from there.
    Buildable(Origin),
}

/// # Errors
/// If the node or variant does not exist, or none can be built here.
pub async fn choose(session: &Session<'_>, planner: &Planner<'_>, engine: &Engine, args: &NodeArgs) -> Result<Choice> {
    let node = session.repository.node(args.node.as_deref())?;
    let overrides = args.recipe.overrides();
    planner.check(node, &overrides)?;
    let choice = match &args.recipe.variant {
        Some(name) => the_one_asked_for(planner, engine, node, name, args, &overrides).await?,
        None => the_first_that_serves(session, planner, engine, node, args, &overrides).await?,
    };
    if let Some(why) = &choice.plan.untested {
        session.ui.warn(format_args!("variant {} of {} is untested: {why}", choice.plan.variant, node.node));
    }
    Ok(choice)
}

async fn the_one_asked_for(
    planner: &Planner<'_>,
    engine: &Engine,
    node: &Manifest,
    name: &str,
    args: &NodeArgs,
    overrides: &Overrides,
) -> Result<Choice> {
    let known = node.variants.iter().map(|variant| variant.name.as_str());
    let variant = node
        .variant(name)
        .ok_or_else(|| anyhow!("node {} has no variant `{name}`: {}", node.node, text::near(name, known)))?;
    match up_to_date(planner, engine, node, variant, args, overrides).await? {
        Some(choice) => Ok(choice),
        None => buildable(planner, engine, node, variant, overrides)
            .await
            .with_context(|| format!("variant {name} of {} can't be built here", node.node)),
    }
}

async fn the_first_that_serves(
    session: &Session<'_>,
    planner: &Planner<'_>,
    engine: &Engine,
    node: &Manifest,
    args: &NodeArgs,
    overrides: &Overrides,
) -> Result<Choice> {
    // What is there already needs no probe of the network.
    for variant in &node.variants {
        if let Ok(Some(choice)) = up_to_date(planner, engine, node, variant, args, overrides).await {
            let only = node.variants.len() == 1;
            if !only {
                session.ui.note(format_args!(
                    "variant {}: it is built and up to date (--variant chooses another)",
                    variant.name
                ));
            }
            return Ok(choice);
        }
    }
    let mut passed_over = Vec::new();
    for variant in &node.variants {
        match buildable(planner, engine, node, variant, overrides).await {
            Ok(choice) => {
                say_why(session, variant, &choice, &passed_over);
                return Ok(choice);
            }
            Err(error) => passed_over.push(format!("{}: {error:#}", variant.name)),
        }
    }
    bail!("no variant of {} can be built here\n  {}", node.node, passed_over.join("\n  "))
}

fn say_why(session: &Session<'_>, variant: &Variant, choice: &Choice, passed_over: &[String]) {
    let State::Buildable(origin) = &choice.state else { return };
    let rank = if passed_over.is_empty() { "the default" } else { "the first that can be built here" };
    session.ui.note(format_args!("variant {}: {rank}; {}", variant.name, origin.describe()));
    for reason in passed_over {
        session.ui.note(format_args!("  not {reason}"));
    }
}

async fn up_to_date(
    planner: &Planner<'_>,
    engine: &Engine,
    node: &Manifest,
    variant: &Variant,
    args: &NodeArgs,
    overrides: &Overrides,
) -> Result<Option<Choice>> {
    if args.recipe.no_cache || args.recipe.refresh {
        return Ok(None);
    }
    let Some(plan) = planner.plan(node, variant, overrides, Network::Unused)? else { return Ok(None) };
    let image = engine.image(&plan.names.image).await?;
    let same = image.filter(|image| image.recipe() == Some(plan.recipe.hex()));
    Ok(same.map(|image| Choice { plan, state: State::UpToDate(image) }))
}

async fn buildable(
    planner: &Planner<'_>,
    engine: &Engine,
    node: &Manifest,
    variant: &Variant,
    overrides: &Overrides,
) -> Result<Choice> {
    planner.probe_sources(variant, overrides)?;
    let base = overrides.base.as_deref().unwrap_or(&variant.base.image);
    let bootstrap = variant.base.bootstrap.as_ref().filter(|_| overrides.base.is_none());
    let origin = base::find(engine, base, bootstrap).await?;
    let plan = planner.plan(node, variant, overrides, Network::Allowed)?;
    let plan = plan.context("its sources were not fetched")?;
    Ok(Choice { plan, state: State::Buildable(origin) })
}
