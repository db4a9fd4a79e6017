//! `cargo xtask logs`: what a running node has printed on its first console.

use anyhow::Result;

use crate::commands::running_nodes;
use crate::commands::session::Session;

#[derive(clap::Args)]
pub struct Args {
    /// The node, or the name that `run --name` gave it [default: the only running node]
    node: Option<String>,
    /// Continue until the node exits, or Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let engine = session.engine().await?;
    let node = running_nodes::find(&engine, args.node.as_deref()).await?;
    let follow = args.follow.then_some("--follow");
    let args: Vec<&str> = std::iter::once("logs").chain(follow).chain([node.id.as_str()]).collect();
    running_nodes::hand_over(session, &engine, &args)
}
