//! `cargo xtask builder start`, `stop` and `delete`; and which lab the subcommands work on.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::commands::args::number;
use crate::commands::servers::{self, ServerArgs, Target};
use crate::commands::session::Session;
use builder::HOSTNAME;
use builder::lifecycle::{self, Addresses, Timeout};
use builder::lookup::{self, BuildMachine, describe};
use cml::api::Controller;
use cml::api::labs::Lab;
use cml::ssh;
use text::printable_line;

/// Which lab, on which server.
#[derive(Clone, Debug, clap::Args)]
pub struct LabArgs {
    #[command(flatten)]
    pub servers: ServerArgs,
    /// The lab's title
    #[arg(long, default_value = builder::TITLE)]
    pub title: String,
    /// The lab's id, if several labs have that title
    #[arg(long, value_name = "ID")]
    pub lab: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub struct WaitArgs {
    /// How many seconds to wait for the lab
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = number(1_u64..=86400))]
    wait: u64,
}

impl WaitArgs {
    pub fn timeout(self) -> Timeout {
        Timeout::new(Duration::from_secs(self.wait))
    }
}

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(clap::Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    which: Args,
    /// Delete without asking
    #[arg(long, short)]
    yes: bool,
}

pub async fn start(session: &Session<'_>, Args { lab, wait }: Args) -> Result<()> {
    let servers = servers::open(session.ui, &lab.servers).await?;
    let target = servers.only_by_api()?;
    logged_in(&target, async |controller| {
        let Some((lab, machine)) = select(controller, &lab).await? else {
            bail!("there is no build machine to start; create one with `cargo xtask builder create`");
        };
        let addresses = lifecycle::start(controller, &lab, &machine, wait.timeout()).await?;
        show_login(session, &target, &lab, &machine.user, &addresses)
    })
    .await
}

pub async fn stop(session: &Session<'_>, Args { lab, wait }: Args) -> Result<()> {
    let servers = servers::open(session.ui, &lab.servers).await?;
    let target = servers.only_by_api()?;
    logged_in(&target, async |controller| {
        let Some((lab, _)) = select(controller, &lab).await? else { return Ok(()) };
        let was_running = lifecycle::stop(controller, &lab, wait.timeout()).await?;
        let state = if was_running { "stopped" } else { "not running" };
        session.ui.result(format_args!("{}  {}  {state}", target.address, printable_line(&lab.id)))
    })
    .await
}

pub async fn delete(session: &Session<'_>, DeleteArgs { which: Args { lab, wait }, yes }: DeleteArgs) -> Result<()> {
    let servers = servers::open(session.ui, &lab.servers).await?;
    let target = servers.only_by_api()?;
    let _lock = target.lock().await?;
    logged_in(&target, async |controller| {
        let Some((lab, machine)) = select(controller, &lab).await? else { return Ok(()) };
        refuse_added_nodes(&lab, &machine)?;
        session.ui.note(format_args!("{}:\n{}", target.address, describe(&lab)));
        target.agree(yes, "Delete this lab, with everything on its machine?").await?;
        lifecycle::delete(controller, &lab, wait.timeout()).await?;
        session.ui.result(format_args!("{}  {}  deleted", target.address, printable_line(&lab.id)))
    })
    .await
}

/// Does `work` on the controller, logged in, and returns its result.
pub async fn logged_in<'a, T>(target: &Target<'a>, work: impl AsyncFnOnce(&Controller<'a>) -> Result<T>) -> Result<T> {
    target.logged_in(&mut None, work).await
}

/// The lab to work on. If this project has none, a note says so.
async fn select(controller: &Controller<'_>, args: &LabArgs) -> Result<Option<(Lab, BuildMachine)>> {
    let found = lookup::find(controller, &args.title, args.lab.as_deref()).await?;
    let foreign = found.iter().filter(|found| found.own.is_none()).count();
    let selected = lookup::select(found, &args.title, args.lab.as_deref())?;
    if selected.is_none() {
        let others = match foreign {
            0 => String::new(),
            1 => "; one lab with that title is not this project's and is left unchanged".to_owned(),
            n => format!("; {n} labs with that title are not this project's and are left unchanged"),
        };
        let note = format!("{}: no lab `{}` with a build machine{others}", controller.address, args.title);
        controller.access.ui.note(note);
    }
    Ok(selected)
}

/// Refuses to delete nodes that somebody else added to a lab.
pub fn refuse_added_nodes(lab: &Lab, machine: &BuildMachine) -> Result<()> {
    ensure!(
        machine.added.is_empty(),
        "the lab {} contains nodes that somebody added: {}; remove them, or delete the lab in CML's web interface",
        printable_line(&lab.id),
        machine.added.join(", ")
    );
    Ok(())
}

fn show_login(
    session: &Session<'_>,
    target: &Target<'_>,
    lab: &Lab,
    user: &str,
    Addresses { list, from_console }: &Addresses,
) -> Result<()> {
    let (ui, server) = (session.ui, target.address.url_host());
    let on_server = ssh::user(target.access, None)?;
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
    let console = format!("open /{}/{HOSTNAME}/0", printable_line(&lab.title));
    ui.note(format_args!("or use CML's console server: `ssh {on_server}@{server}`, then `{console}`"));
    Ok(())
}
