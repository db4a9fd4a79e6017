//! `cargo xtask cml …`: what stands on a server, and taking it off or back.

mod doctor;
mod reverse;
mod status;

use anyhow::Result;
use clap::Subcommand;

use crate::commands::session::Session;
use cml::Reversal;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Version, readiness and free space; each node here: absent, the same, or what differs.
    Status(status::Args),
    /// Takes a node's three artefacts off again.
    Remove(reverse::Args),
    /// Back to what the last installation replaced.
    Rollback(reverse::Args),
    /// Whether servers are ready for the nodes here; --fix puts right what it can.
    Doctor(doctor::Args),
}

/// # Errors
/// If a server can't be worked on.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    match args.command {
        Command::Status(args) => status::run(session, args).await,
        Command::Remove(args) => reverse::run(session, Reversal::Remove, args).await,
        Command::Rollback(args) => reverse::run(session, Reversal::Rollback, args).await,
        Command::Doctor(args) => doctor::run(session, args).await,
    }
}
