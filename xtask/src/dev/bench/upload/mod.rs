//! `upload` by both ways in, to the tests' stand-ins for a CML server.

pub mod by_api;
pub mod by_ssh;

use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::commands::session::Session;

/// One upload, as a process of its own.
pub struct Uploaded {
    pub time: Duration,
    /// Bytes of the archive that were sent.
    pub sent: u64,
    pub transfer: Duration,
}

/// Runs the whole command.
pub fn upload(
    session: &Session<'_>,
    url: &str,
    environment: &[(&str, OsString)],
    further: &[&str],
) -> Result<Uploaded> {
    let (sh, program, root) = (Shell::new()?, std::env::current_exe()?, &session.repository.root);
    let since = Instant::now();
    let output = cmd!(sh, "{program} --root {root} upload --cml {url} --json {further...}")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .quiet()
        .ignore_stderr()
        .read()
        .context("uploading")?;
    let time = since.elapsed();
    let report: serde_json::Value = serde_json::from_str(&output)?;
    let number = |key: &str| {
        let number = report.pointer(&format!("/0/nodes/0/{key}")).and_then(serde_json::Value::as_u64);
        number.with_context(|| format!("the report has no `{key}`"))
    };
    Ok(Uploaded { time, sent: number("sent")?, transfer: Duration::from_millis(number("millis")?) })
}
