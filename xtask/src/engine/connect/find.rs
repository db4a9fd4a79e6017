//! Finding the engine that serves.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::connect::choice;
use crate::engine::connect::choice::Choice;
use crate::engine::connect::endpoint::Endpoint;
use crate::engine::connect::podman;
use crate::engine::{Engine, Unreachable, embedded};
use ui::Ui;

/// Looks for an engine as the person wants it.
#[derive(Clone)]
pub struct Finder {
    choice: Choice,
    /// What made the choice, for people.
    reason: &'static str,
    /// Below which the embedded engine keeps its images.
    pub cache: PathBuf,
    /// The engine that was found, for all who share this.
    found: Arc<Mutex<Option<Engine>>>,
}

impl Finder {
    pub fn new(choice: Choice, cache: PathBuf) -> Self {
        Self { choice, reason: "--engine", cache, found: Arc::default() }
    }

    /// As the command line says, else the environment.
    ///
    /// # Errors
    /// If the variable names no engine.
    pub fn as_wished(argument: Option<Choice>, cache: PathBuf) -> anyhow::Result<Self> {
        let by_variable = argument.is_none();
        let mut finder = Self::new(Choice::or_environment(argument)?, cache);
        if by_variable {
            finder.reason = choice::VARIABLE;
        }
        Ok(finder)
    }

    /// What is looked for.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Connects to the engine and says which one it is and why; the first time. From then on it is the same.
    ///
    /// # Errors
    /// Says why none serves.
    pub async fn connect(&self, ui: &Ui) -> Result<Engine, Unreachable> {
        let found = |engine: Option<Engine>| {
            let mut known = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            *known = engine.or(known.take());
            known.clone()
        };
        if let Some(engine) = found(None) {
            return Ok(engine);
        }
        let engine = match &self.choice {
            Choice::Automatic => self.first_that_answers(ui).await,
            Choice::Docker => Engine::at(docker()?, &self.cache).await,
            Choice::Podman => running_podman(&self.cache).await,
            Choice::Embedded if !embedded::is_installed() => Err(Unreachable::NotInstalled),
            Choice::Embedded => Engine::embedded(ui, &self.cache, self.reason.to_owned()).await,
            Choice::Address(host) => Engine::at(Endpoint::at(host.clone(), self.reason), &self.cache).await,
        }?;
        ui.note(format_args!("engine: {}", engine.describe()));
        found(Some(engine.clone()));
        Ok(engine)
    }

    /// What an embedded engine has to say when a command failed.
    pub fn advice(&self, error: &anyhow::Error) -> Option<String> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.as_ref()?.advice(error)
    }

    /// Forgets the engine that was found: an embedded one ends with its last user.
    pub fn let_go(&self) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whoever points somewhere gets that and nothing else.
    async fn first_that_answers(&self, ui: &Ui) -> Result<Engine, Unreachable> {
        let docker = docker()?;
        let is_pointed_at = !docker.is_default();
        let silence = match Engine::at(docker, &self.cache).await {
            Ok(engine) => return Ok(engine),
            Err(silence) if is_pointed_at => return Err(silence),
            Err(silence) => silence,
        };
        for endpoint in podman::endpoints() {
            let is_pointed_at = endpoint.reason == podman::VARIABLE;
            match Engine::at(endpoint, &self.cache).await {
                Err(silence) if is_pointed_at => return Err(silence),
                Err(_) => {}
                answered => return answered,
            }
        }
        if embedded::is_installed() {
            return Engine::embedded(ui, &self.cache, silence.in_short()).await.map_err(|error| silence.and(error));
        }
        Err(silence)
    }
}

fn docker() -> Result<Endpoint, Unreachable> {
    Endpoint::discover().map_err(Unreachable::Misconfigured)
}

async fn running_podman(cache: &Path) -> Result<Engine, Unreachable> {
    let mut answer = Err(Unreachable::Misconfigured(anyhow::anyhow!(
        "no Podman service has a socket here; start one (systemctl --user enable --now podman.socket), or take `--engine embedded`"
    )));
    for endpoint in podman::endpoints() {
        answer = Engine::at(endpoint, cache).await;
        if answer.is_ok() {
            break;
        }
    }
    answer
}
