//! Arguments that several subcommands take.

use std::time::Duration;

use crate::commands::servers::ServerArgs;
use builder::lifecycle::Timeout;

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
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 1800,
        value_parser = clap::value_parser!(u64).range(1..=86400)
    )]
    wait: u64,
}

impl WaitArgs {
    pub fn timeout(self) -> Timeout {
        Timeout::new(Duration::from_secs(self.wait))
    }
}
