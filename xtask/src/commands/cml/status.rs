//! `cargo xtask cml status`

use anyhow::Result;

use crate::commands::servers;
use crate::commands::servers::{Done, ServerArgs, Target, Via};
use crate::commands::session::Session;
use cml::api::Controller;
use cml::ssh::{self, Ssh};
use cml::{Bundle, api};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    servers: ServerArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.servers)?;
    let bundles = servers::saved(session);
    if bundles.is_empty() {
        session.ui.note("no node is saved here; save one with `cargo xtask save`");
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
        if target.via == Via::Ssh {
            return ask_by_ssh(target, bundles, json, &mut done).await;
        }
        let work = async |controller: &Controller<'_>, done: &mut Done| {
            (done.ready, done.free) = (Some(controller.ready), controller.free_space().await?);
            headline(target, done, json)?;
            for bundle in bundles {
                done.nodes.push(api::status(controller, bundle).await?);
            }
            Ok(())
        };
        target.logged_in(&mut done, work).await
    };
    done.error = work.await.err();
    done
}

async fn ask_by_ssh(target: &Target<'_>, bundles: &[Bundle], json: bool, done: &mut Done) -> Result<()> {
    let ssh = Ssh::open(target.access, &target.address).await?;
    let about = ssh::deliver::about(&ssh).await?;
    (done.version, done.ready, done.free) = (about.version, Some(about.ready), Some(about.free));
    headline(target, done, json)?;
    for bundle in bundles {
        done.nodes.push(ssh::status(&ssh, bundle).await?);
    }
    Ok(())
}

fn headline(target: &Target<'_>, done: &Done, json: bool) -> Result<()> {
    if json {
        return Ok(());
    }
    let free = done.free.map_or_else(|| "unknown".to_owned(), text::size);
    let version = done.version.as_deref().unwrap_or("of unknown version");
    let ready = if done.ready == Some(true) { "ready" } else { "not ready" };
    target.access.ui.result(format_args!("{}  CML {version}, {ready}, free space {free}", target.address))
}
