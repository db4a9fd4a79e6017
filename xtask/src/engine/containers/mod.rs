//! Containers and volumes: what running a node needs of the engine's API.

pub mod listing;

use std::collections::HashMap;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::exec::StartExecResults;
use bollard::models::{ContainerCreateBody, ExecConfig, HostConfig, VolumeCreateRequest};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, KillContainerOptionsBuilder, ListVolumesOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptions, StopContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt};

use crate::engine::Engine;
use crate::engine::images::retrying::{again_while, undisturbed};
use catalog::labels;

/// The most that is kept of a command's output: it may come from anybody's image.
const MOST_OUTPUT: usize = 1 << 20;

/// How long the engine may refuse to remove what it is at work on.
const SETTLING: Duration = Duration::from_secs(15);
/// So often nothing must be found before nothing more is expected.
const QUIET_LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(150);
/// The same for what is to come at once.
const BETWEEN_GLANCES: Duration = Duration::from_millis(10);

/// What a command in a container printed, and how it exited.
#[derive(Clone, Debug)]
pub struct Output {
    pub code: i64,
    pub text: String,
}

/// A command that runs in a container.
pub struct Command<'a> {
    engine: &'a Engine,
    id: String,
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    text: Vec<u8>,
}

impl Engine {
    /// The names of volumes with this label.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn volumes(&self, label: &str) -> Result<Vec<String>> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let found = self.docker().list_volumes(Some(options)).await.context("listing the engine's volumes")?;
        Ok(found.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
    }

    /// Makes an empty volume; yields where it is on the engine's host.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn create_volume(&self, name: &str, labels: &HashMap<String, String>) -> Result<String> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels.clone()),
            ..VolumeCreateRequest::default()
        };
        Ok(self.docker().create_volume(request).await.context("making a volume on the engine")?.mountpoint)
    }

    /// # Errors
    /// If it is in use, or the engine does not answer.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        let removed = self.docker().remove_volume(name, None::<RemoveVolumeOptions>).await;
        gone_is_fine(removed).with_context(|| format!("removing the volume {name}"))
    }

    /// Creates a container of our own, not of a node's.
    ///
    /// # Errors
    /// If the engine refuses.
    pub async fn create_helper(
        &self,
        image: &str,
        labels: &HashMap<String, String>,
        cmd: &[&str],
        host: HostConfig,
    ) -> Result<String> {
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(cmd.iter().map(|word| (*word).to_owned()).collect()),
            labels: Some(labels.clone()),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        self.create(body).await.context("making a helper container")
    }

    /// Creates a container; yields its ID.
    ///
    /// # Errors
    /// If the engine refuses.
    pub async fn create(&self, body: ContainerCreateBody) -> Result<String> {
        Ok(undisturbed(|| self.docker().create_container(None, body.clone())).await?.id)
    }

    /// # Errors
    /// What the engine says.
    pub async fn start(&self, container: &str) -> Result<()> {
        self.docker().start_container(container, None).await?;
        Ok(())
    }

    /// The image's stop signal (SIGTERM, if it names none), and SIGKILL after `patience`. The container can be started anew afterwards.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn stop(&self, container: &str, patience: Duration) -> Result<()> {
        if self.abilities.clears_up_later() {
            return self.stop_by_signals(container, patience).await.context("stopping the container");
        }
        let seconds = i32::try_from(patience.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        self.docker().stop_container(container, Some(options)).await.context("stopping the container")
    }

    /// An engine that clears up later does so at once if it is asked to stop a container, and later once more. Of a signal it
    /// knows nothing, so that it clears up but once, which can be waited for.
    async fn stop_by_signals(&self, container: &str, patience: Duration) -> Result<()> {
        let inspect = || self.docker().inspect_container(container, None);
        let named = settled(inspect).await?.config.and_then(|config| config.stop_signal);
        let signal = named.filter(|signal| !signal.is_empty()).unwrap_or_else(|| "SIGTERM".to_owned());
        let since = Instant::now();
        self.signal(container, &signal).await?;
        while self.process_of(container).await?.is_ok() {
            if since.elapsed() > patience {
                return self.kill(container).await;
            }
            tokio::time::sleep(BETWEEN_GLANCES).await;
        }
        Ok(())
    }

    /// SIGKILL. The container can be started anew afterwards.
    ///
    /// # Errors
    /// If it does not run, or the engine does not answer.
    pub async fn kill(&self, container: &str) -> Result<()> {
        self.docker().kill_container(container, None).await.context("killing the container")?;
        if self.abilities.clears_up_later() {
            // Its state tells when that is done.
            let _ended = self.end_of(container).await?;
        }
        Ok(())
    }

    /// A container that has just ended needs none.
    async fn signal(&self, container: &str, signal: &str) -> Result<()> {
        let options = KillContainerOptionsBuilder::default().signal(signal).build();
        match self.docker().kill_container(container, Some(options)).await {
            Err(error) if self.process_of(container).await?.is_ok() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Removes it, running or not, with its anonymous volumes.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn remove_container(&self, container: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let remove = || self.docker().remove_container(container, Some(options.clone()));
        // Something of it is being unmounted, by the kernel or by another command.
        let is_busy = |removed: &Result<(), bollard::errors::Error>| match removed {
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 500, message }) => {
                message.contains("device or resource busy")
            }
            _ => false,
        };
        gone_is_fine(again_while(is_busy, remove).await).with_context(|| format!("removing the container {container}"))
    }

    /// The process id of its first process on the engine's host, if it runs; else its exit code.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn process_of(&self, container: &str) -> Result<Result<i64, i64>> {
        let inspect = || self.docker().inspect_container(container, None);
        let state = settled(inspect).await.context("asking for the container")?.state;
        let state = state.context("the engine does not say how the container is")?;
        match (state.running, state.pid) {
            (Some(true), Some(pid)) if pid > 0 => Ok(Ok(pid)),
            _ => Ok(Err(state.exit_code.unwrap_or_default())),
        }
    }

    /// The same of a container whose console has closed: its engine may take a moment to see that it has ended.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn end_of(&self, container: &str) -> Result<Result<i64, i64>> {
        const PATIENCE: Duration = Duration::from_secs(1);
        let since = Instant::now();
        loop {
            let state = self.process_of(container).await?;
            if state.is_err() || since.elapsed() > PATIENCE {
                return Ok(state);
            }
            tokio::time::sleep(BETWEEN_GLANCES).await;
        }
    }

    /// Runs a command in a running container, without input.
    ///
    /// # Errors
    /// If the engine does not answer, or can't start it.
    pub async fn exec(&self, container: &str, words: &[String]) -> Result<Output> {
        self.begin(container, words).await?.end().await
    }

    /// Starts a command in a running container.
    ///
    /// # Errors
    /// If the engine does not answer, or can't start it.
    pub async fn begin(&self, container: &str, words: &[String]) -> Result<Command<'_>> {
        let config = ExecConfig {
            cmd: Some(words.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = self.docker().create_exec(container, config).await?.id;
        let started = self.docker().start_exec(&exec, None).await?;
        let StartExecResults::Attached { output, .. } = started else { bail!("the engine started it detached") };
        Ok(Command { engine: self, id: exec, output, text: Vec::new() })
    }

    /// How a command whose output has ended exited. An engine may take a moment to know.
    async fn exit_code(&self, exec: &str) -> Result<i64> {
        let since = Instant::now();
        loop {
            let state = self.docker().inspect_exec(exec).await?;
            match state.exit_code {
                Some(code) if state.running != Some(true) => return Ok(code),
                _ if since.elapsed() > SETTLING => bail!("the engine does not say how a command exited"),
                _ => tokio::time::sleep(BETWEEN_GLANCES).await,
            }
        }
    }

    /// What the container's terminal shows from now on.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn attach(&self, container: &str) -> Result<AttachContainerResults> {
        let options = AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).build();
        self.docker().attach_container(container, Some(options)).await.context("attaching to the console")
    }

    /// All that the container has printed so far.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn console_log(&self, container: &str) -> Result<String> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let mut logs = std::pin::pin!(self.docker().logs(container, Some(options)));
        let mut text = Vec::new();
        while let Some(piece) = logs.next().await {
            text.extend_from_slice(&piece.context("reading the container's log")?.into_bytes());
            if text.len() > MOST_OUTPUT {
                text.drain(..text.len() - MOST_OUTPUT);
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Unpacks a tar archive in a folder of a container, which need not run.
    ///
    /// # Errors
    /// If there is no such folder, or the engine does not answer.
    pub async fn upload(&self, container: &str, folder: &str, tar: Vec<u8>) -> Result<()> {
        let options = UploadToContainerOptionsBuilder::default().path(folder).build();
        let sent = self.docker().upload_to_container(container, Some(options), bollard::body_full(tar.into())).await;
        sent.with_context(|| format!("writing files to {folder}"))
    }

    /// Removes everything of one lab. Nothing else bears its label.
    ///
    /// # Errors
    /// If something can't be removed.
    pub async fn remove_lab(&self, lab: &str) -> Result<usize> {
        let label = format!("{}={lab}", labels::LAB);
        let (containers, volumes) = (self.containers(&label).await?, self.volumes(&label).await?);
        let mut count = containers.len() + volumes.len();
        for container in containers {
            self.remove_container(&container.id).await?;
        }
        for volume in volumes {
            self.remove_volume(&volume).await?;
        }
        for tag in self.tags_of_lab(lab).await? {
            self.remove(&tag).await?;
            count += 1;
        }
        Ok(count)
    }

    /// Removes everything of a lab whose command was given up in the middle. The engine may still be at work on what that
    /// command asked for: it refuses to remove what it is just starting or removing, and what it is just creating comes late.
    ///
    /// # Errors
    /// If the engine refuses for [`SETTLING`], or does not answer.
    pub async fn remove_abandoned_lab(&self, lab: &str) -> Result<()> {
        let since = Instant::now();
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            match self.remove_lab(lab).await {
                Ok(0) => quiet += 1,
                Ok(_) => quiet = 0,
                Err(error) if is_refusal(&error) && since.elapsed() < SETTLING => quiet = 0,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }

    /// The tags under which a lab has loaded its archives.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn tags_of_lab(&self, lab: &str) -> Result<Vec<String>> {
        let ours = |tag: &String| tag.starts_with(&lab_tag(lab, ""));
        let images = self.by_name(LOADED).await?;
        Ok(images.into_iter().flat_map(|image| image.tags).filter(ours).collect())
    }
}

/// The name of images that were loaded from archives for a lab.
pub const LOADED: &str = "cml-nodes/loaded";

/// The tag of an image that a lab loads; `which` tells those of one lab apart.
pub fn lab_tag(lab: &str, which: &str) -> String {
    format!("{LOADED}:{lab}-{which}")
}

/// Whether the engine answered, and would not do it. One that does not answer is not asked again.
pub fn is_refusal(error: &anyhow::Error) -> bool {
    let is_answer =
        |cause: &bollard::errors::Error| matches!(cause, bollard::errors::Error::DockerResponseServerError { .. });
    error.chain().filter_map(|cause| cause.downcast_ref()).any(is_answer)
}

/// Asks until every container's state is one that Docker's API has. Podman tells of one more, `stopped`, between the end of a
/// container and the end of clearing up after it.
async fn settled<T, F>(ask: impl Fn() -> F) -> Result<T, bollard::errors::Error>
where
    F: Future<Output = Result<T, bollard::errors::Error>>,
{
    let since = Instant::now();
    loop {
        match ask().await {
            Err(error) if is_unreadable(&error) && since.elapsed() < SETTLING => {
                tokio::time::sleep(BETWEEN_LOOKS).await
            }
            answer => return answer,
        }
    }
}

pub(super) fn is_unreadable(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::JsonDataError { .. } | bollard::errors::Error::JsonSerdeError { .. })
}

fn gone_is_fine(done: Result<(), bollard::errors::Error>) -> Result<()> {
    match done {
        Ok(()) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
impl Command<'_> {
    /// Waits until the command has printed `mark`. False if it ends without.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn prints(&mut self, mark: &str) -> Result<bool> {
        while !String::from_utf8_lossy(&self.text).contains(mark) {
            if !self.read_on().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn end(mut self) -> Result<Output> {
        while self.read_on().await? {}
        let code = self.engine.exit_code(&self.id).await?;
        Ok(Output { code, text: String::from_utf8_lossy(&self.text).into_owned() })
    }

    /// False at the end of its output.
    async fn read_on(&mut self) -> Result<bool> {
        let Some(piece) = self.output.next().await else { return Ok(false) };
        let piece = piece?.into_bytes();
        let room = MOST_OUTPUT.saturating_sub(self.text.len());
        self.text.extend_from_slice(&piece[..piece.len().min(room)]);
        Ok(true)
    }
}
