//! CML's REST API: a client for the calls that nodes and labs need, and installing through it. No root, no restart.

pub mod controller;
pub mod http;
pub mod install;
pub mod labs;
pub mod proxy;
pub mod reversal;
pub mod trust;

pub use controller::{Controller, Kind, Refused};
pub use install::{Options, install, status};
pub use reversal::reverse;
