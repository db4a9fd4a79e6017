//! The container engine, by way of its API.

pub mod abilities;
pub mod build;
pub mod command_line;
pub mod connect;
pub mod containers;
pub mod detached;
pub mod embedded;
pub mod images;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use bollard::Docker;

use crate::engine::abilities::Abilities;
use crate::engine::connect::endpoint::Endpoint;
use crate::engine::embedded::Embedded;
use catalog::labels;
use ui::Ui;

pub use images::Image;

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
    /// Where this project keeps what is no engine's.
    cache: PathBuf,
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

impl Engine {
    /// Pings the engine at an address.
    ///
    /// # Errors
    /// Says why it does not serve.
    pub async fn at(endpoint: Endpoint, cache: &Path) -> Result<Self, Unreachable> {
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
            Ok(Ok((docker, abilities))) => {
                Ok(Self { docker, endpoint, abilities, embedded: None, cache: cache.to_owned() })
            }
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
        let mut engine = Self::at(Endpoint::at(embedded.host(), reason), cache).await?;
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
    pub fn lock_of_builds(&self) -> Option<PathBuf> {
        (!self.abilities.locks_caches()).then(|| self.own_folder().join("builds.lock"))
    }

    /// Where commands agree on what only one of them may do on this engine.
    fn own_folder(&self) -> &Path {
        self.embedded.as_ref().map_or(&self.cache, |embedded| embedded.storage())
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
