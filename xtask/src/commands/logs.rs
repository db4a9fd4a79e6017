//! `cargo xtask logs`: what the first console of a running node has shown.

use anyhow::Result;

use crate::commands::running_nodes;
use crate::commands::session::Session;

#[derive(clap::Args)]
pub struct Args {
    /// The node, or the name that it was given [default: the one that runs]
    node: Option<String>,
    /// Go on until the node ends, or Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

/// # Errors
/// If no such node runs.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let engine = session.engine().await?;
    let node = running_nodes::find(&engine, args.node.as_deref()).await?;
    let follow = args.follow.then_some("--follow");
    let words: Vec<&str> = std::iter::once("logs").chain(follow).chain([node.id.as_str()]).collect();
    running_nodes::hand_over(session, &engine, &words)
}
