//! `upload` by both ways in, onto what stands in for a CML server in the tests.

mod by_api;
mod by_ssh;

use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::commands::args::NodeArgs;
use crate::commands::session::Session;
use crate::dev::bench::Figure;

/// # Errors
/// If something to measure fails.
pub async fn both_ways(session: &Session<'_>, node: &NodeArgs, rounds: u32) -> Result<Vec<Figure>> {
    let mut figures = by_ssh::measure(session, node, rounds).await?;
    figures.extend(by_api::measure(session, node, rounds).await?);
    Ok(figures)
}

/// What one upload was like.
struct Uploaded {
    time: Duration,
    /// Bytes of archive.
    sent: u64,
    transfer: Duration,
}

/// The whole command, as a process of its own.
fn upload(session: &Session<'_>, url: &str, environment: &[(&str, OsString)], further: &[&str]) -> Result<Uploaded> {
    let (sh, program, root) = (Shell::new()?, std::env::current_exe()?, &session.repository.root);
    let since = Instant::now();
    let told = cmd!(sh, "{program} --root {root} upload --cml {url} --json {further...}")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .quiet()
        .ignore_stderr()
        .read()
        .context("uploading")?;
    let time = since.elapsed();
    let report: serde_json::Value = serde_json::from_str(&told)?;
    let number = |key: &str| {
        let number = report.pointer(&format!("/0/nodes/0/{key}")).and_then(serde_json::Value::as_u64);
        number.with_context(|| format!("the report has no `{key}`"))
    };
    Ok(Uploaded { time, sent: number("sent")?, transfer: Duration::from_millis(number("millis")?) })
}
