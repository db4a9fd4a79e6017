//! `cargo xtask upload`

use anyhow::Result;

use crate::commands::args::{NodeArgs, RecipeArgs};
use crate::commands::flow::Saved;
use crate::commands::outcome::{Outcome, conclude};
use crate::commands::saved_nodes;
use crate::commands::servers::{self, ServerArgs};
use crate::commands::session::Session;
use cml::api::Controller;
use cml::{Forms, Options, Scheme, api, ssh};

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
    let servers = servers::open(session.ui, &args.servers).await?;
    let saved = saved(session, &args).await?;
    let needs = saved_nodes::needs(&saved)?;
    let (install, restart) = (args.install, !args.no_restart);
    let options = Options { force: args.force, dry_run: args.dry_run, install, restart, is_known: true };
    let outcomes = servers::on_each(&servers, async |target, Outcome { version, nodes, .. }| {
        let _lock = target.lock().await?;
        if target.via == Scheme::Ssh {
            (*version, *nodes) = ssh::deliver(target.access, &target.address, &saved, needs, options).await?;
            return Ok(());
        }
        let work = async |controller: &Controller<'_>| {
            controller.check_administrator().await?;
            for forms in &saved {
                nodes.push(api::install(controller, forms, options).await?);
            }
            Ok(())
        };
        target.logged_in(version, work).await
    });
    conclude(session.ui, outcomes.await, args.json)
}

/// Brings every node up to date before any server is contacted.
async fn saved(session: &Session<'_>, args: &Args) -> Result<Vec<Forms>> {
    let mut nodes = Vec::new();
    for node in session.repository.named(&args.nodes)? {
        let node = NodeArgs { recipe: args.recipe.clone(), ..NodeArgs::of(node.node.as_str()) };
        let Saved { bundle, other, .. } = Saved::up_to_date(session, &node).await?;
        // With --for there is no choice.
        nodes.push(Forms::new(bundle, other.filter(|_| args.recipe.form.is_none())));
    }
    Ok(nodes)
}
