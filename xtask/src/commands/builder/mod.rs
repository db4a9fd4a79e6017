//! `cargo xtask builder …`: a build machine inside CML.

mod args;
mod create;
mod delete;
mod lab;
mod start;
mod status;
mod stop;

use anyhow::Result;
use clap::Subcommand;

use crate::commands::session::Session;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create the lab, or a file to import by hand
    Create(Box<create::Args>),
    /// Start the machine, wait until it is ready, and show how to log in
    Start(start::Args),
    /// Stop the machine; its disk is kept
    Stop(stop::Args),
    /// Stop, wipe and delete the lab
    Delete(delete::Args),
    /// Show the labs with that title and the state of their machines
    Status(status::Args),
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    match args.command {
        Command::Create(args) => create::run(session, *args).await,
        Command::Start(args) => start::run(session, args).await,
        Command::Stop(args) => stop::run(session, args).await,
        Command::Delete(args) => delete::run(session, args).await,
        Command::Status(args) => status::run(session, args).await,
    }
}
