//! The container engine, by way of its API.

pub mod abilities;
pub mod base;
pub mod build;
pub mod checks;
pub mod choice;
pub mod command_line;
pub mod containers;
pub mod detached;
pub mod dockerfile;
pub mod embedded;
pub mod endpoint;
pub mod find;
pub mod listing;
mod ping;
pub mod podman;
mod progress;
mod proxy;
mod small_build;
pub mod undisturbed;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bollard::Docker;
use bollard::models::{ImageInspect, ImageSummary};
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptionsBuilder};
use bytes::Bytes;
use futures_util::Stream;

use abilities::Abilities;
use catalog::labels;
use embedded::Embedded;
use endpoint::Endpoint;
use ui::Ui;
use undisturbed::undisturbed;

/// How long an engine may take to answer a ping. Longer over ssh, where a login comes first.
const PING_TIME: Duration = Duration::from_secs(10);

/// An engine that answered.
#[derive(Clone)]
pub struct Engine {
    docker: Docker,
    pub endpoint: Endpoint,
    pub abilities: Abilities,
    /// The engine that lives as long as this program uses it.
    embedded: Option<Arc<Embedded>>,
}

/// Why no engine serves us.
#[derive(Debug)]
pub enum Unreachable {
    /// Nothing answers there.
    Silent { endpoint: Endpoint, why: String },
    /// Something is there, but not for this user.
    Forbidden { endpoint: Endpoint },
    /// The embedded engine is asked for, but Podman is not installed.
    NotInstalled,
    /// Podman is installed, but can't be started as a part of this program.
    Embedded(anyhow::Error),
    /// The address itself can't be used.
    Misconfigured(anyhow::Error),
}

/// An image in the engine.
#[derive(Clone, Debug)]
pub struct Image {
    /// What the engine calls it. With the containerd image store this is *not* the ID that CML
    /// sees. [cml-facts 3]
    pub engine_id: String,
    pub tags: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// Bytes on the engine's disk.
    pub size: u64,
    pub architecture: String,
}

impl Engine {
    /// Pings the engine at an address.
    ///
    /// # Errors
    /// Says why it does not serve.
    pub async fn at(endpoint: Endpoint) -> Result<Self, Unreachable> {
        let docker = match endpoint.client(bollard::API_DEFAULT_VERSION) {
            Ok(docker) => docker,
            // bollard looks for the socket's file already here.
            Err(error) if endpoint.host.starts_with("unix://") => {
                return Err(Unreachable::Silent { why: root_cause(&error), endpoint });
            }
            Err(error) => return Err(Unreachable::Misconfigured(error)),
        };
        let asking = Abilities::ask(docker, &endpoint);
        match tokio::time::timeout(PING_TIME, asking).await {
            Ok(Ok((docker, abilities))) => Ok(Self { docker, endpoint, abilities, embedded: None }),
            Ok(Err(error)) => {
                let forbidden = error.chain().any(|cause| cause.to_string().contains("ermission denied"));
                if forbidden && endpoint.host.starts_with("unix://") {
                    return Err(Unreachable::Forbidden { endpoint });
                }
                Err(Unreachable::Silent { why: root_cause(&error), endpoint })
            }
            Err(_) => Err(Unreachable::Silent { why: format!("no answer within {} s", PING_TIME.as_secs()), endpoint }),
        }
    }

    /// Starts an engine that ends with the last copy of what this yields.
    ///
    /// # Errors
    /// Says why it does not start.
    pub async fn embedded(ui: &Ui, cache: &Path, reason: String) -> Result<Self, Unreachable> {
        let embedded = Embedded::start(ui, cache).await.map_err(Unreachable::Embedded)?;
        let mut engine = Self::at(Endpoint::at(embedded.host(), reason)).await?;
        engine.abilities.runs_containers = embedded.fitness.runtime.clone().map(drop);
        engine.embedded = Some(Arc::new(embedded));
        Ok(engine)
    }

    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// For people: `Docker 20.10.24 at unix:///var/run/docker.sock (the default)`
    pub fn describe(&self) -> String {
        match &self.embedded {
            None => format!("{} at {} ({})", self.abilities, self.endpoint.host, self.endpoint.reason),
            Some(embedded) => {
                format!("{}, embedded ({}): {}", self.abilities, self.endpoint.reason, embedded.describe())
            }
        }
    }

    /// The file whose lock keeps a build alone with the caches, where the engine does not see to that.
    pub fn lock_of_builds(&self, cache: &Path) -> Option<PathBuf> {
        let folder = self.embedded.as_ref().map_or(cache, |embedded| embedded.storage());
        (!self.abilities.locks_caches()).then(|| folder.join("builds.lock"))
    }

    /// # Errors
    /// If this machine lets no container run on it; says what is in the way.
    pub fn must_run_containers(&self) -> Result<()> {
        let can = self.abilities.runs_containers.as_ref();
        can.copied().map_err(|why| {
            anyhow!(
                "containers do not run on this machine, so no node does: {why}\n  images are built and saved all the same; \
                 to run and prove nodes, use another machine's engine (DOCKER_HOST) or have this one allow it"
            )
        })
    }

    /// Whether it is a part of this program.
    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// Why a command failed, as far as an engine of ours knows.
    pub fn advice(&self, error: &anyhow::Error) -> Option<String> {
        self.embedded.as_ref()?.advice(error)
    }

    /// The image of that name, if there is one.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn image(&self, reference: &str) -> Result<Option<Image>> {
        match self.docker.inspect_image(reference).await {
            Ok(found) => Ok(Some(image_of(found)?)),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("asking the engine for the image {reference}")),
        }
    }

    /// Whether the engine can fetch this image from its registry, asked without fetching it.
    ///
    /// # Errors
    /// Says why not.
    pub async fn probe_registry(&self, reference: &str) -> Result<()> {
        const TIME: Duration = Duration::from_secs(8);
        match tokio::time::timeout(TIME, self.docker.inspect_registry_image(reference, None)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => bail!("the engine can't fetch {reference}: {}", shorten(&error.to_string())),
            Err(_) => bail!("the registry of {reference} did not answer within {} s", TIME.as_secs()),
        }
    }

    /// All images that bear `label` with that value (any value if empty).
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn labelled(&self, label: &str, value: &str) -> Result<Vec<Image>> {
        let filter = if value.is_empty() { label.to_owned() } else { format!("{label}={value}") };
        let filters = HashMap::from([("label", vec![filter])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let found = undisturbed(|| self.docker.list_images(Some(options.clone())))
            .await
            .context("listing the engine's images")?;
        Ok(found.into_iter().map(image_of_summary).collect())
    }

    /// All images whose name, without the tag, is this.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn by_name(&self, name: &str) -> Result<Vec<Image>> {
        let filters = HashMap::from([("reference", vec![name])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let found = undisturbed(|| self.docker.list_images(Some(options.clone())))
            .await
            .context("listing the engine's images")?;
        Ok(found.into_iter().map(image_of_summary).collect())
    }

    /// Removes what checks of this node have left behind: containers of a command that was killed.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn remove_check_containers(&self, node: &str) -> Result<()> {
        for container in self.containers(&format!("{}={node}", labels::CHECK)).await? {
            self.remove_container(&container.id).await?;
        }
        Ok(())
    }

    /// Removes a tag or an image; never one that a container uses.
    ///
    /// # Errors
    /// If it is in use, or the engine does not answer.
    pub async fn remove(&self, reference: &str) -> Result<()> {
        // Images of this project stand on no others but those that an engine keeps as its cache, which
        // another build may be using.
        let options = RemoveImageOptionsBuilder::default().force(false).noprune(true).build();
        match self.docker.remove_image(reference, Some(options), None).await {
            Ok(_) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
            // Podman goes on with the images that this one stood on, whatever `noprune` says, and tells of
            // those that a build is using.
            Err(_) if self.image(reference).await?.is_none() => Ok(()),
            Err(error) => Err(anyhow!("the image {reference} can't be removed: {}", shorten(&error.to_string()))),
        }
    }

    /// What `docker save` of this tag writes, in pieces.
    pub fn export(&self, reference: &str) -> impl Stream<Item = Result<Bytes, bollard::errors::Error>> {
        self.docker.export_image(reference)
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

impl Unreachable {
    /// Whether installing or starting an engine of this machine would help.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::NotInstalled => true,
            Self::Silent { endpoint, .. } => endpoint.is_default(),
            Self::Forbidden { .. } | Self::Embedded(_) | Self::Misconfigured(_) => false,
        }
    }

    /// In a few words, for who is served by another engine instead.
    pub fn in_short(&self) -> String {
        match self {
            Self::NotInstalled => "Podman is not installed".to_owned(),
            Self::Silent { endpoint, .. } => format!("no engine answers at {}", endpoint.host),
            Self::Forbidden { endpoint } => format!("you may not use the engine at {}", endpoint.host),
            Self::Misconfigured(error) | Self::Embedded(error) => format!("{error:#}"),
        }
    }

    /// Neither of two engines serves.
    fn and(self, embedded: Self) -> Self {
        let first = self.in_short();
        Self::Embedded(embedded.explain().context(format!("{first}, and the embedded engine does not start")))
    }

    /// The error, and what to do about it.
    pub fn explain(self) -> anyhow::Error {
        match self {
            Self::Misconfigured(error) | Self::Embedded(error) => error,
            Self::NotInstalled => anyhow!(
                "Podman, which is the embedded engine, is not installed; `cargo xtask setup --engine embedded --yes` brings it"
            ),
            Self::Forbidden { endpoint } => anyhow!(
                "you may not use the engine at {}: join its group (sudo usermod -aG docker \"$USER\") and log in again; or install \
                 Podman (`cargo xtask setup --engine embedded`), which needs no such right",
                endpoint.host
            ),
            Self::Silent { endpoint, why } if endpoint.is_default() => anyhow!(
                "no container engine answers at {} ({why}).\n  `cargo xtask setup` says what is missing, `cargo xtask setup --yes` installs and starts it",
                endpoint.host
            ),
            Self::Silent { endpoint, why } => {
                anyhow!("no container engine answers at {} (from {}): {why}", endpoint.host, endpoint.reason)
            }
        }
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

fn root_cause(error: &anyhow::Error) -> String {
    shorten(&error.root_cause().to_string())
}

/// Engines wrap their reason in many others; the last is the one that helps.
fn shorten(text: &str) -> String {
    let text = match text.strip_prefix("Docker responded with status code ") {
        Some(answer) => answer.split_once(": ").map_or(answer, |(_code, message)| message),
        None => text,
    };
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}
