//! `cargo xtask cml …`: what is installed on servers, and removing or restoring it.

mod doctor;
mod prune;
mod reverse;
mod status;

use anyhow::Result;
use clap::Subcommand;

use crate::commands::session::Session;
use cml::Reversal;

#[derive(Subcommand)]
pub enum Command {
    /// Show version, readiness and free space of servers, and how the nodes there differ
    Status(status::Args),
    /// Remove a node: its image and both definitions
    Remove(reverse::Args),
    /// Restore what the last installation replaced
    Rollback(reverse::Args),
    /// Remove old versions that no lab uses
    Prune(prune::Args),
    /// Check that servers are ready for the nodes here; --fix fixes what it can
    Doctor(doctor::Args),
}

pub async fn run(session: &Session<'_>, command: Command) -> Result<()> {
    match command {
        Command::Status(args) => status::run(session, args).await,
        Command::Remove(args) => reverse::run(session, Reversal::Remove, args).await,
        Command::Rollback(args) => reverse::run(session, Reversal::Rollback, args).await,
        Command::Prune(args) => prune::run(session, args).await,
        Command::Doctor(args) => doctor::run(session, args).await,
    }
}
