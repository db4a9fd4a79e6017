//! Images in the engine: asking for them, naming and removing them.

pub mod base;
pub mod retrying;

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, anyhow};
use bollard::models::{ImageInspect, ImageSummary};
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use bytes::Bytes;
use catalog::labels;
use futures_util::Stream;

use crate::engine::images::retrying::undisturbed;
use crate::engine::{Engine, build, shorten};
use files::Lock;

/// An image in the engine.
#[derive(Clone, Debug)]
pub struct Image {
    /// What the engine calls it. With the containerd image store this is *not* the ID that CML
    /// sees. [docs/cml.md 3]
    pub engine_id: String,
    pub tags: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Bytes on the engine's disk.
    pub size: u64,
    pub architecture: String,
}

impl Engine {
    /// The image of that name, if there is one.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn image(&self, reference: &str) -> Result<Option<Image>> {
        match undisturbed(|| self.docker().inspect_image(reference)).await {
            Ok(found) => Ok(Some(image_of(found)?)),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("asking the engine for the image {reference}")),
        }
    }

    /// All images that bear `label` with that value (any value if empty).
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn labelled(&self, label: &str, value: &str) -> Result<Vec<Image>> {
        let filter = if value.is_empty() { label.to_owned() } else { format!("{label}={value}") };
        self.list("label", filter).await
    }

    /// All images whose name, without the tag, is this.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn by_name(&self, name: &str) -> Result<Vec<Image>> {
        self.list("reference", name.to_owned()).await
    }

    async fn list(&self, filter: &str, value: String) -> Result<Vec<Image>> {
        let filters = HashMap::from([(filter, vec![value])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let found = undisturbed(|| self.docker().list_images(Some(options.clone())))
            .await
            .context("listing the engine's images")?;
        Ok(found.into_iter().map(image_of_summary).collect())
    }

    /// Gives an image another name.
    ///
    /// # Errors
    /// If the engine does not answer, or has no such image.
    pub async fn tag(&self, reference: &str, name: &str) -> Result<()> {
        let (repository, tag) = name.split_once(':').context("the image's name has no tag")?;
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        let _alone = self.alone_with_names().await?;
        undisturbed(|| self.docker().tag_image(reference, Some(options.clone())))
            .await
            .with_context(|| format!("tagging {name}"))
    }

    /// Removes a tag or an image; never one that a container uses.
    ///
    /// # Errors
    /// If it is in use, or the engine does not answer.
    pub async fn remove(&self, reference: &str) -> Result<()> {
        // Images of this project stand on no others but those that an engine keeps as its cache, which
        // another build may be using.
        let options = RemoveImageOptionsBuilder::default().force(false).noprune(true).build();
        let _alone = self.alone_with_names().await?;
        match undisturbed(|| self.docker().remove_image(reference, Some(options.clone()), None)).await {
            Ok(_) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            // Podman goes on with the images that this one stood on, whatever `noprune` says, and tells of
            // those that a build is using.
            Err(_) if self.image(reference).await?.is_none() => Ok(()),
            Err(error) => Err(anyhow!("the image {reference} can't be removed: {}", shorten(&error.to_string()))),
        }
    }

    /// What `docker save` of this tag writes, in pieces.
    pub fn export(&self, reference: &str) -> impl Stream<Item = Result<Bytes, bollard::errors::Error>> {
        self.docker().export_image(reference)
    }

    /// Whoever holds what this yields is the only command of this project that changes names of images here, where two at once would lose
    /// one's. For moments only: who waits says nothing.
    ///
    /// # Errors
    /// If the lock can't be taken.
    pub async fn alone_with_names(&self) -> Result<Option<Lock>> {
        if self.abilities.keeps_all_names() {
            return Ok(None);
        }
        Lock::acquire_quietly(&self.own_folder().join("names.lock")).await.map(Some)
    }
}

impl Image {
    /// The digest of the plan that made this image, if this project made it.
    pub fn recipe(&self) -> Option<&str> {
        self.labels.get(labels::RECIPE).map(String::as_str)
    }

    /// Whether this project made it.
    pub fn is_ours(&self) -> bool {
        self.labels.contains_key(labels::NODE) || self.labels.contains_key(labels::BASE)
    }

    /// Its tags that this project gave it. An image that a person made from ours, and that so has
    /// our labels, has none.
    pub fn own_tags(&self) -> Vec<&str> {
        let made = self.labels.get(labels::IMAGE);
        let is_own = |tag: &&str| {
            let name = tag.split(':').next().unwrap_or_default();
            made.is_some_and(|made| made == tag) || [build::CANDIDATE, base::REPOSITORY].contains(&name)
        };
        self.tags.iter().map(String::as_str).filter(is_own).collect()
    }
}

fn image_of(found: ImageInspect) -> Result<Image> {
    let config = found.config.unwrap_or_default();
    Ok(Image {
        engine_id: full_id(&found.id.context("the engine names no ID of the image")?),
        tags: familiar(&found.repo_tags.unwrap_or_default()),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        size: found.size.unwrap_or_default().try_into().unwrap_or_default(),
        architecture: found.architecture.unwrap_or_default(),
    })
}

fn image_of_summary(found: ImageSummary) -> Image {
    Image {
        engine_id: full_id(&found.id),
        tags: familiar(&found.repo_tags),
        labels: found.labels.into_iter().collect(),
        size: found.size.try_into().unwrap_or_default(),
        architecture: String::new(),
    }
}

/// Podman answers with full names.
fn familiar(tags: &[String]) -> Vec<String> {
    tags.iter().map(|tag| archive::familiar(tag).to_owned()).collect()
}

/// Some answers leave out how an ID was made.
fn full_id(id: &str) -> String {
    if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}
