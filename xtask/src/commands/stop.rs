//! `cargo xtask stop`: stops nodes that are running here, and removes everything that belongs to them.

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
    /// The node, or the name that `run --name` gave it [default: the only running node]
    #[arg(conflicts_with = "all")]
    node: Option<String>,
    /// Every node of this project that is running here, also those of `verify --keep`, and what commands left behind
    #[arg(long)]
    all: bool,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let engine = session.engine().await?;
    let labs: Vec<String> = if args.all {
        lab::sweep(&engine, session.ui, &session.cache).await?;
        lab::lasting(&session.cache)
    } else {
        let node = running_nodes::find_even_exited(&engine, args.node.as_deref()).await?;
        node.labels.get(labels::LAB).cloned().into_iter().collect()
    };
    if labs.is_empty() {
        session.ui.note("no node is running here");
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
