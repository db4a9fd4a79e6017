//! Tools for developers of this program: continuous integration and benchmarks.

pub mod bench;
pub mod ci;
mod guest;

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
    /// Check formatting and lints, and run all tests
    Ci(ci::Args),
    /// Measure what the project promises, next to the alternatives that it replaces
    Bench(bench::Args),
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    match args.command {
        Command::Ci(args) => ci::run(session, args).await,
        Command::Bench(args) => bench::run(session, args).await,
    }
}
