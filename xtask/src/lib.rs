//! Turns the data of this repository into nodes of Cisco Modeling Labs.
//!
//! Imports run one way: `cli` → `dev` → `commands` → `proof` → `lab` → `setup` → `engine` → `dist` → `machine` → the
//! crates of the workspace, which compile in parallel. A library with a thin `main.rs`, so tests reach all modules.

pub mod cli;
pub mod commands;
pub mod dev;
pub mod dist;
pub mod engine;
pub mod lab;
pub mod machine;
pub mod proof;
pub mod setup;
