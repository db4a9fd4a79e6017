//! The engine's export of an image, on its way to a reader.

use anyhow::{Context, Result};
use futures_util::StreamExt;

use crate::commands::flow::built::Built;
use crate::engine::Engine;
use crate::engine::images::pipe;

/// What `read` makes of the engine's export of the image; it runs on a thread of its own. `progress` gets the
/// number of bytes of each chunk.
pub(super) async fn export<T: Send + 'static>(
    built: &Built,
    progress: impl Fn(u64),
    read: impl FnOnce(pipe::Reader) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (feeder, reader) = pipe::pipe();
    let reading = tokio::task::spawn_blocking(move || read(reader));
    let sent = feed(&built.engine, &built.plan.names.image, feeder, progress).await;
    let read = reading.await.context("reading the export")?;
    sent?;
    let read = read?;
    refuse_another_image(built).await?;
    Ok(read)
}

/// Sends the engine's export of `image` into a pipe.
async fn feed(engine: &Engine, image: &str, feeder: pipe::Feeder, progress: impl Fn(u64)) -> Result<()> {
    let mut export = std::pin::pin!(engine.docker.export_image(image));
    while let Some(chunk) = export.next().await {
        let chunk = chunk.with_context(|| format!("the engine did not complete its export of {image}"))?;
        progress(chunk.len() as u64);
        if !feeder.feed(chunk).await {
            // The reader has stopped, and reports why itself.
            return Ok(());
        }
    }
    feeder.end().await;
    Ok(())
}

/// The export went by the tag. If that has moved since, another image was exported.
async fn refuse_another_image(built: &Built) -> Result<()> {
    let image = &built.plan.names.image;
    let now = built.engine.image(image).await?.map(|image| image.engine_id);
    anyhow::ensure!(
        now.as_ref() == Some(&built.image.engine_id),
        "{image} was built or tagged by another command in the meantime; run this again"
    );
    Ok(())
}
