//! `cargo xtask cml remove`

use anyhow::Result;

use crate::commands::Session;
use crate::commands::servers::{self, Done, ServerArgs, Target, Via};
use cml::by_api::{self, Options};
use cml::by_ssh;

#[derive(clap::Args)]
pub struct Args {
    /// The node, or the id of its definitions
    node: String,
    #[command(flatten)]
    servers: ServerArgs,
    /// Remove what is read-only, too
    #[arg(long)]
    force: bool,
    /// By ssh: do not restart CML afterwards; it counts from its next restart
    #[arg(long)]
    no_restart: bool,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

/// # Errors
/// If a server refuses, or does not answer.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.servers)?;
    let id = servers::id_of(session, &args.node)?;
    let options = Options { force: args.force, dry_run: args.dry_run };
    let reports = servers::each(&servers, |target| {
        let id = &id;
        async move { remove(&target, id, options, !args.no_restart).await }
    });
    servers::conclude(session.ui, reports.await, args.json)
}

async fn remove(target: &Target<'_>, id: &str, options: Options, restart: bool) -> Done {
    let mut done = Done::default();
    let work = async {
        let _lock = target.lock().await?;
        if target.via == Via::Ssh {
            let options = by_ssh::Options { install: true, restart, dry_run: options.dry_run, force: options.force };
            done.nodes.push(by_ssh::undo(target.access, target.address, "remove", id, options).await?);
            return Ok(());
        }
        let controller = target.controller(&mut done).await?;
        done.nodes.push(by_api::remove(target.access, &controller, id, options).await?);
        Ok(())
    };
    done.error = work.await.err();
    done
}
