//! The speed of this program itself.

use std::time::Instant;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::commands::session::Session;
use crate::commands::variant_definitions;
use crate::dev::bench::figures::{Figure, Times};
use catalog::Names;
use digests::Digest;

/// `list`, measured as a process.
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

/// `lint`, measured as a process, of 1,000 copies of a definition of this repository with new ids.
pub fn lint(session: &Session<'_>, rounds: u32) -> Result<Figure> {
    const COUNT: usize = 1000;
    let folder = tempfile::tempdir_in(&session.cache)?;
    let node = session.repository.nodes().next().context("there is no node")?;
    let variant = node.variants.first().context("the node has no variant")?;
    let image_id = Digest::of("any");
    let definitions = variant_definitions::render(&session.repository, node, variant, &node.switches, &image_id)?;
    let id = Names::of(node, variant, &variant.version)?.id;
    for number in 0..COUNT {
        let text = definitions.node.replacen(&format!("id: {id}"), &format!("id: {id}-{number}"), 1);
        std::fs::write(folder.path().join(format!("{number}.yaml")), text)?;
    }
    let (program, folder) = (std::env::current_exe()?, folder.path());
    let sh = Shell::new()?;
    let mut times = Times::default();
    for _ in 0..rounds.max(5) {
        let since = Instant::now();
        cmd!(sh, "{program} lint {folder}").quiet().ignore_stdout().ignore_stderr().run()?;
        times.add(since);
    }
    Ok(Figure::new(&format!("cargo xtask lint of {COUNT} definitions, built"), times.describe(), "at most 1 s"))
}

/// Compiles everything, with the sources downloaded before.
pub fn compile(session: &Session<'_>) -> Result<Figure> {
    let target = tempfile::tempdir_in(&session.cache)?;
    let sh = Shell::new()?;
    sh.change_dir(&session.repository.root);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    cmd!(sh, "{cargo} fetch --quiet --locked").quiet().run().context("downloading the sources")?;
    session.ui.headline("compiling xtask, without any cache");
    let (folder, mut times) = (target.path(), Times::default());
    let since = Instant::now();
    cmd!(sh, "{cargo} build --quiet --locked --package xtask --bin xtask --target-dir {folder}").quiet().run()?;
    times.add(since);
    Ok(Figure::new("compiling xtask, without any cache", times.describe(), "at most 90 s on 2 cores"))
}
