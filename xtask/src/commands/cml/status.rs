//! `cargo xtask cml status`

use anyhow::Result;

use crate::cml::{Bundle, by_api};
use crate::commands::Session;
use crate::commands::servers::{self, Done, ServerArgs, Target};
use crate::ui;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    servers: ServerArgs,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

/// # Errors
/// If a server does not answer.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.servers)?;
    let bundles = servers::saved(session);
    if bundles.is_empty() {
        session.ui.note("no node is saved here; `cargo xtask save` makes one");
    }
    let reports = servers::each(&servers, |target| {
        let bundles = &bundles;
        async move { ask(&target, bundles, args.json).await }
    });
    servers::conclude(session.ui, reports.await, args.json)
}

async fn ask(target: &Target<'_>, bundles: &[Bundle], json: bool) -> Done {
    let mut done = Done::default();
    let work = async {
        let controller = target.controller(&mut done).await?;
        let free = controller.free_space().await?.map_or_else(|| "unknown".to_owned(), ui::size);
        let ready = if controller.ready { "ready" } else { "not ready" };
        if !json {
            target
                .access
                .ui
                .result(format_args!("{}  CML {}, {ready}, free space {free}", target.address, controller.version))?;
        }
        for bundle in bundles {
            done.nodes.push(by_api::status(&controller, bundle).await?);
        }
        Ok(())
    };
    done.error = work.await.err();
    done
}
