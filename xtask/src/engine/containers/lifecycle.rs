//! Creating, starting, stopping and removing containers, their volumes and files.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result};
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig, VolumeCreateRequest};
use bollard::query_parameters::{
    KillContainerOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptions,
    StopContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use retry::Retry;

use crate::engine::errors::{ignore_missing, is_unreadable, retry_disturbed, retry_while};
use crate::engine::handle::Engine;

/// The pause between questions whether a container has ended that will do so in a moment.
const SOON: Duration = Duration::from_millis(10);

impl Engine {
    /// Creates a container that is not a node's.
    pub async fn create_helper(
        &self,
        image: &str,
        labels: &HashMap<String, String>,
        cmd: &[&str],
        host: HostConfig,
    ) -> Result<String> {
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(cmd.iter().map(|arg| (*arg).to_owned()).collect()),
            labels: Some(labels.clone()),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        self.create(body).await.context("creating a helper container")
    }

    /// Creates a container. Returns its ID.
    pub async fn create(&self, body: ContainerCreateBody) -> Result<String> {
        Ok(retry_disturbed(|| self.docker.create_container(None, body.clone())).await?.id)
    }

    pub async fn start(&self, container: &str) -> Result<()> {
        self.docker.start_container(container, None).await?;
        Ok(())
    }

    /// Sends the image's stop signal (SIGTERM if it names none), and SIGKILL after `timeout`. The container can be
    /// started again afterwards.
    pub async fn stop(&self, container: &str, timeout: Duration) -> Result<()> {
        let seconds = i32::try_from(timeout.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let stopped = if self.abilities.cleans_up_later {
            self.stop_by_signals(container, timeout).await
        } else {
            self.docker.stop_container(container, Some(options)).await.map_err(Into::into)
        };
        stopped.context("stopping the container")
    }

    /// An engine that cleans up later would do so twice after `stop` (`quirks.rs`), but only once after a signal.
    async fn stop_by_signals(&self, container: &str, timeout: Duration) -> Result<()> {
        let named = self.inspect(container).await?.config.and_then(|config| config.stop_signal);
        let signal = named.filter(|signal| !signal.is_empty()).unwrap_or_else(|| "SIGTERM".to_owned());
        self.signal(container, &signal).await?;
        match self.end_within(timeout, SOON, container).await? {
            Ok(_runs) => self.kill(container).await,
            Err(_exited) => Ok(()),
        }
    }

    /// Sends SIGKILL to a running container. It can be started again afterwards.
    pub async fn kill(&self, container: &str) -> Result<()> {
        self.docker.kill_container(container, None).await.context("killing the container")?;
        if self.abilities.cleans_up_later {
            // Its state tells when that is done.
            let _ended = self.end_of(container).await?;
        }
        Ok(())
    }

    /// Sends a signal, unless the container has just ended.
    async fn signal(&self, container: &str, signal: &str) -> Result<()> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.docker.kill_container(container, Some(options)).await {
            Err(error) if self.process_of(container).await?.is_ok() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Removes it, running or not, with its anonymous volumes.
    pub async fn remove_container(&self, container: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let remove = || self.docker.remove_container(container, Some(options.clone()));
        // Something of it is being unmounted, by the kernel or by another command.
        let is_busy = |removed: &Result<(), Error>| {
            matches!(removed, Err(Error::DockerResponseServerError { status_code: 500, message })
                if message.contains("device or resource busy"))
        };
        let removed = retry_while(is_busy, remove).await;
        ignore_missing(removed).with_context(|| format!("removing the container {container}"))
    }

    /// The process ID of its first process on the engine's host, if it runs; else its exit code.
    pub async fn process_of(&self, container: &str) -> Result<Result<i64, i64>> {
        let state = self.inspect(container).await.context("inspecting the container")?.state;
        let state = state.context("the engine's answer has no state for the container")?;
        match (state.running, state.pid) {
            (Some(true), Some(pid)) if pid > 0 => Ok(Ok(pid)),
            _ => Ok(Err(state.exit_code.unwrap_or_default())),
        }
    }

    /// The same of a container whose console has closed: its engine may take a moment to notice that it has ended.
    pub async fn end_of(&self, container: &str) -> Result<Result<i64, i64>> {
        self.end_within(Duration::from_secs(1), SOON, container).await
    }

    /// The same, asked for until the container has ended, with such pauses, or until the time is over.
    pub async fn end_within(&self, timeout: Duration, pause: Duration, container: &str) -> Result<Result<i64, i64>> {
        let runs = |state: &Result<Result<i64, i64>>| matches!(state, Ok(Ok(_)));
        Retry::within(timeout, pause).run_while(runs, || self.process_of(container)).await
    }

    /// Whether the kernel has killed a process of a container that has ended, because the container used all the memory
    /// that it may.
    pub async fn ended_out_of_memory(&self, container: &str) -> Result<bool> {
        let state = self.inspect(container).await.context("inspecting the container")?.state;
        Ok(state.and_then(|state| state.oom_killed).unwrap_or(false))
    }

    /// Asks until the answer can be read: for a moment after its end, a container of Podman has a state of its own.
    async fn inspect(&self, container: &str) -> Result<ContainerInspectResponse, Error> {
        let unreadable = |answer: &Result<_, Error>| answer.as_ref().is_err_and(is_unreadable);
        let ask = || self.docker.inspect_container(container, None);
        Retry::within(Duration::from_secs(15), Duration::from_millis(150)).run_while(unreadable, ask).await
    }

    /// The names of volumes with this label.
    pub async fn volumes(&self, label: &str) -> Result<Vec<String>> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let found = self.docker.list_volumes(Some(options)).await.context("listing the engine's volumes")?;
        Ok(found.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
    }

    /// Creates an empty volume. Returns its folder on the engine's host.
    pub async fn create_volume(&self, name: &str, labels: &HashMap<String, String>) -> Result<String> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels.clone()),
            ..VolumeCreateRequest::default()
        };
        Ok(self.docker.create_volume(request).await.context("creating a volume on the engine")?.mountpoint)
    }

    /// Removes a volume that no container uses.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        let removed = self.docker.remove_volume(name, None::<RemoveVolumeOptions>).await;
        ignore_missing(removed).with_context(|| format!("removing the volume {name}"))
    }

    /// Unpacks a tar archive in a folder of a container, which need not run.
    pub async fn upload(&self, container: &str, folder: &str, tar: Vec<u8>) -> Result<()> {
        let options = UploadToContainerOptionsBuilder::default().path(folder).build();
        let sent = self.docker.upload_to_container(container, Some(options), bollard::body_full(tar.into())).await;
        sent.with_context(|| format!("writing files to {folder}"))
    }
}
