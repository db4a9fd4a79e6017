//! `cargo xtask builder delete`

use anyhow::Result;

use crate::commands::builder::{LabArgs, WaitArgs, agree, logged_in, meant, nothing_added};
use crate::commands::servers;
use crate::commands::session::Session;
use builder::labs::describe;
use builder::life;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    wait: WaitArgs,
    /// Without a question
    #[arg(long, short)]
    yes: bool,
}

/// # Errors
/// If nobody agrees, or the server refuses.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.lab.servers)?;
    let target = servers.only_by_api()?;
    let _lock = target.lock().await?;
    logged_in(&target, async |controller| {
        let Some((lab, own)) = meant(controller, &args.lab).await? else { return Ok(()) };
        nothing_added(&lab, &own)?;
        session.ui.note(format_args!("{}:\n{}", target.address, describe(&lab)));
        agree(&target, args.yes, "Delete this lab, and all that is on its machine?").await?;
        life::delete(controller, &lab, args.wait.patience()).await?;
        session.ui.result(format_args!("{}  {}  deleted", target.address, lab.id))
    })
    .await
}
