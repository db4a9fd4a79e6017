//! Tools for developers of this program: continuous integration and benchmarks.

pub mod bench;
pub mod ci;
mod guest;

use anyhow::Result;
use clap::Subcommand;

use crate::commands::session::Session;

#[derive(Subcommand)]
pub enum Command {
    /// Check formatting and lints, and run all tests
    Ci(ci::Args),
    /// Measure what the project promises, next to the alternatives that it replaces
    Bench(bench::Args),
}

pub async fn run(session: &Session<'_>, command: Command) -> Result<()> {
    match command {
        Command::Ci(args) => ci::run(session, args).await,
        Command::Bench(args) => bench::run(session, args).await,
    }
}
