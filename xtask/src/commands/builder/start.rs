//! `cargo xtask builder start`

use anyhow::{Result, bail};

use crate::commands::builder::{LabArgs, WaitArgs, logged_in, meant};
use crate::commands::servers;
use crate::commands::servers::Target;
use crate::commands::session::Session;
use builder::HOSTNAME;
use builder::labs::Own;
use builder::life::{self, Addresses};
use cml::api::labs::Lab;
use cml::ssh;
use text::printable;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

/// # Errors
/// If there is none, or it does not get ready.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.lab.servers)?;
    let target = servers.only_by_api()?;
    logged_in(&target, async |controller| {
        let Some((lab, own)) = meant(controller, &args.lab).await? else {
            bail!("there is nothing to start; `cargo xtask builder create` makes it");
        };
        let addresses = life::start(controller, &lab, &own, args.wait.patience()).await?;
        tell(session, &target, &lab, &own, &addresses)
    })
    .await
}

/// How to log in.
fn tell(session: &Session<'_>, target: &Target<'_>, lab: &Lab, own: &Own, addresses: &Addresses) -> Result<()> {
    let ui = session.ui;
    ui.note(format_args!("{}: the build machine is ready", target.address));
    let console = format!("open /{}/{HOSTNAME}/0", printable(&lab.title));
    match addresses.list.first() {
        Some(address) => {
            if addresses.by_itself {
                ui.note("its address is from its own console: the server's table of addresses does not have it");
            }
            ui.note("log in, by way of the server (its network is the server's NAT, which nobody else reaches), with:");
            let user = ssh::user(target.access, None);
            ui.result(format_args!(
                "ssh -J {user}@{}:{} {}@{address}",
                target.address.url_host(),
                ssh::PORT,
                own.user
            ))?;
            ui.note(format_args!(
                "or at CML's console server: `ssh {user}@{}`, then `{console}`",
                target.address.url_host()
            ));
        }
        None => {
            ui.warn("no address of it is known, neither to the server nor from its console");
            ui.note(format_args!(
                "log in at CML's console server: `ssh {}@{}`, then `{console}`",
                ssh::user(target.access, None),
                target.address.url_host()
            ));
        }
    }
    Ok(())
}
