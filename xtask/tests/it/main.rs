//! The end-to-end tests: the program as a user runs it. They are one crate, so that `common` is compiled and linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is how a test reports")]

mod common;

mod a_node_is_data;
mod addresses;
mod builder;
mod builder_machine;
mod choosing_an_engine;
mod docs;
mod embedded;
mod engines;
mod failing_builds;
mod install_script;
mod interrupted;
mod lint;
mod lost_engine;
mod new;
mod no_engine;
mod real_data;
mod tidy;
mod upload_api;
mod upload_faults;
mod upload_real;
mod upload_ssh;
mod variants;
mod verify;
mod virl2_client;
mod wrong_input;
