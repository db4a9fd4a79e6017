//! Turns the data of this repository into nodes of Cisco Modeling Labs.
//!
//! Imports run one way: `commands` → {`catalog`, `definitions`, `engine`, `archive`, `dist`,
//! `host`, `proof` → `lab`} → {`lock`, `ui`}. A library with a thin `main.rs`, so that tests reach every room.

pub mod archive;
pub mod catalog;
pub mod cli;
pub mod cml;
pub mod commands;
pub mod definitions;
pub mod digest;
pub mod dist;
pub mod engine;
pub mod host;
pub mod lab;
pub mod lock;
pub mod proof;
pub mod ui;
