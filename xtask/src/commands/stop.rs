//! `cargo xtask stop`: ends nodes that run here, and removes all that belongs to them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use super::{Session, labs};
use crate::catalog::labels;
use crate::engine::containers::Found;
use crate::engine::{Engine, Unreachable};
use crate::lab;

/// As `docker stop` waits.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub struct Args {
    /// The node, or the name that it was given [default: the one that runs]
    #[arg(conflicts_with = "all")]
    node: Option<String>,
    /// Every node that this project has running here, also those that `verify --keep` left
    #[arg(long)]
    all: bool,
}

/// # Errors
/// If no such node runs, or something can't be removed.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let engine = Engine::connect().await.map_err(Unreachable::explain)?;
    if !args.all {
        let node = labs::find(&engine, args.node.as_deref()).await?;
        return end(session, &engine, &[node]).await;
    }
    let mut nodes = engine.containers(labels::ACTOR).await?;
    nodes.retain(|node| node.labels.get(labels::LAB).is_some_and(|id| !lab::is_in_use(&session.cache, id)));
    if nodes.is_empty() {
        session.ui.note("no node runs here");
    }
    end(session, &engine, &nodes).await
}

async fn end(session: &Session<'_>, engine: &Engine, nodes: &[Found]) -> Result<()> {
    for node in nodes {
        if node.state == "running" {
            engine.stop(&node.id, PATIENCE).await?;
        }
        session.ui.note(format_args!("stopped {}", node.name));
    }
    let labs: BTreeSet<&String> = nodes.iter().filter_map(|node| node.labels.get(labels::LAB)).collect();
    for lab in labs {
        engine.remove_lab(lab).await?;
    }
    Ok(())
}
