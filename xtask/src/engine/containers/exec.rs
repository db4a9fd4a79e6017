//! Commands in running containers, and what containers print.

use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::exec::StartExecResults;
use bollard::models::{ExecConfig, ExecInspectResponse};
use bollard::query_parameters::{AttachContainerOptionsBuilder, LogsOptionsBuilder};
use futures_util::{Stream, StreamExt};
use retry::Retry;

use crate::engine::handle::Engine;

/// The most that is kept of a command's output, which may come from any image.
const MAX_OUTPUT: usize = 1 << 20;

/// How long the engine may take to know how a command exited.
const EXIT_CODE_TIMEOUT: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(10);

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
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>,
    text: Vec<u8>,
}

impl Engine {
    /// Runs a command in a running container, without input.
    pub async fn exec(&self, container: &str, args: &[String]) -> Result<Output> {
        self.begin(container, args).await?.end().await
    }

    /// Starts a command in a running container.
    pub async fn begin(&self, container: &str, args: &[String]) -> Result<Command<'_>> {
        let config = ExecConfig {
            cmd: Some(args.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..ExecConfig::default()
        };
        let exec = self.docker.create_exec(container, config).await?.id;
        let started = self.docker.start_exec(&exec, None).await?;
        let StartExecResults::Attached { output, .. } = started else { bail!("the engine started it detached") };
        Ok(Command { engine: self, id: exec, output, text: Vec::new() })
    }

    /// The exit code of a command whose output has ended. The engine may take a moment to know it.
    async fn exit_code(&self, exec: &str) -> Result<i64> {
        let ask = || self.docker.inspect_exec(exec);
        let unknown = |state: &ExecInspectResponse| state.exit_code.is_none() || state.running == Some(true);
        let passing = |answer: &Result<ExecInspectResponse, Error>| answer.as_ref().is_ok_and(unknown);
        let state = Retry::within(EXIT_CODE_TIMEOUT, PAUSE).run_while(passing, ask).await?;
        let code = state.exit_code.filter(|_| !unknown(&state));
        code.context("the engine does not report the exit code of a command")
    }

    /// What the container's terminal shows from now on.
    pub async fn attach(&self, container: &str) -> Result<AttachContainerResults> {
        let options = AttachContainerOptionsBuilder::default().stdout(true).stderr(true).stream(true).build();
        self.docker.attach_container(container, Some(options)).await.context("attaching to the console")
    }

    /// The end of what the container has printed so far.
    pub async fn console_log(&self, container: &str) -> Result<String> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let mut logs = std::pin::pin!(self.docker.logs(container, Some(options)));
        let mut text = Vec::new();
        while let Some(piece) = logs.next().await {
            text.extend_from_slice(&piece.context("reading the container's log")?.into_bytes());
            if text.len() > MAX_OUTPUT {
                text.drain(..text.len() - MAX_OUTPUT);
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Command<'_> {
    /// Waits until the command has printed `mark`. False if it ends first.
    pub async fn prints(&mut self, mark: &str) -> Result<bool> {
        while !String::from_utf8_lossy(&self.text).contains(mark) {
            if !self.read_on().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits for its end.
    pub async fn end(mut self) -> Result<Output> {
        while self.read_on().await? {}
        let code = self.engine.exit_code(&self.id).await?;
        Ok(Output { code, text: String::from_utf8_lossy(&self.text).into_owned() })
    }

    /// False at the end of its output.
    async fn read_on(&mut self) -> Result<bool> {
        let Some(piece) = self.output.next().await else { return Ok(false) };
        let piece = piece?.into_bytes();
        let room = MAX_OUTPUT.saturating_sub(self.text.len());
        self.text.extend_from_slice(&piece[..piece.len().min(room)]);
        Ok(true)
    }
}
