//! `cargo xtask run`: starts a node as CML runs it, to use it by hand.

use anyhow::Result;

use crate::commands::args::{NodeArgs, container_name, number};
use crate::commands::flow::Saved;
use crate::commands::running_nodes;
use crate::commands::running_nodes::helper_image;
use crate::commands::session::Session;
use crate::engine::containers::listing::ListedContainer;
use crate::lab::{HostAccess, Lab, NodeOptions, QUOTED_LINES, unwritable};
use catalog::labels;
use definitions::container::{Container, MOST_INTERFACES};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// The container's name [default: cml-NODE]
    #[arg(long, value_parser = container_name)]
    name: Option<String>,
    /// Number of interfaces [default: the definition's `default_count`]
    #[arg(long, value_name = "K", value_parser = number(0..=MOST_INTERFACES))]
    interfaces: Option<usize>,
    /// Run the node even if it could reach this engine's host
    #[arg(long)]
    allow_host_access: bool,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let ui = session.ui;
    let Saved { built, bundle, .. } = Saved::up_to_date(session, &args.node).await?;
    let (engine, node) = (&built.engine, &built.plan.node);
    let name = args.name.unwrap_or_else(|| format!("cml-{node}"));
    if is_running(&running_nodes::running(engine).await?, node, &name)? {
        ui.note(format_args!("{node} is already running as {name}; `cargo xtask stop {name}` stops it"));
        return ui.result(name);
    }
    let mut container = Container::read(&bundle.node_definition.text, &bundle.id)?;
    let host_access = HostAccess::from_flag(args.allow_host_access);
    host_access.judge(ui, &container)?;
    container.not_applied().iter().for_each(|what| ui.warn(format_args!("{}: {what}", bundle.id)));
    let helper = helper_image(session, args.node.recipe.consent()).await?;
    let lab = Lab::open(engine, ui, &session.cache, &helper, host_access).await?;
    let unmet = lab.check_host(&mut container).await?;
    for need in &unmet.left_out {
        ui.warn(format_args!("{} runs without {}", bundle.id, need.what));
    }
    let missing: Vec<String> = unmet.missing.iter().map(|need| format!("{}:\n  {}", need.what, need.remedy)).collect();
    anyhow::ensure!(missing.is_empty(), "{} cannot run here: {}", bundle.id, missing.join("\n"));
    let spinner = ui.spinner(format!("starting {}", bundle.id));
    let image = lab.load(&bundle.archive.path).await?.image;
    let shell = container.config.shell.clone();
    let interfaces = args.interfaces.unwrap_or(container.default_interfaces);
    let labels = vec![(labels::RUN, node.clone()), (labels::SHELL, shell.clone().unwrap_or_default())];
    let options = NodeOptions { name: node.clone(), container_name: Some(name.clone()), labels };
    let (started, booted) = lab.run(container, &image, options, interfaces).await?;
    spinner.finish_and_clear();
    if let Some(day0) = booted.day0.filter(|day0| day0.code != 0) {
        let why = unwritable(&started.container, &day0.text);
        ui.warn(format_args!("day0cmd exited with {}:\n{}{why}", day0.code, ui::tail(&day0.text, QUOTED_LINES)));
    }
    lab.outlive_this_process()?;
    ui.note(format_args!("{} is READY {} after its creation began", bundle.id, text::duration(booted.time)));
    ui.note(format_args!("  cargo xtask console {name}   the first console; leave it with Ctrl-P Ctrl-Q"));
    if shell.is_some() {
        ui.note(format_args!("  cargo xtask shell {name}     the second console"));
    }
    ui.note(format_args!("  cargo xtask logs {name}      what the first console has printed"));
    ui.note(format_args!("  cargo xtask stop {name}      stops the node and removes it, with its configuration"));
    ui.result(name)
}

/// Whether the node runs under that name. Fails if another node does.
fn is_running(running: &[ListedContainer], node: &str, name: &str) -> Result<bool> {
    let Some(one) = running.iter().find(|one| one.name == name) else { return Ok(false) };
    let owner = one.labels.get(labels::RUN).map_or("", String::as_str);
    anyhow::ensure!(
        owner == node,
        "{name} is already the name of a running {owner} node; choose another name with --name"
    );
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_another_running_node_is_refused() {
        let labels = [(labels::RUN.to_owned(), "dnsmasq".to_owned())].into();
        let running = [ListedContainer { id: "1".into(), name: "d1".into(), labels, state: "running".into() }];
        assert!(is_running(&running, "dnsmasq", "d1").unwrap());
        assert!(!is_running(&running, "dnsmasq", "d2").unwrap());
        assert_eq!(
            is_running(&running, "net-tools", "d1").unwrap_err().to_string(),
            "d1 is already the name of a running dnsmasq node; choose another name with --name"
        );
    }
}
