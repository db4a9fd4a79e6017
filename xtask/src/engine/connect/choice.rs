//! Which engine to use: `--engine` or `XTASK_ENGINE`, else the first that answers.

use std::str::FromStr;

use anyhow::{Context, Result};

/// The variable that is read if there is no `--engine`.
pub const VARIABLE: &str = "XTASK_ENGINE";

/// The engine that the user asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The first that answers: Docker, else Podman, else the embedded engine.
    #[default]
    Automatic,
    /// The engine that the docker command uses.
    Docker,
    /// A running Podman service: the user's, else the system's.
    Podman,
    /// Podman's service, started by this program for as long as the command takes.
    Embedded,
    /// The engine at this address.
    Address(String),
}

impl EngineChoice {
    /// What the command line says, else the environment.
    pub fn or_environment(argument: Option<Self>) -> Result<Self> {
        match (argument, std::env::var(VARIABLE)) {
            (Some(choice), _) => Ok(choice),
            (None, Ok(text)) if !text.is_empty() => text.parse().map_err(anyhow::Error::msg).context(VARIABLE),
            _ => Ok(Self::Automatic),
        }
    }
}

impl FromStr for EngineChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Automatic),
            "docker" => Ok(Self::Docker),
            "podman" => Ok(Self::Podman),
            "embedded" => Ok(Self::Embedded),
            address if address.contains("://") => Ok(Self::Address(address.to_owned())),
            other => Err(format!(
                "`{other}` is not an engine: use docker, podman, embedded, or an address such as \
                 unix:///run/podman/podman.sock"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_chosen_by_name_or_address() {
        assert_eq!("auto".parse(), Ok(EngineChoice::Automatic));
        assert_eq!("docker".parse(), Ok(EngineChoice::Docker));
        assert_eq!("podman".parse(), Ok(EngineChoice::Podman));
        assert_eq!("embedded".parse(), Ok(EngineChoice::Embedded));
        assert_eq!("unix:///run/x.sock".parse(), Ok(EngineChoice::Address("unix:///run/x.sock".to_owned())));
        assert!("moby".parse::<EngineChoice>().unwrap_err().contains("docker, podman, embedded"));
    }
}
