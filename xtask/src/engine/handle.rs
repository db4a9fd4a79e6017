use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bollard::Docker;
use ui::Ui;

use crate::engine::abilities::Abilities;
use crate::engine::connect::endpoint::Endpoint;
use crate::engine::connect::ping;
use crate::engine::connect::unreachable::Unreachable;
use crate::engine::embedded::service::Embedded;
use crate::engine::errors::shorten;

/// How long an engine may take to answer a ping. Long enough for ssh, where a login comes first.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long cleaning up may take when nobody awaits it any more.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(60);

/// An engine that answered: its client, its address, what it can do.
#[derive(Clone)]
pub struct Engine {
    pub(crate) docker: Docker,
    pub endpoint: Endpoint,
    pub abilities: Abilities,
    /// The embedded engine's process, which ends with the last copy of this.
    pub(crate) embedded: Option<Arc<Embedded>>,
    /// This project's cache folder.
    cache: PathBuf,
}

impl Engine {
    /// Pings the engine at an address.
    pub async fn at(endpoint: Endpoint, cache: &Path) -> Result<Self, Unreachable> {
        let is_local = endpoint.host.starts_with("unix://");
        let error = match endpoint.client(bollard::API_DEFAULT_VERSION) {
            Ok(docker) => match tokio::time::timeout(PING_TIMEOUT, ping::identify(docker, &endpoint)).await {
                Ok(Ok((docker, abilities))) => {
                    return Ok(Self { docker, endpoint, abilities, embedded: None, cache: cache.to_owned() });
                }
                Ok(Err(error)) if is_local && format!("{error:#}").contains("ermission denied") => {
                    return Err(Unreachable::Forbidden { endpoint });
                }
                Ok(Err(error)) => error,
                Err(_) => anyhow!("no answer within {} s", PING_TIMEOUT.as_secs()),
            },
            // bollard looks for the socket's file already here.
            Err(error) if is_local => error,
            Err(error) => return Err(Unreachable::Failed(error)),
        };
        Err(Unreachable::Silent { why: shorten(&error.root_cause().to_string()), endpoint })
    }

    /// Starts an engine that ends with the last copy of the returned value.
    pub async fn embedded(ui: &Ui, cache: &Path, reason: String) -> Result<Self, Unreachable> {
        let embedded = Embedded::start(ui, cache).await.map_err(Unreachable::Failed)?;
        let mut engine = Self::at(Endpoint::at(embedded.host(), reason), cache).await?;
        engine.abilities.runs_containers = embedded.support.runtime.clone().map(drop);
        engine.embedded = Some(Arc::new(embedded));
        Ok(engine)
    }

    /// For people: `Docker 20.10.24 at unix:///var/run/docker.sock (the default)`
    pub fn describe(&self) -> String {
        let (abilities, Endpoint { host, reason, .. }) = (&self.abilities, &self.endpoint);
        match &self.embedded {
            None => format!("{abilities} at {host} ({reason})"),
            Some(embedded) => format!("{abilities}, embedded ({reason}): {}", embedded.describe()),
        }
    }

    /// Whether the engine shares this machine's kernel and files.
    pub fn is_on_this_machine(&self) -> bool {
        self.endpoint.host.starts_with("unix://")
    }

    /// The file to lock during a build, if the engine itself does not lock the build caches.
    pub fn build_lock(&self) -> Option<PathBuf> {
        (!self.abilities.locks_caches).then(|| self.own_folder().join("builds.lock"))
    }

    /// The folder for locks that commands on this engine share.
    pub fn own_folder(&self) -> &Path {
        self.embedded.as_ref().map_or(&self.cache, |embedded| &embedded.paths.storage)
    }

    /// Fails with the reason if containers do not run on this engine.
    pub fn must_run_containers(&self) -> Result<()> {
        let can = self.abilities.runs_containers.as_ref();
        can.copied().map_err(|why| {
            anyhow!(
                "containers do not run on this machine, so nodes cannot run either: {why}\n  images can still be \
                 built and saved; to run and verify nodes, use another machine's engine (DOCKER_HOST), or fix this one"
            )
        })
    }

    /// Runs cleanup `work` to its end, or for a while, although nobody awaits it any more: on a thread and a runtime of
    /// its own, since a runtime cannot wait while it drops what it ran. Returns whether it succeeded: whatever is left
    /// has a label of this project, and a later command removes it.
    pub fn finish<F>(&self, work: impl FnOnce(Self) -> F + Send + 'static) -> bool
    where
        F: Future<Output = Result<()>>,
    {
        let engine = self.clone();
        finish_within(CLEANUP_TIMEOUT, || async move {
            let docker = engine.endpoint.client(&engine.docker.client_version())?;
            work(Self { docker, ..engine }).await
        })
    }
}

/// Does `work` on a thread and a runtime of its own. An engine that hangs is not waited for longer than the limit.
/// Returns whether the work succeeded.
fn finish_within<F: Future<Output = Result<()>>>(limit: Duration, work: impl FnOnce() -> F + Send + 'static) -> bool {
    let (working, has_ended) = std::sync::mpsc::channel::<bool>();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        let done = runtime.block_on(async { tokio::time::timeout(limit, work()).await });
        let _ = working.send(matches!(done, Ok(Ok(()))));
    });
    // The sender is dropped at the thread's end, however that comes.
    has_ended.recv().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn an_engine_that_hangs_is_not_waited_for_when_cleaning_up() {
        let has_begun = Arc::new(AtomicBool::new(false));
        let begun = Arc::clone(&has_begun);
        let succeeded = finish_within(Duration::from_millis(10), || async move {
            begun.store(true, Ordering::Relaxed);
            std::future::pending().await
        });
        assert!(has_begun.load(Ordering::Relaxed) && !succeeded);
        assert!(finish_within(Duration::from_secs(60), || async { Ok(()) }));
        assert!(!finish_within(Duration::from_secs(60), || async { anyhow::bail!("refused") }));
    }
}
