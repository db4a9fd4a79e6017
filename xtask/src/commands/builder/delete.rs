//! `cargo xtask builder delete`

use anyhow::Result;

use crate::commands::builder::args::{LabArgs, WaitArgs};
use crate::commands::builder::lab::{logged_in, refuse_added_nodes, select};
use crate::commands::servers;
use crate::commands::session::Session;
use builder::lifecycle;
use builder::lookup::describe;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// Delete without asking
    #[arg(long, short)]
    yes: bool,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.lab.servers)?;
    let target = servers.only_by_api()?;
    let _lock = target.lock().await?;
    logged_in(&target, async |controller| {
        let Some((lab, machine)) = select(controller, &args.lab).await? else { return Ok(()) };
        refuse_added_nodes(&lab, &machine)?;
        session.ui.note(format_args!("{}:\n{}", target.address, describe(&lab)));
        target.agree(args.yes, "Delete this lab, with everything on its machine?").await?;
        lifecycle::delete(controller, &lab, args.wait.timeout()).await?;
        session.ui.result(format_args!("{}  {}  deleted", target.address, lab.id))
    })
    .await
}
