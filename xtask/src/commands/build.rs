//! `cargo xtask build`

use anyhow::Result;

use crate::commands::args::NodeArgs;
use crate::commands::flow::Built;
use crate::commands::session::Session;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let built = Built::up_to_date(session, &args.node).await?;
    session.ui.result(&built.plan.names.image)
}
