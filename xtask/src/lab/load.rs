//! Loads archives into the engine, without touching the images that it has.

use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};
use bollard::query_parameters::ImportImageOptionsBuilder;
use futures_util::TryStreamExt;

use crate::engine::errors::{is_disturbed, retry_while};
use crate::engine::images::pipe;
use crate::lab::Lab;
use crate::lab::removal::loaded_tag;

#[derive(Clone, Debug)]
pub struct Loaded {
    /// Its name on the engine, which is unique.
    pub image: String,
    /// Bytes that it takes there.
    pub size: u64,
}

impl Lab<'_> {
    /// Loads an archive, as CML does before a node's first start.
    pub async fn load(&self, path: &Path) -> Result<Loaded> {
        let tag = loaded_tag(&self.id, &self.next().to_string());
        self.ui.command(format_args!("docker load --input {} # as {tag}", path.display()));
        let disturbed = |loaded: &Result<()>| loaded.as_ref().is_err_and(|error| is_disturbed(&format!("{error:#}")));
        retry_while(disturbed, || self.import(path, &tag)).await?;
        let image =
            self.engine.image(&tag).await?.context("the engine loaded the archive, but does not have its image")?;
        Ok(Loaded { image: tag, size: image.size })
    }

    async fn import(&self, path: &Path, tag: &str) -> Result<()> {
        let (mut feeder, reader) = pipe::pipe();
        // In full: engines complete short names differently.
        let (archive, new_tag) = (path.to_owned(), format!("docker.io/{tag}"));
        let reading = tokio::task::spawn_blocking(move || -> Result<()> {
            archive::retag(archive::open(&archive)?, &new_tag, BufWriter::with_capacity(1 << 18, &mut feeder))?;
            feeder.end_blocking();
            Ok(())
        });
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let alone = self.engine.lock_names().await?;
        let answers = self.engine.docker.import_image(options, bollard::body_try_stream(reader.into_stream()), None);
        let loaded = answers.try_for_each(|_| async { Ok(()) }).await;
        drop(alone);
        // The reason why reading failed is more useful than that the engine got half an archive.
        reading.await.context("reading the archive")?.with_context(|| format!("could not load {}", path.display()))?;
        loaded.with_context(|| format!("the engine could not load {}", path.display()))
    }
}
