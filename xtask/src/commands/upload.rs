//! `cargo xtask upload`

use anyhow::Result;

use crate::commands::args::{NodeArgs, RecipeArgs};
use crate::commands::flow::Saved;
use crate::commands::servers;
use crate::commands::servers::{ServerArgs, Via};
use crate::commands::session::Session;
use cml::api::Controller;
use cml::ssh::doctor::Needs;
use cml::{Bundle, api, ssh};

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
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.servers)?;
    let bundles = saved(session, &args).await?;
    let by_api = api::Options { force: args.force, dry_run: args.dry_run };
    let by_ssh =
        ssh::Options { install: args.install, restart: !args.no_restart, dry_run: args.dry_run, force: args.force };
    let needs = servers::needs(&bundles)?;
    let reports = servers::each(&servers, |target| {
        let bundles = &bundles;
        async move {
            match target.via {
                Via::Ssh => deliver(&target, bundles, needs, by_ssh).await,
                Via::Api | Via::Auto => install(&target, bundles, by_api).await,
            }
        }
    });
    servers::conclude(session.ui, reports.await, args.json)
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

async fn install(target: &servers::Target<'_>, bundles: &[Bundle], options: api::Options) -> servers::Done {
    let mut done = servers::Done::default();
    let work = async {
        let _lock = target.lock().await?;
        let work = async |controller: &Controller<'_>, done: &mut servers::Done| {
            for bundle in bundles {
                done.nodes.push(api::install(target.access, controller, bundle, options).await?);
            }
            Ok(())
        };
        target.logged_in(&mut done, work).await
    };
    done.error = work.await.err();
    done
}

async fn deliver(
    target: &servers::Target<'_>,
    bundles: &[Bundle],
    needs: Needs,
    options: ssh::Options,
) -> servers::Done {
    let mut done = servers::Done::default();
    let work = async {
        let _lock = target.lock().await?;
        ssh::deliver(target.access, &target.address, bundles, needs, options).await
    };
    match work.await {
        Ok((version, nodes)) => (done.version, done.nodes) = (version, nodes),
        Err(error) => done.error = Some(error),
    }
    done
}
