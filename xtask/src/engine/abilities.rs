//! What an engine can do. The rest of the program asks here, and never for the engine's make.

use std::fmt;

use anyhow::{Context, Result};
use bollard::Docker;

use crate::engine::connect::endpoint::Endpoint;
use crate::engine::connect::ping;

/// Who made the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    Docker,
    /// Podman's service, which speaks Docker's API.
    Podman,
}

/// See the module's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abilities {
    make: Make,
    version: String,
    /// Whether containers run on it, or why not.
    pub runs_containers: Result<(), String>,
}

impl Abilities {
    /// Asks an engine, and makes the client speak the version of the API that it knows.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn ask(docker: Docker, endpoint: &Endpoint) -> Result<(Docker, Self)> {
        if let Some(path) = endpoint.host.strip_prefix("unix://")
            && let Some(answer) = ping::ask(path).await?
        {
            let abilities = Self { make: answer.make, version: answer.version, runs_containers: Ok(()) };
            let newest = bollard::API_DEFAULT_VERSION;
            let api = if answer.api < *newest { &answer.api } else { newest };
            return Ok((endpoint.client(api)?, abilities));
        }
        let docker = docker.negotiate_version().await?;
        let answer = docker.version().await.context("asking the engine for its version")?;
        let is_podman = answer.components.unwrap_or_default().iter().any(|part| part.name == "Podman Engine");
        let make = if is_podman { Make::Podman } else { Make::Docker };
        Ok((docker, Self { make, version: answer.version.unwrap_or_default(), runs_containers: Ok(()) }))
    }

    /// The program by which a person speaks to it, and by which nodes are created.
    pub fn command_line(&self) -> &'static str {
        match self.make {
            Make::Docker => "docker",
            Make::Podman => "podman",
        }
    }

    /// Whether that program is installed.
    pub fn has_command_line(&self) -> bool {
        crate::machine::is_installed(self.command_line())
    }

    /// Whether a build's cache consists of images, one a step. They bear the build's labels, too.
    pub fn caches_steps_as_images(&self) -> bool {
        self.make == Make::Podman
    }

    /// Whether it heeds `sharing=locked` of a cache. Podman 4.3 locks, but does not unlock all, so that a later step waits for ever.
    pub fn locks_caches(&self) -> bool {
        self.has_buildkit()
    }

    /// Whether an image has all its names after two have changed them at once. Podman 4.3 writes the whole list back that it had read,
    /// and removes the image when the one that is taken away was the last one then.
    pub fn keeps_all_names(&self) -> bool {
        self.make == Make::Docker
    }

    /// Whether it builds through BuildKit, which tells of each step. Podman builds by itself, through
    /// the API's older way.
    pub fn has_buildkit(&self) -> bool {
        self.make == Make::Docker
    }

    /// Whether it clears up after a container that has ended in a process of its own, which comes when it comes, and would clear away
    /// what somebody has prepared for the next start by then.
    pub fn clears_up_later(&self) -> bool {
        self.make == Make::Podman
    }

    /// Its maker's name, for people.
    pub fn make(&self) -> Make {
        self.make
    }

    /// The capabilities that Docker gives a container unasked, and this engine does not.
    pub fn capabilities_withheld(&self) -> &'static [&'static str] {
        match self.make {
            Make::Docker => &[],
            Make::Podman => &["AUDIT_WRITE", "MKNOD", "NET_RAW"],
        }
    }

    /// What must be said at a container's creation, so that it is as Docker makes it unasked.
    pub fn arguments_of_docker(&self) -> &'static [&'static str] {
        match self.make {
            Make::Docker => &[],
            // The log is where `docker logs` finds it, whatever the engine's configuration says.
            Make::Podman => {
                &["--log-driver=k8s-file", "--pids-limit=-1", "--sysctl", "net.ipv4.ip_unprivileged_port_start=0"]
            }
        }
    }
}

impl fmt::Display for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        })
    }
}

impl fmt::Display for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.make, self.version)
    }
}
