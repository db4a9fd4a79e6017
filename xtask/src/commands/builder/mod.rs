//! `cargo xtask builder …`: a build machine inside CML.

mod create;
mod delete;
mod start;
mod status;
mod stop;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::commands::servers::{Done, ServerArgs, Target};
use crate::commands::session::Session;
use builder::labs::{self, Own};
use builder::life::Patience;
use cml::api::Controller;
use cml::api::labs::Lab;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes the lab, or a file of it to import by hand.
    Create(Box<create::Args>),
    /// Starts it, waits until the machine is prepared, and says how to log in.
    Start(start::Args),
    /// Stops it; its disk is kept.
    Stop(stop::Args),
    /// Stops, wipes and deletes it.
    Delete(delete::Args),
    /// The labs of that title: whose they are, and how far they are.
    Status(status::Args),
}

/// Which lab, on which server.
#[derive(Clone, Debug, clap::Args)]
pub struct LabArgs {
    #[command(flatten)]
    servers: ServerArgs,
    /// The lab's title
    #[arg(long, default_value = builder::TITLE)]
    title: String,
    /// The lab's id, if several have that title
    #[arg(long, value_name = "ID")]
    lab: Option<String>,
}

/// How long something that the server does is waited for.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct WaitArgs {
    /// Seconds that the lab is waited for
    #[arg(long, value_name = "SECONDS", default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..=86400))]
    wait: u64,
}

impl WaitArgs {
    fn patience(self) -> Patience {
        Patience::new(Duration::from_secs(self.wait))
    }
}

/// # Errors
/// If it can't be done.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    match args.command {
        Command::Create(args) => create::run(session, *args).await,
        Command::Start(args) => start::run(session, args).await,
        Command::Stop(args) => stop::run(session, args).await,
        Command::Delete(args) => delete::run(session, args).await,
        Command::Status(args) => status::run(session, args).await,
    }
}

/// Works on the controller, logged in.
async fn logged_in<'a, T>(target: &Target<'a>, work: impl AsyncFnOnce(&Controller<'a>) -> Result<T>) -> Result<T> {
    let mut result = None;
    let work = async |controller: &Controller<'a>, _: &mut Done| {
        result = Some(work(controller).await?);
        Ok(())
    };
    target.logged_in(&mut Done::default(), work).await?;
    result.context("nothing was done")
}

/// The lab that is meant. That there is none of ours is told.
async fn meant(controller: &Controller<'_>, args: &LabArgs) -> Result<Option<(Lab, Own)>> {
    let found = labs::find(controller, &args.title, args.lab.as_deref()).await?;
    let foreign = found.iter().filter(|found| found.own.is_none()).count();
    let meant = labs::meant(found, &args.title, args.lab.as_deref())?;
    if meant.is_none() {
        let others = match foreign {
            0 => String::new(),
            1 => "; one of that title is not this project's, and is left alone".to_owned(),
            n => format!("; {n} of that title are not this project's, and are left alone"),
        };
        let at = &controller.address;
        controller
            .access
            .ui
            .note(format_args!("{at}: there is no build machine in a lab called `{}`{others}", args.title));
    }
    Ok(meant)
}

/// Asks before something is deleted.
async fn agree(target: &Target<'_>, yes: bool, question: &str) -> Result<()> {
    if yes {
        return Ok(());
    }
    let ui = &target.access.ui;
    anyhow::ensure!(
        ui.can_ask() && ui.ask(question).await?,
        "{}: nothing was changed; --yes agrees to it",
        target.address
    );
    Ok(())
}

/// Nodes that somebody added to a lab are not ours to delete.
fn nothing_added(lab: &Lab, own: &Own) -> Result<()> {
    anyhow::ensure!(
        own.added.is_empty(),
        "the lab {} holds nodes that somebody added: {}; remove them first, or delete the lab in CML's web pages",
        lab.id,
        own.added.join(", ")
    );
    Ok(())
}
