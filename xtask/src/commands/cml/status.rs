//! `cargo xtask cml status`

use anyhow::Result;

use crate::commands::outcome::{Outcome, conclude};
use crate::commands::saved_nodes;
use crate::commands::servers::{self, ServerArgs, Target};
use crate::commands::session::Session;
use cml::api::Controller;
use cml::ssh::Ssh;
use cml::ssh::about::About;
use cml::{Forms, Scheme, api, ssh};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    servers: ServerArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.servers).await?;
    let saved = saved_nodes::all(session);
    if saved.is_empty() {
        session.ui.note("no node is saved here; save one with `cargo xtask save`");
    }
    let outcomes = servers::on_each(&servers, async |target, outcome| match target.via {
        Scheme::Ssh => ask_by_ssh(target, outcome, &saved, args.json).await,
        Scheme::Api => ask_by_api(target, outcome, &saved, args.json).await,
    });
    conclude(session.ui, outcomes.await, args.json)
}

async fn ask_by_api(target: &Target<'_>, outcome: &mut Outcome, saved: &[Forms], json: bool) -> Result<()> {
    let mut version = None;
    let work = async |controller: &Controller<'_>| {
        outcome.version = Some(controller.version.clone());
        (outcome.ready, outcome.free) = (Some(controller.ready), controller.free_space().await?);
        print_headline(target, outcome, json)?;
        for forms in saved {
            outcome.nodes.push(api::status(controller, forms).await?);
        }
        Ok(())
    };
    let result = target.logged_in(&mut version, work).await;
    outcome.version = version;
    result
}

async fn ask_by_ssh(target: &Target<'_>, outcome: &mut Outcome, saved: &[Forms], json: bool) -> Result<()> {
    let ssh = Ssh::open(target.access, &target.address).await?;
    let about = About::read(&ssh).await?;
    (outcome.version, outcome.ready, outcome.free) = (about.version, Some(about.ready), about.images.free);
    print_headline(target, outcome, json)?;
    for forms in saved {
        outcome.nodes.push(ssh::status(&ssh, forms).await?);
    }
    Ok(())
}

fn print_headline(target: &Target<'_>, outcome: &Outcome, json: bool) -> Result<()> {
    if json {
        return Ok(());
    }
    let free = outcome.free.map_or_else(|| "unknown".to_owned(), text::size);
    let version = outcome.version.as_deref().unwrap_or("of unknown version");
    let ready = if outcome.ready == Some(true) { "ready" } else { "not ready" };
    target.access.ui.result(format_args!("{}  CML {version}, {ready}, free space {free}", target.address))
}
