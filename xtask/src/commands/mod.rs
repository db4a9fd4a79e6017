//! One file per subcommand, with its `Args` and its `run`; and what they share: `args`, `session`, `flow`, `servers`,
//!, `running_nodes` and `variant_definitions`.

mod any_image;
pub mod args;
pub mod build;
pub mod builder;
pub mod clean;
pub mod cml;
pub mod consoles;
pub mod diff;
pub mod flow;
pub mod inspect;
pub mod lint;
pub mod list;
pub mod new;
mod outcome;
pub mod run;
pub(crate) mod running_nodes;
pub mod save;
mod saved_nodes;
pub mod sbom;
mod servers;
pub mod session;
pub mod setup;
pub mod stop;
pub mod upload;
pub(crate) mod variant_definitions;
pub mod verify;

/// A command that has printed everything already, and ends with this exit code.
#[derive(Debug, thiserror::Error)]
#[error("ended with exit code {0}")]
pub struct Ended(pub u8);

/// The command line names something that cannot be worked on. The exit code is 2.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct WrongUsage(pub anyhow::Error);
