//! Work on the engine that must be done although nobody waits any more: cleaning up after a
//! command that failed or was interrupted.

use anyhow::Result;

use crate::engine::Engine;

/// Runs `work` to its end, on a thread and a runtime of its own: a runtime can't wait while it drops
/// what it ran. What fails is not told; whatever is left behind bears a label of this project.
pub fn finish<F>(engine: &Engine, work: impl FnOnce(Engine) -> F + Send + 'static)
where
    F: Future<Output = Result<()>>,
{
    let engine = engine.clone();
    let working = std::thread::spawn(move || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let docker = engine.endpoint.client(&engine.docker.client_version())?;
            work(Engine { docker, ..engine }).await
        })
    });
    let _ = working.join();
}
