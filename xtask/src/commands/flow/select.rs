//! Which variant: the one that was asked for, else one that is up to date, else the first that
//! this machine can build. The selection and its reason are reported.

use anyhow::{Context, Result, anyhow, bail};

use crate::commands::args::NodeArgs;
use crate::commands::session::Session;
use crate::engine::images::base;
use crate::engine::images::base::Origin;
use crate::engine::{Engine, Image};
use catalog::planner::Network;
use catalog::{BuildPlan, Manifest, Overrides, Planner, Variant};

/// The plan of the selected variant, and how to get its image.
pub(super) struct Selection {
    pub plan: BuildPlan,
    pub action: Action,
}

pub(super) enum Action {
    /// The engine has the image of exactly this plan.
    Reuse(Image),
    /// It must be built, on a base of this origin.
    Build(Origin),
}

/// # Errors
/// If the node or variant does not exist, or no variant can be built here.
pub(super) async fn select(
    session: &Session<'_>,
    planner: &Planner<'_>,
    engine: &Engine,
    args: &NodeArgs,
) -> Result<Selection> {
    let node = session.repository.node(args.node.as_deref())?;
    let overrides = args.recipe.overrides();
    planner.check(node, &overrides)?;
    let selection = match &args.recipe.variant {
        Some(name) => named_variant(planner, engine, node, name, args, &overrides).await?,
        None => first_usable_variant(session, planner, engine, node, args, &overrides).await?,
    };
    if let Some(why) = &selection.plan.untested {
        session.ui.warn(format_args!("variant {} of {} is untested: {why}", selection.plan.variant, node.node));
    }
    Ok(selection)
}

async fn named_variant(
    planner: &Planner<'_>,
    engine: &Engine,
    node: &Manifest,
    name: &str,
    args: &NodeArgs,
    overrides: &Overrides,
) -> Result<Selection> {
    let known = node.variants.iter().map(|variant| variant.name.as_str());
    let variant = node
        .variant(name)
        .ok_or_else(|| anyhow!("node {} has no variant `{name}`: {}", node.node, text::near(name, known)))?;
    match up_to_date(planner, engine, node, variant, args, overrides).await? {
        Some(selection) => Ok(selection),
        None => buildable(planner, engine, node, variant, overrides)
            .await
            .with_context(|| format!("variant {name} of {} cannot be built here", node.node)),
    }
}

async fn first_usable_variant(
    session: &Session<'_>,
    planner: &Planner<'_>,
    engine: &Engine,
    node: &Manifest,
    args: &NodeArgs,
    overrides: &Overrides,
) -> Result<Selection> {
    // An image that is up to date needs no probe of the network.
    for variant in &node.variants {
        if let Ok(Some(selection)) = up_to_date(planner, engine, node, variant, args, overrides).await {
            if node.variants.len() > 1 {
                session.ui.note(format_args!(
                    "variant {}: it is built and up to date (--variant selects another)",
                    variant.name
                ));
            }
            return Ok(selection);
        }
    }
    let mut rejected = Vec::new();
    for variant in &node.variants {
        match buildable(planner, engine, node, variant, overrides).await {
            Ok(selection) => {
                report(session, variant, &selection, &rejected);
                return Ok(selection);
            }
            Err(error) => rejected.push(format!("{}: {error:#}", variant.name)),
        }
    }
    bail!("no variant of {} can be built here\n  {}", node.node, rejected.join("\n  "))
}

fn report(session: &Session<'_>, variant: &Variant, selection: &Selection, rejected: &[String]) {
    let Action::Build(origin) = &selection.action else { return };
    let rank = if rejected.is_empty() { "the default" } else { "the first that can be built here" };
    session.ui.note(format_args!("variant {}: {rank}; {}", variant.name, origin.describe()));
    for reason in rejected {
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
) -> Result<Option<Selection>> {
    if args.recipe.no_cache || args.recipe.refresh {
        return Ok(None);
    }
    let Some(plan) = planner.plan(node, variant, overrides, Network::Unused)? else { return Ok(None) };
    let image = engine.image(&plan.names.image).await?;
    let same = image.filter(|image| image.recipe() == Some(plan.recipe.hex()));
    Ok(same.map(|image| Selection { plan, action: Action::Reuse(image) }))
}

async fn buildable(
    planner: &Planner<'_>,
    engine: &Engine,
    node: &Manifest,
    variant: &Variant,
    overrides: &Overrides,
) -> Result<Selection> {
    planner.probe_sources(variant, overrides)?;
    let base = overrides.base.as_deref().unwrap_or(&variant.base.image);
    let bootstrap = variant.base.bootstrap.as_ref().filter(|_| overrides.base.is_none());
    let origin = base::find(engine, base, bootstrap).await?;
    let plan = planner.plan(node, variant, overrides, Network::Allowed)?;
    let plan = plan.context("its sources were not fetched")?;
    Ok(Selection { plan, action: Action::Build(origin) })
}
