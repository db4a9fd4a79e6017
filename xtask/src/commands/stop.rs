//! `cargo xtask stop`: ends nodes that run here, and removes all that belongs to them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use crate::commands::running_nodes;
use crate::commands::session::Session;
use crate::engine::Engine;
use crate::lab;
use catalog::labels;

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
    let engine = session.engine().await?;
    let labs: BTreeSet<String> = if args.all {
        lab::lasting(&session.cache).into_iter().collect()
    } else {
        running_nodes::find_even_ended(&engine, args.node.as_deref())
            .await?
            .labels
            .get(labels::LAB)
            .cloned()
            .into_iter()
            .collect()
    };
    if labs.is_empty() {
        session.ui.note("no node runs here");
    }
    for id in labs {
        end(session, &engine, &id).await?;
    }
    Ok(())
}

async fn end(session: &Session<'_>, engine: &Engine, id: &str) -> Result<()> {
    for container in engine.containers(&format!("{}={id}", labels::LAB)).await? {
        if container.labels.contains_key(labels::LAB_NODE) {
            if container.state == "running" {
                engine.stop(&container.id, PATIENCE).await?;
            }
            session.ui.note(format_args!("stopped {}", container.name));
        }
    }
    lab::remove(engine, &session.cache, id).await
}
