//! `cargo xtask cml remove` and `cargo xtask cml rollback`: one node, removed or restored.

use anyhow::Result;

use crate::commands::outcome::conclude;
use crate::commands::saved_nodes;
use crate::commands::servers::{self, ServerArgs};
use crate::commands::session::Session;
use cml::api::Controller;
use cml::{Options, Reversal, Scheme, api, ssh};

#[derive(clap::Args)]
pub struct Args {
    /// The node, or the id of its definitions
    node: String,
    #[command(flatten)]
    servers: ServerArgs,
    /// By the API: also what is read-only, or was changed by somebody else since
    #[arg(long)]
    force: bool,
    /// By ssh: do not restart CML; the change takes effect at its next restart
    #[arg(long)]
    no_restart: bool,
    /// Show what would be done, and change nothing on the server
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(session: &Session<'_>, reversal: Reversal, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.servers).await?;
    let id = saved_nodes::id_of(session, &args.node)?;
    let shared = saved_nodes::shared_ids(session);
    let is_known = saved_nodes::is_known(session, &id);
    let (force, dry_run, restart) = (args.force, args.dry_run, !args.no_restart);
    let options = Options { force, dry_run, install: true, restart, is_known };
    let outcomes = servers::on_each(&servers, async |target, outcome| {
        let _lock = target.lock().await?;
        let report = if target.via == Scheme::Ssh {
            ssh::reverse(target.access, &target.address, reversal, &id, options).await?
        } else {
            let work = async |controller: &Controller<'_>| {
                controller.check_administrator().await?;
                api::reverse(controller, reversal, &id, &shared, options).await
            };
            target.logged_in(&mut outcome.version, work).await?
        };
        outcome.nodes.push(report);
        Ok(())
    });
    conclude(session.ui, outcomes.await, args.json)
}
