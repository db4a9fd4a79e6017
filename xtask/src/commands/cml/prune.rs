//! `cargo xtask cml prune`: removes old versions that no lab uses.

use anyhow::{Error, Result, anyhow, ensure};

use crate::commands::outcome::{Outcome, conclude};
use crate::commands::saved_nodes;
use crate::commands::servers::{self, ServerArgs, Target};
use crate::commands::session::Session;
use catalog::Names;
use cml::Scheme;
use cml::api::Controller;
use cml::api::prune::{self, Current, Plan, Version};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    servers: ServerArgs,
    /// Remove them without asking
    #[arg(long, short)]
    yes: bool,
    /// Show what would be removed, and change nothing on the server
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.servers).await?;
    let current = current(session)?;
    let outcomes = servers::on_each(&servers, async |target, outcome| {
        ensure!(
            target.via == Scheme::Api,
            "prune needs CML's API, which alone tells what the labs use: pass --via api for {}",
            target.address.host
        );
        let _lock = target.lock().await?;
        let mut version = None;
        let work = async |controller: &Controller<'_>| prune_one(target, controller, &current, outcome, &args).await;
        let result = target.logged_in(&mut version, work).await;
        outcome.version = version;
        result
    });
    conclude(session.ui, outcomes.await, args.json)
}

/// What the manifests name.
fn current(session: &Session<'_>) -> Result<Current> {
    let broken = session.repository.broken().map(|(node, why)| (node.to_owned(), why.to_owned())).collect();
    let mut current = Current { shared: saved_nodes::shared_ids(session), broken, ..Current::default() };
    for node in session.repository.nodes() {
        current.nodes.push(node.node.to_string());
        for variant in &node.variants {
            current.ids.push(Names::of(node, variant, &variant.version)?.id);
        }
    }
    Ok(current)
}

async fn prune_one(
    target: &Target<'_>,
    controller: &Controller<'_>,
    current: &Current,
    outcome: &mut Outcome,
    args: &Args,
) -> Result<()> {
    let (ui, at) = (&target.access.ui, &target.address);
    let Plan { versions, mut problems } = prune::plan(controller, current).await?;
    let can_go: Vec<&Version> = versions.iter().filter(|version| version.kept.is_none()).collect();
    if can_go.is_empty() && problems.is_empty() {
        ui.note(format_args!("{at}: this machine has installed no old version there that no lab uses"));
    }
    // With --json also if nobody agrees: the list that is printed below is not for programs.
    if can_go.is_empty() || args.dry_run || args.json {
        outcome.nodes.extend(versions.iter().map(Version::report));
    }
    if can_go.is_empty() || args.dry_run {
        return together(problems);
    }
    let size = text::size(can_go.iter().map(|version| version.from.size).sum());
    ui.note(format_args!("{at}: no lab uses these old versions:"));
    for version in &can_go {
        ui.note(format_args!("  {}  {}", version.id, version.size()));
    }
    let question = format!("Remove {} ({size}) from {at}?", text::plural(can_go.len(), "version"));
    target.agree(args.yes, &question).await?;
    outcome.nodes.clear();
    for version in &versions {
        if version.kept.is_some() {
            outcome.nodes.push(version.report());
            continue;
        }
        match prune::prune(controller, version, current).await {
            Ok(report) => outcome.nodes.push(report),
            Err(error) => problems.push(error),
        }
    }
    together(problems)
}

/// Fails if there is a problem, with all of them.
fn together(mut problems: Vec<Error>) -> Result<()> {
    match problems.len() {
        0 => Ok(()),
        1 => Err(problems.remove(0)),
        _ => {
            let texts: Vec<String> = problems.iter().map(|problem| format!("{problem:#}")).collect();
            Err(anyhow!("{}", texts.join("\n")))
        }
    }
}
