//! `cargo xtask run`: a node as CML runs it, to be used by hand.

use anyhow::{Context, Result};

use crate::commands::args::NodeArgs;
use crate::commands::running_nodes;
use crate::commands::running_nodes::helper_image;
use crate::commands::save;
use crate::commands::session::Session;
use crate::lab::{Asked, Lab};
use catalog::labels;
use definitions::container::Container;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// The container's name [default: cml-NODE]
    #[arg(long)]
    name: Option<String>,
    /// How many interfaces it gets [default: the definition's `default_count`]
    #[arg(long, value_name = "K")]
    interfaces: Option<usize>,
}

/// # Errors
/// If the node can't be saved, created or booted.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let ui = session.ui;
    let saved = save::up_to_date(session, &args.node).await?;
    let engine = session.engine().await?;
    let plan = &saved.inspected.plan;
    let name = args.name.clone().unwrap_or_else(|| format!("cml-{}", plan.node));
    if let Some(there) = running_nodes::running(&engine).await?.into_iter().find(|one| one.name == name) {
        ui.note(format_args!("{} runs already ({}); `cargo xtask stop {name}` ends it", plan.node, there.name));
        return ui.result(name);
    }
    let path = session.dist.node_definition(&plan.names.id);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
    let mut container = Container::read(&text).with_context(|| path.display().to_string())?;
    let helper = helper_image(session, args.node.recipe.consent()).await?;
    let lab = Lab::open(&engine, ui, &session.cache, &helper).await?;
    fit(&lab, &mut container).await?;
    let spinner = ui.spinner(format!("starting {}", plan.names.id));
    let image = lab.load(&session.dist.archive(&plan.names.id)).await?.image;
    let shell = container.config.shell.clone();
    let interfaces = args.interfaces.unwrap_or(container.default_interfaces);
    let marks = vec![(labels::RUN, plan.node.clone()), (labels::SHELL, shell.clone().unwrap_or_default())];
    let asked = Asked { name: plan.node.clone(), container_name: Some(name.clone()), labels: marks };
    let mut node = lab.create(container, &image, asked).await?;
    for _ in 0..interfaces {
        lab.add_interface(&mut node, None)?;
    }
    let booted = lab.start(&mut node).await?;
    spinner.finish_and_clear();
    if let Some(day0) = booted.day0.filter(|day0| day0.code != 0) {
        ui.warn(format_args!("day0cmd exited with {}:\n{}", day0.code, crate::lab::tail(&day0.text)));
    }
    lab.outlive_this_process()?;
    ui.note(format_args!("{} is READY, {} after its creation began", plan.names.id, text::duration(booted.time)));
    ui.note(format_args!("  cargo xtask console {name}   the first console; leave it with Ctrl-P Ctrl-Q"));
    if shell.is_some() {
        ui.note(format_args!("  cargo xtask shell {name}     the second console"));
    }
    ui.note(format_args!("  cargo xtask logs {name}      what the first console has shown"));
    ui.note(format_args!("  cargo xtask stop {name}      ends the node and removes it, its configuration too"));
    ui.result(name)
}

/// Refuses a node for which this host lacks something; warns of what the node runs without.
async fn fit(lab: &Lab<'_>, container: &mut Container) -> Result<()> {
    let lacks = lab.fit(container).await?;
    for lack in &lacks.left_out {
        lab.ui.warn(format_args!("{} runs without {}", container.id, lack.what));
    }
    let list: Vec<String> =
        lacks.missing.into_iter().map(|lack| format!("{}:\n  {}", lack.what, lack.remedy)).collect();
    anyhow::ensure!(list.is_empty(), "{} can't run here: {}", container.id, list.join("\n"));
    Ok(())
}
