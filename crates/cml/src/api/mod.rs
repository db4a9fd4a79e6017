//! CML's REST API: a client for the calls that nodes and labs need, and installing through it. No root, no restart.

mod cause;
pub mod controller;
pub mod definitions;
mod first_contact;
mod guards;
pub mod http;
pub mod install;
pub mod labs;
pub mod proxy;
pub mod prune;
pub mod refusal;
pub mod reversal;
pub mod trust;
mod undo;

pub use controller::Controller;
pub use install::{install, status};
pub use refusal::Refused;
pub use reversal::reverse;
