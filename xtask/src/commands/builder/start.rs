//! `cargo xtask builder start`

use anyhow::{Result, bail};

use crate::commands::builder::args::{LabArgs, WaitArgs};
use crate::commands::builder::lab::{logged_in, select};
use crate::commands::servers;
use crate::commands::servers::Target;
use crate::commands::session::Session;
use builder::HOSTNAME;
use builder::lifecycle::{self, Addresses};
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

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.lab.servers)?;
    let target = servers.only_by_api()?;
    logged_in(&target, async |controller| {
        let Some((lab, machine)) = select(controller, &args.lab).await? else {
            bail!("there is no build machine to start; create one with `cargo xtask builder create`");
        };
        let addresses = lifecycle::start(controller, &lab, &machine, args.wait.timeout()).await?;
        show_login(session, &target, &lab, &machine.user, &addresses)
    })
    .await
}

fn show_login(
    session: &Session<'_>,
    target: &Target<'_>,
    lab: &Lab,
    user: &str,
    Addresses { list, from_console }: &Addresses,
) -> Result<()> {
    let (ui, server) = (session.ui, target.address.url_host());
    let on_server = ssh::user(target.access, None);
    ui.note(format_args!("{}: the build machine is ready", target.address));
    if let Some(address) = list.first() {
        if *from_console {
            ui.note("its address is from its own console: the server's table of addresses does not have it");
        }
        ui.note("it is behind the server's NAT; log in by way of the server:");
        ui.result(format_args!("ssh -J {on_server}@{server}:{} {user}@{address}", ssh::PORT))?;
    } else {
        ui.warn("its address is unknown, both to the server and from its console");
    }
    let console = format!("open /{}/{HOSTNAME}/0", printable(&lab.title));
    ui.note(format_args!("or use CML's console server: `ssh {on_server}@{server}`, then `{console}`"));
    Ok(())
}
