//! Turns the data of this repository into nodes of Cisco Modeling Labs.
//!
//! Imports run one way: `commands` → {`engine`, `dist`, `host`, `proof` → `lab`} → `lock` and the crates of the workspace,
//! which are rooms of their own so that they compile side by side. A library with a thin `main.rs`, so that tests reach every room.

pub mod cli;
pub mod commands;
pub mod dist;
pub mod engine;
pub mod host;
pub mod lab;
pub mod lock;
pub mod proof;
