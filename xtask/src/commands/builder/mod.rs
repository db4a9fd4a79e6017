//! `cargo xtask builder …`: a build machine inside CML.

mod create;
mod lab;
mod status;

use anyhow::Result;
use clap::Subcommand;

use crate::commands::session::Session;

#[derive(Subcommand)]
pub enum Command {
    /// Create the lab, or a file to import by hand
    Create(Box<create::Args>),
    /// Start the machine, wait until it is ready, and show how to log in
    Start(lab::Args),
    /// Stop the machine; its disk is kept
    Stop(lab::Args),
    /// Stop, wipe and delete the lab
    Delete(lab::DeleteArgs),
    /// Show the labs with that title and the state of their machines
    Status(status::Args),
}

pub async fn run(session: &Session<'_>, command: Command) -> Result<()> {
    match command {
        Command::Create(args) => create::run(session, *args).await,
        Command::Start(args) => lab::start(session, args).await,
        Command::Stop(args) => lab::stop(session, args).await,
        Command::Delete(args) => lab::delete(session, args).await,
        Command::Status(args) => status::run(session, args).await,
    }
}
