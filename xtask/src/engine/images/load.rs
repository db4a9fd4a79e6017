//! Loads image archives into the engine, without touching the images that it has.

use std::io::{BufWriter, Read};
use std::path::Path;

use anyhow::{Context, Result};
use bollard::query_parameters::ImportImageOptionsBuilder;
use futures_util::TryStreamExt;

use crate::engine::errors::{is_disturbed, retry_while};
use crate::engine::handle::Engine;
use crate::engine::images::pipe;

impl Engine {
    /// Loads the archive at `path`, which `open` opens, under the name `tag` alone: the names that the archive itself
    /// gives its image are left out.
    pub async fn load<O>(&self, path: &Path, open: O, tag: &str) -> Result<()>
    where
        O: Fn() -> Result<Box<dyn Read + Send>> + Clone + Send + 'static,
    {
        let disturbed = |loaded: &Result<()>| loaded.as_ref().is_err_and(|error| is_disturbed(&format!("{error:#}")));
        retry_while(disturbed, || self.import(path, open.clone(), tag)).await
    }

    async fn import(
        &self,
        path: &Path,
        open: impl FnOnce() -> Result<Box<dyn Read + Send>> + Send + 'static,
        tag: &str,
    ) -> Result<()> {
        let (mut feeder, reader) = pipe::pipe();
        // In full: engines complete short names differently.
        let new_tag = format!("docker.io/{tag}");
        let reading = tokio::task::spawn_blocking(move || -> Result<()> {
            archive::retag(open()?, &new_tag, BufWriter::with_capacity(1 << 18, &mut feeder))?;
            feeder.end_blocking();
            Ok(())
        });
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let alone = self.lock_names().await?;
        let answers = self.docker.import_image(options, bollard::body_try_stream(reader.into_stream()), None);
        let loaded = answers.try_for_each(|_| async { Ok(()) }).await;
        drop(alone);
        // The reason why reading failed is more useful than that the engine got half an archive.
        reading.await.context("reading the archive")?.with_context(|| format!("could not load {}", path.display()))?;
        loaded.with_context(|| format!("the engine could not load {}", path.display()))
    }
}
