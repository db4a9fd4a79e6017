//! The speed of this program itself.

use std::ffi::OsStr;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::commands::session::Session;
use crate::commands::variant_definitions::Rendering;
use crate::dev::bench::figures::{Figure, Times, figure};
use catalog::Names;
use digests::Digest;

/// This program's command with these arguments, as a process.
async fn command(session: &Session<'_>, rounds: u32, args: &[&OsStr]) -> Result<Times> {
    let (sh, program, root) = (Shell::new()?, std::env::current_exe()?, &session.repository.root);
    let mut times = Times::default();
    for _ in 0..rounds.max(5) {
        let command = cmd!(sh, "{program} --root {root} {args...}").quiet().ignore_stdout().ignore_stderr();
        times.measure(async { Ok(command.run()?) }).await?;
    }
    Ok(times)
}

pub async fn list(session: &Session<'_>, rounds: u32) -> Result<Figure> {
    let times = command(session, rounds, &["list".as_ref()]).await?;
    Ok(figure("cargo xtask list, built", times, "at most 0.3 s"))
}

/// `lint` of 1,000 copies of a definition of this repository with new ids.
pub async fn lint(session: &Session<'_>, rounds: u32) -> Result<Figure> {
    const COUNT: usize = 1000;
    let folder = tempfile::tempdir_in(&session.cache)?;
    let node = session.repository.nodes().next().context("there is no node")?;
    let variant = node.variants.first().context("the node has no variant")?;
    let image_id = Digest::of("any");
    let definitions = Rendering::of(node, variant, &node.switches, None)?.render(&session.repository, &image_id)?;
    let id = Names::of(node, variant, &variant.version)?.id;
    for number in 0..COUNT {
        let text = definitions.node.replacen(&format!("id: {id}"), &format!("id: {id}-{number}"), 1);
        std::fs::write(folder.path().join(format!("{number}.yaml")), text)?;
    }
    let times = command(session, rounds, &["lint".as_ref(), folder.path().as_ref()]).await?;
    Ok(figure(format!("cargo xtask lint of {COUNT} definitions, built"), times, "at most 1 s"))
}

/// Compiles everything, with the sources downloaded before.
pub async fn compile(session: &Session<'_>) -> Result<Figure> {
    let target = tempfile::tempdir_in(&session.cache)?;
    let sh = Shell::new()?;
    sh.change_dir(&session.repository.root);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    cmd!(sh, "{cargo} fetch --quiet --locked").quiet().run().context("downloading the sources")?;
    session.ui.headline("compiling xtask, without any cache");
    let (folder, mut times) = (target.path(), Times::default());
    let build = cmd!(sh, "{cargo} build --quiet --locked --package xtask --bin xtask --target-dir {folder}").quiet();
    times.measure(async { Ok(build.run()?) }).await?;
    Ok(figure("compiling xtask, without any cache", times, "at most 90 s on 2 cores"))
}
