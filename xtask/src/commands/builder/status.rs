//! `cargo xtask builder status`

use anyhow::Result;
use serde::Serialize;

use crate::commands::builder::lab::{LabArgs, logged_in};
use crate::commands::servers;
use crate::commands::session::Session;
use builder::lookup::{self, Found};
use builder::{console, lifecycle};
use cml::api::Controller;
use text::printable_line;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    lab: LabArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Status {
    server: String,
    lab: String,
    title: String,
    /// Whether this project made it.
    own: bool,
    state: String,
    /// The machine's state in words.
    machine: Option<String>,
    user: Option<String>,
    addresses: Vec<String>,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let servers = servers::open(session.ui, &args.lab.servers).await?;
    let target = servers.only_by_api()?;
    let all = logged_in(&target, async |controller| {
        let mut all = Vec::new();
        for found in lookup::find(controller, &args.lab.title, args.lab.lab.as_deref()).await? {
            all.push(status(controller, found).await?);
        }
        Ok(all)
    })
    .await?;
    if args.json {
        return session.ui.json(&serde_json::to_string_pretty(&all)?);
    }
    if all.is_empty() {
        session.ui.note(format_args!("{}: there is no lab with the title `{}`", target.address, args.lab.title));
    }
    all.iter().try_for_each(|status| print(session, status))
}

fn print(session: &Session<'_>, status: &Status) -> Result<()> {
    let owner = if status.own { "" } else { "  not created by this project" };
    let Status { server, lab, title, state, .. } = status;
    session.ui.result(format_args!("{server}  {}  {}  {state}{owner}", printable_line(lab), printable_line(title)))?;
    if let Some(machine) = &status.machine {
        let addresses = status.addresses.join(" ");
        session.ui.result(format!("    machine: {machine}  {addresses}").trim_end())?;
    }
    Ok(())
}

async fn status(controller: &Controller<'_>, found: Found) -> Result<Status> {
    let (mut machine, mut addresses) = (None, Vec::new());
    if let Some(own) = &found.own {
        let state = controller.node_state(&found.lab.id, &own.node).await?;
        let runs = state.as_ref().is_some_and(cml::api::labs::RunState::is_running);
        // The log of a machine that is off is an old one.
        let log = if runs { controller.console_log(&found.lab.id, &own.node).await? } else { String::new() };
        machine = Some(lifecycle::describe(state.as_ref(), console::boots(&log).last()));
        if runs {
            addresses = controller.addresses(&found.lab.id, &own.node).await?;
        }
    }
    Ok(Status {
        server: controller.address.to_string(),
        lab: found.lab.id,
        title: found.lab.title,
        own: found.own.is_some(),
        state: found.lab.state.to_string(),
        machine,
        user: found.own.map(|own| own.user),
        addresses,
    })
}
