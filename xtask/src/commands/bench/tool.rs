//! This program itself.

use std::time::Instant;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use super::{Figure, Times};
use crate::commands::Session;

/// `list`, as a whole process.
pub fn list(session: &Session<'_>, rounds: u32) -> Result<Figure> {
    let (program, root) = (std::env::current_exe()?, &session.repository.root);
    let sh = Shell::new()?;
    let mut times = Times::default();
    for _ in 0..rounds.max(5) {
        let since = Instant::now();
        cmd!(sh, "{program} --root {root} list").quiet().ignore_stdout().ignore_stderr().run()?;
        times.add(since);
    }
    Ok(Figure::new("cargo xtask list, built", times.describe(), "at most 0.3 s"))
}

/// Everything from nothing, sources downloaded.
pub fn compile(session: &Session<'_>) -> Result<Figure> {
    let target = tempfile::tempdir_in(&session.cache)?;
    let sh = Shell::new()?;
    sh.change_dir(&session.repository.root);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    cmd!(sh, "{cargo} fetch --quiet --locked").quiet().run().context("downloading the sources")?;
    session.ui.headline("cold compile of xtask");
    let (folder, mut times) = (target.path(), Times::default());
    let since = Instant::now();
    cmd!(sh, "{cargo} build --quiet --locked --package xtask --bin xtask --target-dir {folder}").quiet().run()?;
    times.add(since);
    Ok(Figure::new("cold compile of xtask", times.describe(), "at most 90 s on 2 cores"))
}
