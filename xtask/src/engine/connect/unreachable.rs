//! Why no engine can be used, and what to do about it.

use anyhow::anyhow;

use crate::engine::connect::endpoint::Endpoint;

#[derive(Debug)]
pub enum Unreachable {
    /// Nothing answers there.
    Silent { endpoint: Endpoint, why: String },
    /// An engine is there, but this user may not use it.
    Forbidden { endpoint: Endpoint },
    /// The embedded engine was asked for, but Podman is not installed.
    NotInstalled,
    /// The address itself is invalid, or Podman could not be started as the embedded engine.
    Failed(anyhow::Error),
}

impl Unreachable {
    /// Whether installing or starting an engine on this machine would help.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Silent { endpoint, .. } => endpoint.is_default(),
            other => matches!(other, Self::NotInstalled),
        }
    }

    /// In a few words: why another engine is used instead.
    pub fn in_short(&self) -> String {
        match self {
            Self::NotInstalled => "Podman is not installed".to_owned(),
            Self::Silent { endpoint, .. } => format!("no engine answers at {}", endpoint.host),
            Self::Forbidden { endpoint } => format!("no permission to use the engine at {}", endpoint.host),
            Self::Failed(error) => format!("{error:#}"),
        }
    }

    /// The error for both: the engine that was tried first, and the embedded one.
    pub fn and(self, embedded: Self) -> Self {
        let first = self.in_short();
        Self::Failed(embedded.explain().context(format!("{first}, and the embedded engine does not start")))
    }

    /// The error, and what to do about it.
    pub fn explain(self) -> anyhow::Error {
        match self {
            Self::Failed(error) => error,
            Self::NotInstalled => anyhow!(
                "the embedded engine needs Podman, which is not installed; \
                 `cargo xtask setup --engine embedded --yes` installs it"
            ),
            Self::Forbidden { endpoint } => anyhow!(
                "no permission to use the engine at {}: join its group (sudo usermod -aG docker \"$USER\") and log in \
                 again, or install Podman (`cargo xtask setup --engine embedded`), which needs no such permission",
                endpoint.host
            ),
            Self::Silent { endpoint, why } if endpoint.is_default() => anyhow!(
                "no container engine answers at {} ({why}).\n  `cargo xtask setup` lists what is missing, \
                 `cargo xtask setup --yes` installs and starts it",
                endpoint.host
            ),
            Self::Silent { endpoint, why } => {
                anyhow!("no container engine answers at {} (from {}): {why}", endpoint.host, endpoint.reason)
            }
        }
    }
}
