//! Finds the engine to use, and remembers it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::anyhow;
use ui::Ui;

use crate::engine::connect::choice::{self, EngineChoice};
use crate::engine::connect::endpoint::Endpoint;
use crate::engine::connect::podman;
use crate::engine::connect::unreachable::Unreachable;
use crate::engine::embedded::service;
use crate::engine::handle::Engine;

/// Looks for the engine that the user asked for. Copies share what they found.
#[derive(Clone)]
pub struct Finder {
    choice: EngineChoice,
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
    pub fn from_options(argument: Option<EngineChoice>, cache: PathBuf) -> anyhow::Result<Self> {
        let by_variable = argument.is_none();
        let mut finder = Self::new(EngineChoice::or_environment(argument)?, cache);
        if by_variable {
            finder.reason = choice::VARIABLE;
        }
        Ok(finder)
    }

    pub fn choice(&self) -> &EngineChoice {
        &self.choice
    }

    /// Connects to the engine and says which one it is and why. From the second call on, returns the same engine.
    pub async fn connect(&self, ui: &Ui) -> Result<Engine, Unreachable> {
        if let Some(engine) = self.found().clone() {
            return Ok(engine);
        }
        let engine = match &self.choice {
            EngineChoice::Automatic => self.first_that_answers(ui).await,
            EngineChoice::Docker => Engine::at(docker()?, &self.cache).await,
            EngineChoice::Podman => running_podman(&self.cache).await,
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
        self.found().as_ref()?.advice(error)
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
        for endpoint in podman::endpoints() {
            let is_configured = endpoint.reason == podman::VARIABLE;
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
}

fn docker() -> Result<Endpoint, Unreachable> {
    Endpoint::discover().map_err(Unreachable::Misconfigured)
}

async fn running_podman(cache: &Path) -> Result<Engine, Unreachable> {
    let mut answer = Err(Unreachable::Misconfigured(anyhow!(
        "no Podman service is running here; start one (systemctl --user enable --now podman.socket), or use \
         `--engine embedded`"
    )));
    for endpoint in podman::endpoints() {
        answer = Engine::at(endpoint, cache).await;
        if answer.is_ok() {
            break;
        }
    }
    answer
}
