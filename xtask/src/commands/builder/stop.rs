//! `cargo xtask builder stop`

use anyhow::Result;

use crate::commands::builder::args::{LabArgs, WaitArgs};
use crate::commands::builder::lab::{logged_in, select};
use crate::commands::servers;
use crate::commands::session::Session;
use builder::lifecycle;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.lab.servers)?;
    let target = servers.only_by_api()?;
    logged_in(&target, async |controller| {
        let Some((lab, _)) = select(controller, &args.lab).await? else { return Ok(()) };
        let was_running = lifecycle::stop(controller, &lab, args.wait.timeout()).await?;
        let state = if was_running { "stopped" } else { "not running" };
        session.ui.result(format_args!("{}  {}  {state}", target.address, lab.id))
    })
    .await
}
