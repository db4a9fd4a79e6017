//! `save`, next to what it replaces.

use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::StreamExt;

use crate::commands::args::NodeArgs;
use crate::commands::flow::{Built, Saved};
use crate::commands::session::Session;
use crate::dev::bench::figures::{Figure, Times, ratio};

/// `save`, `docker save | gzip` and the bare export in turns, so that all three run under the same conditions.
pub async fn against_gzip(session: &Session<'_>, node: &NodeArgs, rounds: u32) -> Result<Vec<Figure>> {
    let image = Built::up_to_date(session, node).await?;
    let (mut ours, mut gzip, mut bare) = (Times::default(), Times::default(), Times::default());
    let (mut silent, mut alone) = (Times::default(), Times::default());
    let mut sizes = (0, 0);
    for round in 1..=rounds {
        session.ui.headline(format_args!("archive, round {round} of {rounds}"));
        let since = Instant::now();
        bare_export(&image, &mut silent).await?;
        bare.add(since);
        compress_alone(session, &image, &mut alone)?;
        let since = Instant::now();
        sizes.0 = save_elsewhere(session, node).await?.bundle.archive.size;
        ours.add(since);
        let since = Instant::now();
        sizes.1 = docker_save_gzip(session, &image.plan.names.image)?;
        gzip.add(since);
    }
    let part = ratio(ours.median(), gzip.median());
    let times = ratio(ours.median(), bare.median());
    Ok(vec![
        Figure::new("save", ours.describe(), ""),
        Figure::new("docker save | gzip", gzip.describe(), ""),
        Figure::new("bare export", bare.describe(), ""),
        Figure::new("  until its first byte", silent.describe(), ""),
        Figure::new("compression alone", alone.describe(), ""),
        Figure::new("save / docker save | gzip", format!("{part:.2}"), "at most 0.33"),
        Figure::new("save / bare export", format!("{times:.2}"), "at most 1.5 on 2 cores"),
        Figure::new("archive by save", text::size(sizes.0), "no larger than gzip -6's"),
        Figure::new("archive by gzip -6", text::size(sizes.1), ""),
    ])
}

/// The sizes of image and archive, next to the limits of the manifest.
pub async fn sizes(session: &Session<'_>, node: &NodeArgs) -> Result<Vec<Figure>> {
    let built = Built::up_to_date(session, node).await?;
    let limits = &built.plan.limits;
    let promise = |limit: Option<u64>| limit.map_or_else(String::new, |mb| format!("at most {mb} MB"));
    let saved = save_elsewhere(session, node).await?;
    let name = &built.plan.names.image;
    Ok(vec![
        Figure::new(&format!("image {name}"), text::size(built.image.size), &promise(limits.image_mb)),
        Figure::new(&format!("archive of {name}"), text::size(saved.bundle.archive.size), &promise(limits.archive_mb)),
    ])
}

/// Exports to nowhere. `silent` gets the time until the engine's first byte; nothing can be compressed before that.
async fn bare_export(built: &Built, silent: &mut Times) -> Result<()> {
    let since = Instant::now();
    let mut export = std::pin::pin!(built.engine.export(&built.plan.names.image));
    let mut started = false;
    while let Some(piece) = export.next().await {
        piece.context("the engine did not complete its export")?;
        if !std::mem::replace(&mut started, true) {
            silent.add(since);
        }
    }
    Ok(())
}

/// Compresses an export from a file, so that the engine is idle meanwhile.
fn compress_alone(session: &Session<'_>, built: &Built, alone: &mut Times) -> Result<()> {
    let export = tempfile::NamedTempFile::new_in(&session.cache)?;
    let image = &built.plan.names.image;
    duct::cmd!("docker", "save", image).stdout_path(export.path()).run().context("`docker save` failed")?;
    let since = Instant::now();
    archive::compress(export.reopen()?, tempfile::tempfile_in(&session.cache)?)?;
    alone.add(since);
    Ok(())
}

/// Runs the whole command with a new output folder, so that the user's `dist/` is unchanged.
async fn save_elsewhere(session: &Session<'_>, node: &NodeArgs) -> Result<Saved> {
    let folder = tempfile::tempdir_in(&session.cache)?;
    let elsewhere = session.elsewhere(session.ui, &session.repository.root, &folder.path().join("dist"))?;
    Saved::up_to_date(&elsewhere, node).await
}

/// Does what the Makefile of the replaced recipe does. Returns the size of the file.
fn docker_save_gzip(session: &Session<'_>, image: &str) -> Result<u64> {
    let file = tempfile::NamedTempFile::new_in(&session.cache)?;
    session.ui.command(format_args!("docker save {image} | gzip -6 >{}", file.path().display()));
    duct::cmd!("docker", "save", image)
        .pipe(duct::cmd!("gzip", "-6"))
        .stdout_path(file.path())
        .run()
        .context("`docker save | gzip` needs the docker command line and gzip")?;
    Ok(file.path().metadata()?.len())
}
