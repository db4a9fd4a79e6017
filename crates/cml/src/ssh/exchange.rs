//! What passes between this program and one that ssh runs on a server: input, output, and the limits of both.
//!
//! The other side may be broken or hostile: print without end, a byte now and then, or never end.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use indicatif::ProgressBar;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use crate::ssh::command::ConnectionLost;
use crate::{Access, Address};

/// How many bytes of error messages are kept, at least.
pub const MESSAGES_KEPT: usize = 64 << 10;

/// What a command on a server does. It decides how long that may take, and how much it may print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It looks something up or writes a small file.
    Question,
    /// It prints a definition.
    Definition,
    /// It computes the digest of an archive.
    Digest,
    /// It installs nodes, and restarts CML.
    Installation,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long the server may accept no input.
    pub idle: Duration,
    /// How long the command may run once it has all of its input.
    pub total: Duration,
    /// How many bytes it may print to stdout.
    pub output: usize,
}

impl Kind {
    pub fn limits(self, access: &Access) -> Limits {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let (least, output) = match self {
            Self::Question => (minutes(2), 256 << 10),
            // As of a file with a definition.
            Self::Definition => (minutes(5), definitions::yaml::LARGEST),
            Self::Digest => (minutes(30), 256 << 10),
            Self::Installation => (minutes(120), 1 << 20),
        };
        Limits { idle: access.idle_timeout, total: least.max(access.idle_timeout), output }
    }
}

/// What a command has printed, and its exit code.
#[derive(Debug)]
pub struct Printed {
    pub code: Option<i32>,
    pub stdout: String,
    /// Its end.
    pub stderr: String,
}

/// Starts ssh. It is killed if its value is dropped.
pub fn start(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().context("cannot start ssh; is it installed (package openssh-client)?")
}

/// Gives a command its input and collects its output, within limits.
///
/// # Errors
/// [`ConnectionLost`] if it accepts no input for too long; another error if it takes too long or prints too much.
pub async fn converse(
    mut child: Child,
    mut pieces: mpsc::Receiver<Result<Bytes>>,
    server: &Address,
    limits: Limits,
    progress: &ProgressBar,
) -> Result<Printed> {
    let mut stdin = child.stdin.take().context("ssh has no input")?;
    let (fed, has_been_fed) = oneshot::channel();
    let feeding = async {
        while let Some(piece) = pieces.recv().await {
            let piece = piece?;
            match tokio::time::timeout(limits.idle, stdin.write_all(&piece)).await {
                Ok(Ok(())) => progress.inc(piece.len() as u64),
                // The script has ended; its output says why.
                Ok(Err(_)) => break,
                Err(_) => bail!(ConnectionLost(format!(
                    "{server} has accepted no data for {} s (--timeout)",
                    limits.idle.as_secs()
                ))),
            }
        }
        drop((stdin, fed));
        Ok(())
    };
    let (stdout, stderr) = (collect(child.stdout.take(), server, limits.output), collect_end(child.stderr.take()));
    let talking = async {
        let ((), stdout, stderr) = tokio::try_join!(feeding, stdout, stderr)?;
        let status = child.wait().await.context("waiting for ssh")?;
        Ok(Printed { code: status.code(), stdout, stderr })
    };
    tokio::select! {
        printed = talking => printed,
        () = over(has_been_fed, limits.total) => {
            bail!("a command on {server} has not ended within {}", text::duration(limits.total))
        }
    }
}

/// Ends when so much time is over since there is no more input.
async fn over(has_been_fed: oneshot::Receiver<()>, time: Duration) {
    // An error, since the sender is dropped.
    let _ = has_been_fed.await;
    tokio::time::sleep(time).await;
}

/// All that comes from a stream.
async fn collect(stream: Option<impl AsyncRead + Unpin>, server: &Address, most: usize) -> Result<String> {
    let mut read = Vec::new();
    let stream = stream.context("ssh has no output")?;
    // An error of the pipe shows in the exit code of ssh.
    let _ = stream.take(most as u64 + 1).read_to_end(&mut read).await;
    if read.len() > most {
        bail!("a command on {server} has printed more than {}", text::size(most as u64));
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

/// The end of what comes from a stream.
async fn collect_end(stream: Option<impl AsyncRead + Unpin>) -> Result<String> {
    let mut stream = stream.context("ssh has no output")?;
    let (mut kept, mut piece) = (Vec::new(), [0; 8192]);
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        kept.extend_from_slice(&piece[..read]);
        if kept.len() > 16 * MESSAGES_KEPT {
            kept.drain(..kept.len() - MESSAGES_KEPT);
        }
    }
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(600);

    async fn run(script: &str, input: usize, limits: Limits) -> Result<Printed> {
        let child = start(Command::new("sh").args(["-c", script])).unwrap();
        let (sender, pieces) = mpsc::channel(1);
        let feeding = async move {
            for _ in 0..input {
                // The receiver is gone once the conversation has failed.
                let _ = sender.send(Ok(Bytes::from(vec![b'x'; 256 << 10]))).await;
            }
        };
        let server = Address::parse("cml").unwrap();
        let hidden = ProgressBar::hidden();
        let conversation = converse(child, pieces, &server, limits, &hidden);
        tokio::join!(feeding, conversation).1
    }

    fn said(result: Result<Printed>) -> String {
        result.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_command_gives_its_output_and_its_exit_code() {
        let limits = Limits { idle: LONG, total: LONG, output: 100 };
        let printed = run("wc -c; echo no >&2; exit 3", 4, limits).await.unwrap();
        assert_eq!((printed.code, printed.stdout.trim(), printed.stderr.trim()), (Some(3), "1048576", "no"));
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_left() {
        let limits = Limits { idle: LONG, total: SHORT, output: 1 << 20 };
        for script in ["sleep 1000", "trap '' TERM INT HUP; while :; do echo; sleep 0.05; done", "exec yes >&2"] {
            assert!(said(run(script, 0, limits).await).contains("cml has not ended within"), "{script}");
        }
    }

    #[tokio::test]
    async fn a_command_that_prints_without_end_is_left() {
        let limits = Limits { idle: LONG, total: LONG, output: 1 << 20 };
        assert!(said(run("exec yes", 0, limits).await).contains("cml has printed more than 1.0 MB"));
        assert!(said(run("exec tr '\\0' '[' </dev/zero", 0, limits).await).contains("has printed more than"));
    }

    #[tokio::test]
    async fn a_command_that_takes_no_input_is_left() {
        let limits = Limits { idle: SHORT, total: LONG, output: 100 };
        let error = run("exec sleep 1000", 4, limits).await.unwrap_err();
        assert!(error.is::<ConnectionLost>() && error.to_string().contains("has accepted no data"), "{error}");
    }
}
