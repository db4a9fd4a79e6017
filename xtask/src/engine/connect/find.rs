//! Which engine to use: `--engine` or `XTASK_ENGINE`, else the first that answers.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};
use ui::Ui;

use crate::engine::connect::endpoint::{self, Endpoint};
use crate::engine::connect::unreachable::Unreachable;
use crate::engine::embedded::service;
use crate::engine::handle::Engine;

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

/// Looks for the engine that the user asked for. Copies share what they found.
#[derive(Clone)]
pub struct Finder {
    pub choice: EngineChoice,
    /// Where the choice comes from, for messages.
    reason: &'static str,
    /// The embedded engine keeps its images below it.
    pub cache: PathBuf,
    found: Arc<Mutex<Option<Engine>>>,
}

impl Finder {
    pub fn new(choice: EngineChoice, cache: PathBuf) -> Self {
        Self { choice, reason: "--engine", cache, found: Arc::default() }
    }

    /// For the engine that `--engine` names, else the environment. Fails if the variable does not name an engine.
    pub fn from_options(argument: Option<EngineChoice>, cache: PathBuf) -> Result<Self> {
        let choice = match (argument, std::env::var(VARIABLE)) {
            (Some(choice), _) => return Ok(Self::new(choice, cache)),
            (None, Ok(text)) if !text.is_empty() => text.parse().map_err(anyhow::Error::msg).context(VARIABLE)?,
            _ => EngineChoice::Automatic,
        };
        Ok(Self { reason: VARIABLE, ..Self::new(choice, cache) })
    }

    /// Connects to the engine and says which one it is and why. From the second call on, returns the same engine.
    pub async fn connect(&self, ui: &Ui) -> Result<Engine, Unreachable> {
        if let Some(engine) = self.found().clone() {
            return Ok(engine);
        }
        let engine = match &self.choice {
            EngineChoice::Automatic => self.first_that_answers(ui).await,
            EngineChoice::Docker => Engine::at(docker()?, &self.cache).await,
            EngineChoice::Podman => self.running_podman().await,
            EngineChoice::Embedded if !service::is_installed() => Err(Unreachable::NotInstalled),
            EngineChoice::Embedded => Engine::embedded(ui, &self.cache, self.reason.to_owned()).await,
            EngineChoice::Address(host) => Engine::at(Endpoint::at(host.clone(), self.reason), &self.cache).await,
        }?;
        ui.note(format_args!("engine: {}", engine.describe()));
        *self.found() = Some(engine.clone());
        Ok(engine)
    }

    /// Why a command failed, as far as the embedded engine knows.
    pub fn advice(&self, error: &anyhow::Error) -> Option<String> {
        self.found().as_ref()?.embedded.as_ref()?.advice(error)
    }

    /// Forgets the engine that was found; an embedded one ends when nobody uses it.
    pub fn forget(&self) {
        self.found().take();
    }

    fn found(&self) -> MutexGuard<'_, Option<Engine>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An address that the environment names is the only one to be tried.
    async fn first_that_answers(&self, ui: &Ui) -> Result<Engine, Unreachable> {
        let docker = docker()?;
        let is_configured = !docker.is_default();
        let silence = match Engine::at(docker, &self.cache).await {
            Ok(engine) => return Ok(engine),
            Err(silence) if is_configured => return Err(silence),
            Err(silence) => silence,
        };
        for endpoint in endpoint::of_podman() {
            let is_configured = endpoint.reason == endpoint::CONTAINER_HOST;
            match Engine::at(endpoint, &self.cache).await {
                Err(silence) if is_configured => return Err(silence),
                Err(_) => {}
                answered => return answered,
            }
        }
        if service::is_installed() {
            return Engine::embedded(ui, &self.cache, silence.in_short()).await.map_err(|error| silence.and(error));
        }
        Err(silence)
    }

    async fn running_podman(&self) -> Result<Engine, Unreachable> {
        let mut answer = Err(Unreachable::Failed(anyhow!(
            "no Podman service is running here; start one (systemctl --user enable --now podman.socket), or use \
             `--engine embedded`"
        )));
        for endpoint in endpoint::of_podman() {
            answer = Engine::at(endpoint, &self.cache).await;
            if answer.is_ok() {
                break;
            }
        }
        answer
    }
}

fn docker() -> Result<Endpoint, Unreachable> {
    Endpoint::discover().map_err(Unreachable::Failed)
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
