//! `cargo xtask upload`

use anyhow::Result;

use crate::commands::args::{NodeArgs, RecipeArgs};
use crate::commands::flow::Saved;
use crate::commands::outcome::{Outcome, conclude};
use crate::commands::saved_nodes;
use crate::commands::servers::{self, ServerArgs, Target};
use crate::commands::session::Session;
use cml::api::Controller;
use cml::ssh::doctor::Needs;
use cml::{Bundle, Options, Scheme, api, ssh};

#[derive(clap::Args)]
pub struct Args {
    /// The nodes, folders of docker/ [default: frr]
    nodes: Vec<String>,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    servers: ServerArgs,
    /// By ssh: install the nodes as root, not only copy them; the API always installs
    #[arg(long)]
    install: bool,
    /// By ssh: do not restart CML after the installation; it reads the nodes at its next restart
    #[arg(long)]
    no_restart: bool,
    /// Replace nodes that are in use or read-only, and install nodes that could not start there
    #[arg(long)]
    force: bool,
    /// Print what would be done, and change nothing on the server
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.servers)?;
    let bundles = saved(session, &args).await?;
    let needs = saved_nodes::needs(&bundles)?;
    let (install, restart) = (args.install, !args.no_restart);
    let options = Options { force: args.force, dry_run: args.dry_run, install, restart };
    let outcomes = servers::on_each(&servers, async |target, outcome| {
        let _lock = target.lock().await?;
        if target.via == Scheme::Ssh {
            by_ssh(target, outcome, &bundles, needs, options).await
        } else {
            by_api(target, outcome, &bundles, options).await
        }
    });
    conclude(session.ui, outcomes.await, args.json)
}

/// Brings every node up to date before any server is contacted.
async fn saved(session: &Session<'_>, args: &Args) -> Result<Vec<Bundle>> {
    let named: Vec<Option<String>> =
        if args.nodes.is_empty() { vec![None] } else { args.nodes.iter().cloned().map(Some).collect() };
    let mut bundles: Vec<Bundle> = Vec::new();
    for node in named {
        let saved = Saved::up_to_date(session, &NodeArgs { node, recipe: args.recipe.clone() }).await?;
        if bundles.iter().all(|other| other.id != saved.bundle.id) {
            bundles.push(saved.bundle);
        }
    }
    Ok(bundles)
}

async fn by_api(target: &Target<'_>, outcome: &mut Outcome, bundles: &[Bundle], options: Options) -> Result<()> {
    let work = async |controller: &Controller<'_>| {
        for bundle in bundles {
            outcome.nodes.push(api::install(controller, bundle, options).await?);
        }
        Ok(())
    };
    target.logged_in(&mut outcome.version, work).await
}

async fn by_ssh(
    target: &Target<'_>,
    outcome: &mut Outcome,
    bundles: &[Bundle],
    needs: Needs,
    options: Options,
) -> Result<()> {
    (outcome.version, outcome.nodes) = ssh::deliver(target.access, &target.address, bundles, needs, options).await?;
    Ok(())
}
