//! `save`, next to what it replaces.

use anyhow::{Context, Result};
use futures_util::StreamExt;

use crate::commands::args::NodeArgs;
use crate::commands::flow::{Built, Saved};
use crate::commands::session::Session;
use crate::dev::bench::figures::{Figure, Times, figure, ratio};

/// `save`, `docker save | gzip` and the bare export in turns, so that all three run under the same conditions.
pub async fn against_gzip(session: &Session<'_>, node: &NodeArgs, rounds: u32) -> Result<Vec<Figure>> {
    let image = Built::up_to_date(session, node).await?;
    let [mut ours, mut gzip, mut bare, mut silent, mut alone] = <[Times; 5]>::default();
    let mut sizes = (0, 0);
    for round in 1..=rounds {
        session.ui.headline(format_args!("archive, round {round} of {rounds}"));
        bare.measure(bare_export(&image, &mut silent)).await?;
        compress_alone(session, &image, &mut alone).await?;
        sizes.0 = ours.measure(save_elsewhere(session, node)).await?.bundle.archive.size;
        sizes.1 = gzip.measure(async { docker_save_gzip(session, &image.plan.names.image) }).await?;
    }
    let (part, times) = (ratio(&ours, &gzip), ratio(&ours, &bare));
    Ok(vec![
        figure("save", ours, ""),
        figure("docker save | gzip", gzip, ""),
        figure("bare export", bare, ""),
        figure("  until its first byte", silent, ""),
        figure("compression alone", alone, ""),
        figure("save / docker save | gzip", format!("{part:.2}"), "at most 0.33"),
        figure("save / bare export", format!("{times:.2}"), "at most 1.5 on 2 cores"),
        figure("archive by save", text::size(sizes.0), "no larger than gzip -6's"),
        figure("archive by gzip -6", text::size(sizes.1), ""),
    ])
}

/// Reading a saved archive whole, as `lint`, `verify` and `save` judge it, in turns with unpacking it and nothing else.
pub async fn reading(session: &Session<'_>, node: &NodeArgs, rounds: u32) -> Result<Vec<Figure>> {
    let saved = Saved::up_to_date(session, node).await?;
    let path = &saved.bundle.archive.path;
    let [mut judged, mut unpacked] = <[Times; 2]>::default();
    for _ in 0..rounds {
        unpacked.measure(async { Ok(std::io::copy(&mut archive::open(path)?, &mut std::io::sink())?) }).await?;
        judged.measure(async { archive::examine_file(path) }).await?;
    }
    let more = judged.median().saturating_sub(unpacked.median()).as_secs_f64();
    Ok(vec![
        figure(format!("reading {}, each layer compared", saved.bundle.id), judged, ""),
        figure("  unpacking it alone", unpacked, ""),
        figure("  what the comparison adds", format!("{more:.2} s"), "at most 1 s"),
    ])
}

/// The sizes of image and archive, next to the limits of the manifest.
pub async fn sizes(session: &Session<'_>, node: &NodeArgs) -> Result<Vec<Figure>> {
    let built = Built::up_to_date(session, node).await?;
    let (name, limits) = (&built.plan.names.image, &built.plan.limits);
    let promise = |limit: Option<u64>| limit.map_or_else(String::new, |mb| format!("at most {mb} MB"));
    let saved = save_elsewhere(session, node).await?;
    Ok(vec![
        figure(format!("image {name}"), text::size(built.image.size), promise(limits.image_mb)),
        figure(format!("archive of {name}"), text::size(saved.bundle.archive.size), promise(limits.archive_mb)),
    ])
}

/// Exports to nowhere. `silent` gets the time until the engine's first byte; nothing can be compressed before that.
async fn bare_export(built: &Built, silent: &mut Times) -> Result<()> {
    let mut export = std::pin::pin!(built.engine.docker.export_image(&built.plan.names.image));
    let mut piece = silent.measure(async { Ok(export.next().await) }).await?;
    while let Some(bytes) = piece {
        bytes.context("the engine did not complete its export")?;
        piece = export.next().await;
    }
    Ok(())
}

/// Compresses an export from a file, so that the engine is idle meanwhile.
async fn compress_alone(session: &Session<'_>, built: &Built, alone: &mut Times) -> Result<()> {
    let export = tempfile::NamedTempFile::new_in(&session.cache)?;
    let image = &built.plan.names.image;
    duct::cmd!("docker", "save", image).stdout_path(export.path()).run().context("`docker save` failed")?;
    let (export, archive) = (export.reopen()?, tempfile::tempfile_in(&session.cache)?);
    alone.measure(async { archive::compress(export, archive) }).await.map(drop)
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
