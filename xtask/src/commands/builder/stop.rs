//! `cargo xtask builder stop`

use anyhow::Result;

use crate::commands::builder::{LabArgs, WaitArgs, logged_in, meant};
use crate::commands::servers;
use crate::commands::session::Session;
use builder::life;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// # Errors
/// If the server refuses.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.lab.servers)?;
    let target = servers.only_by_api()?;
    logged_in(&target, async |controller| {
        let Some((lab, _)) = meant(controller, &args.lab).await? else { return Ok(()) };
        let did = life::stop(controller, &lab, args.wait.patience()).await?;
        let state = if did { "stopped" } else { "does not run" };
        session.ui.result(format_args!("{}  {}  {state}", target.address, lab.id))
    })
    .await
}
