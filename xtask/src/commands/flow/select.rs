//! Which variant: the one that was asked for, else one that is up to date, else the first that
//! this machine can build. The selection and its reason are reported.

use anyhow::{Context, Result, bail};

use crate::commands::args::NodeArgs;
use crate::commands::session::Session;
use crate::engine::images::base;
use crate::engine::images::base::Origin;
use crate::engine::images::prebuilt::{self, Place};
use crate::engine::{Engine, Image};
use catalog::manifest::Base;
use catalog::planner::Network;
use catalog::{BuildPlan, Manifest, Overrides, Planner, Variant};
use ui::Ui;

/// How to get the image of the selected variant.
pub(super) enum Action {
    /// The engine has the image of exactly this plan.
    Reuse(Image),
    /// It must be built, on a base of this origin.
    Build(Origin),
    /// It is taken as it is, from this place.
    Take(Place),
}

impl Action {
    fn described(&self) -> String {
        match self {
            Self::Reuse(_) => String::new(),
            Self::Build(origin) => format!("; {}", origin.description),
            Self::Take(place) => format!("; {}", place.description),
        }
    }
}

/// The plan of the variant to build or reuse. It is an error if no variant can be built here.
pub(super) async fn select(
    session: &Session<'_>,
    planner: &Planner<'_>,
    engine: &Engine,
    args: &NodeArgs,
) -> Result<(BuildPlan, Action)> {
    let node = session.repository.node(args.node.as_deref())?;
    let overrides = args.recipe.overrides();
    planner.check(node, &overrides)?;
    let rebuild = args.recipe.no_cache || args.recipe.refresh;
    let selector = Selector { ui: session.ui, planner, engine, node, overrides: &overrides, rebuild };
    let (plan, action) = match &args.recipe.variant {
        Some(name) => selector.named(name).await?,
        None => selector.first_usable().await?,
    };
    if let Some(why) = &plan.untested {
        session.ui.warn(format_args!("variant {} of {} is untested: {why}", plan.variant, node.node));
    }
    Ok((plan, action))
}

struct Selector<'a> {
    ui: &'a Ui,
    planner: &'a Planner<'a>,
    engine: &'a Engine,
    node: &'a Manifest,
    overrides: &'a Overrides,
    /// Whether images that are up to date are built again.
    rebuild: bool,
}

impl Selector<'_> {
    async fn named(&self, name: &str) -> Result<(BuildPlan, Action)> {
        let node = self.node;
        let variant = node.variant(name)?;
        if let Some(selection) = self.up_to_date(variant).await? {
            return Ok(selection);
        }
        let usable = self.usable(variant).await;
        usable.with_context(|| format!("variant {name} of {} cannot be built here", node.node))
    }

    async fn first_usable(&self) -> Result<(BuildPlan, Action)> {
        let variants = &self.node.variants;
        // An image that is up to date needs no probe of the network.
        for variant in variants {
            if let Ok(Some(selection)) = self.up_to_date(variant).await {
                if variants.len() > 1 {
                    let (ui, name) = (self.ui, &variant.name);
                    ui.note(format_args!("variant {name}: it is built and up to date (--variant selects another)"));
                }
                return Ok(selection);
            }
        }
        let mut rejected = Vec::new();
        for variant in variants {
            match self.usable(variant).await {
                Ok((plan, action)) => {
                    let rank = if rejected.is_empty() { "the default" } else { "the first that can be built here" };
                    self.ui.note(format_args!("variant {}: {rank}{}", variant.name, action.described()));
                    for reason in rejected {
                        self.ui.note(format_args!("  not {reason}"));
                    }
                    return Ok((plan, action));
                }
                Err(error) => rejected.push(format!("{}: {error:#}", variant.name)),
            }
        }
        bail!("no variant of {} can be built here\n  {}", self.node.node, rejected.join("\n  "))
    }

    async fn up_to_date(&self, variant: &Variant) -> Result<Option<(BuildPlan, Action)>> {
        if self.rebuild {
            return Ok(None);
        }
        let Some(plan) = self.planner.plan(self.node, variant, self.overrides, Network::Unused)? else {
            return Ok(None);
        };
        let image = self.engine.image(&plan.names.image).await?;
        let same = image.filter(|image| image.is_of(&plan));
        Ok(same.map(|image| (plan, Action::Reuse(image))))
    }

    async fn usable(&self, variant: &Variant) -> Result<(BuildPlan, Action)> {
        let action = match (&variant.prebuilt, &variant.base) {
            (Some(prebuilt), _) => {
                Action::Take(prebuilt::find(self.engine, &self.planner.repository.tree, prebuilt).await?)
            }
            (None, Some(base)) => Action::Build(self.origin(variant, base).await?),
            (None, None) => bail!("it has neither `base` nor `prebuilt`"),
        };
        let plan = self.planner.plan(self.node, variant, self.overrides, Network::Allowed)?;
        Ok((plan.context("its sources were not fetched")?, action))
    }

    async fn origin(&self, variant: &Variant, base: &Base) -> Result<Origin> {
        self.planner.probe_sources(variant, self.overrides)?;
        let image = self.overrides.base.as_deref().unwrap_or(&base.image);
        let bootstrap = base.bootstrap.as_ref().filter(|_| self.overrides.base.is_none());
        base::find(self.engine, self.planner.repository, image, bootstrap).await
    }
}
