//! What the engine knows about an image; finding, naming, removing and exporting images.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bollard::errors::Error;
use bollard::models::{ImageInspect, ImageSummary};
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder};
use catalog::{BuildPlan, labels};
use digests::Digest;

use crate::engine::errors::{retry_disturbed, shorten};
use crate::engine::handle::Engine;
use files::Lock;

/// The repository of images that have not passed their checks yet.
pub const CANDIDATE: &str = "cml-nodes/candidate";

/// The repository of bootstrapped bases, whose tag is the suite.
pub const BOOTSTRAPPED: &str = "cml-nodes/debian";

/// An image in the engine.
#[derive(Clone, Debug)]
pub struct Image {
    /// What the engine calls it; not always the ID that CML sees (`quirks.rs`; docs/cml.md, 3).
    pub engine_id: String,
    pub tags: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Bytes on the engine's disk.
    pub size: u64,
    pub architecture: String,
    /// The digests of its layers, from the lowest to the highest; not in lists of images.
    pub layers: Vec<String>,
}

impl Image {
    /// The digest of the plan that made this image, if this project made it.
    pub fn recipe(&self) -> Option<&str> {
        self.labels.get(labels::RECIPE).map(String::as_str)
    }

    /// Whether it has passed the checks with this digest.
    pub fn has_passed(&self, checks: &Digest) -> bool {
        self.labels.get(labels::CHECKS).is_some_and(|passed| passed == checks.hex())
    }

    /// Whether it was built as the image `tag` of this node: labels alone are inherited by what is built on it.
    pub fn is_built_as(&self, tag: &str, node: &str) -> bool {
        let has = |label: &str, value: &str| self.labels.get(label).is_some_and(|found| found == value);
        has(labels::NODE, node) && has(labels::IMAGE, tag)
    }

    /// Whether it is the image of exactly this plan.
    pub fn is_of(&self, plan: &BuildPlan) -> bool {
        match &plan.prebuilt {
            Some(prebuilt) => self.engine_id == format!("sha256:{}", prebuilt.image_id),
            None => self.recipe() == Some(plan.recipe.hex()) && self.is_built_as(&plan.names.image, &plan.node),
        }
    }

    /// Its tags that this project gave it. An image that a person made from ours has our labels, but none of these.
    pub fn own_tags(&self) -> Vec<&str> {
        let made = self.labels.get(labels::IMAGE);
        let is_own = |tag: &&str| {
            let name = tag.split(':').next().unwrap_or_default();
            made.is_some_and(|made| made == tag) || [CANDIDATE, BOOTSTRAPPED].contains(&name)
        };
        self.tags.iter().map(String::as_str).filter(is_own).collect()
    }

    fn from_inspect(found: ImageInspect) -> Result<Self> {
        let config = found.config.unwrap_or_default();
        Ok(Self {
            engine_id: full_id(&found.id.context("the engine's answer has no ID for the image")?),
            tags: short_names(&found.repo_tags.unwrap_or_default()),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            size: found.size.unwrap_or_default().try_into().unwrap_or_default(),
            architecture: found.architecture.unwrap_or_default(),
            layers: found.root_fs.and_then(|system| system.layers).unwrap_or_default(),
        })
    }

    fn from_summary(found: ImageSummary) -> Self {
        Self {
            engine_id: full_id(&found.id),
            tags: short_names(&found.repo_tags),
            labels: found.labels.into_iter().collect(),
            size: found.size.try_into().unwrap_or_default(),
            architecture: String::new(),
            layers: Vec::new(),
        }
    }
}

/// Podman answers with full names.
fn short_names(tags: &[String]) -> Vec<String> {
    tags.iter().map(|tag| archive::shortened(tag).to_owned()).collect()
}

/// Some answers leave out the hash algorithm.
fn full_id(id: &str) -> String {
    if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}

impl Engine {
    /// The image of that name, if there is one.
    pub async fn image(&self, reference: &str) -> Result<Option<Image>> {
        match retry_disturbed(|| self.docker.inspect_image(reference)).await {
            Ok(found) => Ok(Some(Image::from_inspect(found)?)),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("asking the engine for the image {reference}")),
        }
    }

    /// All images that have `label` with that value (any value if empty).
    pub async fn images_with_label(&self, label: &str, value: &str) -> Result<Vec<Image>> {
        let filter = if value.is_empty() { label.to_owned() } else { format!("{label}={value}") };
        self.list("label", filter).await
    }

    /// All images of this repository, whatever their tags.
    pub async fn images_named(&self, repository: &str) -> Result<Vec<Image>> {
        self.list("reference", repository.to_owned()).await
    }

    async fn list(&self, filter: &str, value: String) -> Result<Vec<Image>> {
        let filters = HashMap::from([(filter, vec![value])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let found = retry_disturbed(|| self.docker.list_images(Some(options.clone()))).await;
        let found = found.context("listing the engine's images")?;
        Ok(found.into_iter().map(Image::from_summary).collect())
    }

    /// Gives an image another name.
    pub async fn tag(&self, reference: &str, name: &str) -> Result<()> {
        let (repository, tag) = name.split_once(':').context("the image's name has no tag")?;
        let options = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        let _lock = self.lock_names().await?;
        let tagged = retry_disturbed(|| self.docker.tag_image(reference, Some(options.clone()))).await;
        tagged.with_context(|| format!("tagging {name}"))
    }

    /// Removes a tag or an image; never one that a container uses.
    pub async fn remove_image(&self, reference: &str) -> Result<()> {
        // Images of this project have no parents but an engine's build cache, which another build may be using.
        let options = RemoveImageOptionsBuilder::default().force(false).noprune(true).build();
        let _lock = self.lock_names().await?;
        match retry_disturbed(|| self.docker.remove_image(reference, Some(options.clone()), None)).await {
            Ok(_) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            // Podman also removes parents (`quirks.rs`), and reports those that a build is using.
            Err(_) if self.image(reference).await?.is_none() => Ok(()),
            Err(error) => Err(anyhow!("could not remove the image {reference}: {}", shorten(&error.to_string()))),
        }
    }

    /// Fails with the reason if the engine cannot fetch this image from its registry. Nothing is fetched.
    pub async fn probe_registry(&self, reference: &str) -> Result<()> {
        const TIMEOUT: Duration = Duration::from_secs(8);
        match tokio::time::timeout(TIMEOUT, self.docker.inspect_registry_image(reference, None)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => bail!("the engine can't fetch {reference}: {}", shorten(&error.to_string())),
            Err(_) => bail!("the registry of {reference} did not answer within {} s", TIMEOUT.as_secs()),
        }
    }

    /// The lock to hold while changing images' names, on an engine that loses names if two commands do so at once.
    /// Held for moments only, so waiting for it prints nothing.
    pub async fn lock_names(&self) -> Result<Option<Lock>> {
        if self.abilities.keeps_all_names {
            return Ok(None);
        }
        Lock::acquire_quietly(&self.own_folder().join("names.lock")).await.map(Some)
    }
}
