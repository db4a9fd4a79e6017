//! One file per subcommand, with its `Args` and its `run`; and what they share: `args`, `session`, `ended`, `flow`,
//! `servers`, `running_nodes` and `variant_definitions`.

pub mod args;
pub mod build;
pub mod builder;
pub mod clean;
pub mod cml;
pub mod diff;
pub mod ended;
pub mod flow;
pub mod inspect;
pub mod lint;
pub mod list;
pub mod logs;
pub mod new;
mod outcome;
pub mod run;
pub(crate) mod running_nodes;
pub mod save;
mod saved_nodes;
mod servers;
pub mod session;
pub mod setup;
pub mod shell;
pub mod stop;
pub mod upload;
pub(crate) mod variant_definitions;
pub mod verify;
