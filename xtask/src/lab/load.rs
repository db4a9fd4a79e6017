//! Loads archives into the engine, for this lab alone.

use std::path::Path;

use anyhow::{Context, Result};

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
        let archive = path.to_owned();
        self.engine.load(path, move || archive::open(&archive), &tag).await?;
        let image =
            self.engine.image(&tag).await?.context("the engine loaded the archive, but does not have its image")?;
        Ok(Loaded { image: tag, size: image.size })
    }
}
