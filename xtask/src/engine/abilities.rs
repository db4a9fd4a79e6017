//! What an engine can do. The rest of the program asks here, and never for the engine's make.

use std::fmt;

use anyhow::{Context, Result};
use bollard::Docker;

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
}

impl Abilities {
    /// Asks an engine.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn ask(docker: &Docker) -> Result<Self> {
        let answer = docker.version().await.context("asking the engine for its version")?;
        let is_podman = answer.components.unwrap_or_default().iter().any(|part| part.name == "Podman Engine");
        let make = if is_podman { Make::Podman } else { Make::Docker };
        Ok(Self { make, version: answer.version.unwrap_or_default() })
    }

    /// Whether it builds through BuildKit, which tells of each step. Podman builds by itself, through
    /// the API's older way.
    pub fn has_buildkit(&self) -> bool {
        self.make == Make::Docker
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
