//! `cargo xtask cml remove` and `cargo xtask cml rollback`: one node, removed or restored.

use anyhow::Result;

use crate::commands::servers;
use crate::commands::servers::{Done, ServerArgs, Target, Via};
use crate::commands::session::Session;
use cml::api::Controller;
use cml::{Reversal, api, ssh};

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
    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(session: &Session<'_>, reversal: Reversal, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.servers)?;
    let id = servers::id_of(session, &args.node)?;
    let reports = servers::each(&servers, |target| {
        let (id, args) = (&id, &args);
        async move { reverse(&target, reversal, id, args).await }
    });
    servers::conclude(session.ui, reports.await, args.json)
}

async fn reverse(target: &Target<'_>, reversal: Reversal, id: &str, args: &Args) -> Done {
    let mut done = Done::default();
    let work = async {
        let _lock = target.lock().await?;
        if target.via == Via::Ssh {
            let (restart, dry_run, force) = (!args.no_restart, args.dry_run, args.force);
            let options = ssh::Options { install: true, restart, dry_run, force };
            done.nodes.push(ssh::reverse(target.access, &target.address, reversal, id, options).await?);
            return Ok(());
        }
        let options = api::Options { force: args.force, dry_run: args.dry_run };
        let work = async |controller: &Controller<'_>, done: &mut Done| {
            done.nodes.push(api::reverse(target.access, controller, reversal, id, options).await?);
            Ok(())
        };
        target.logged_in(&mut done, work).await
    };
    done.error = work.await.err();
    done
}
