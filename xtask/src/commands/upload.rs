//! `cargo xtask upload`

use anyhow::Result;

use crate::commands::args::{NodeArgs, RecipeArgs};
use crate::commands::save;
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
    /// By ssh: install it as root, too, not only bring it; the API installs anyway
    #[arg(long)]
    install: bool,
    /// By ssh: do not restart CML after the installation; the nodes count from its next restart
    #[arg(long)]
    no_restart: bool,
    /// Replace what is in use, read-only, or could not start there
    #[arg(long)]
    force: bool,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

/// # Errors
/// If a node can't be saved, or a server did not get all of them.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.servers)?;
    let bundles = bundles(session, &args).await?;
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

/// Brings every node up to date first: a server is not spoken to for something that can't be built.
async fn bundles(session: &Session<'_>, args: &Args) -> Result<Vec<Bundle>> {
    let nodes: Vec<Option<String>> =
        if args.nodes.is_empty() { vec![None] } else { args.nodes.iter().cloned().map(Some).collect() };
    let mut bundles: Vec<Bundle> = Vec::new();
    for node in nodes {
        let saved = save::up_to_date(session, &NodeArgs { node, recipe: args.recipe.clone() }).await?;
        let id = &saved.inspected.plan.names.id;
        if bundles.iter().all(|other| other.id != *id) {
            bundles.push(servers::bundle(session, id)?);
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
