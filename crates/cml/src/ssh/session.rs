//! A login by ssh, through the system's own `ssh`: its configuration, keys, agents and known hosts count.
//!
//! One login serves for all commands (`ControlMaster`). The first connection runs a `cat` that ends with this program,
//! however that ends; everything else goes through it.

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::Bytes;
use indicatif::ProgressBar;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;

use crate::remote_text::last_line;
use crate::ssh::askpass::Askpass;
use crate::ssh::command::{ConnectionLost, explain, password, show, ssh, user};
use crate::ssh::configuration::Configuration;
use crate::ssh::exchange::{Kind, MESSAGES_KEPT, Printed, converse, start};
use crate::ssh::remote::CommandLine;
use crate::ssh::socket_folder::SocketFolder;
use crate::{Access, Address};

/// The exit code of ssh itself, when its connection fails.
const SSH_FAILED: i32 = 255;

/// How much a server may print before it says that it is ready.
const LONGEST_GREETING: u64 = 4 << 10;

pub struct Ssh<'a> {
    pub access: &'a Access,
    pub address: Address,
    pub user: String,
    /// Holds the control socket.
    folder: SocketFolder,
    /// Killed when dropped.
    _master: Child,
}

#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl<'a> Ssh<'a> {
    /// Logs in. Where a password could be sent, the key of an unknown host is accepted only by the person at the
    /// terminal; a changed key is always refused.
    pub async fn open(access: &'a Access, address: &Address) -> Result<Self> {
        if access.insecure {
            access.warn_insecure(address);
        }
        let folder = SocketFolder::create()?;
        let user = user(access, address.user.as_deref())?;
        let configuration = Configuration::read(access, address, &user, &folder).await?;
        let password = password(access, &user);
        let asks = password.is_none() && access.ui.can_ask();
        // ssh itself asks on the terminal, for one server at a time.
        let _prompt = if asks { Some(access.prompt.lock().await) } else { None };
        let sends_password = asks || password.is_some();
        let mut command = ssh(access, address, &user, &folder);
        command.args(["-o", "ControlMaster=yes", "-o", "NumberOfPasswordPrompts=1"]);
        let listen = |password| Askpass::listen(access, address, &user, &configuration, &folder, password);
        let mut askpass = password.map(listen).transpose()?;
        if let Some(askpass) = &askpass {
            command.envs(askpass.environment()?);
        } else if !asks {
            command.args(["-o", "BatchMode=yes"]);
        }
        if !access.insecure {
            command.args(["-o", host_keys(&configuration, sends_password)]);
        }
        CommandLine::new("echo ready; exec cat >/dev/null", &[]).run_by(&mut command, address);
        show(access, &command);
        let mut master = start(&mut command)?;
        let stderr = collect_messages(access, master.stderr.take());
        if first_line(access, address, &mut master, askpass.as_mut(), asks).await? != "ready" {
            let _ = master.kill().await;
            let failed = explain(address, &user, &stderr.await.unwrap_or_default());
            let refused = askpass.and_then(|askpass| askpass.refused());
            return Err(refused.map_or(failed, |why| anyhow!("cannot log in to {address} by ssh: {why}")));
        }
        drop(askpass);
        Ok(Self { access, address: address.clone(), user, folder, _master: master })
    }

    pub fn is_root(&self) -> bool {
        self.user == "root"
    }

    /// Runs a script of POSIX sh without input. A script that fails is not an error.
    pub(super) async fn run(&self, kind: Kind, script: &'static str, arguments: &[&str]) -> Result<Output> {
        self.run_command(kind, &CommandLine::new(script, arguments), "").await
    }

    /// What a script prints. It must succeed.
    pub(super) async fn read(&self, kind: Kind, script: &'static str, arguments: &[&str]) -> Result<String> {
        let output = self.run(kind, script, arguments).await?;
        self.check(&output)?;
        Ok(output.stdout)
    }

    /// Runs a command line. The input is not shown.
    pub(super) async fn run_command(
        &self,
        kind: Kind,
        command: &CommandLine,
        input: impl Into<Bytes>,
    ) -> Result<Output> {
        let (sender, pieces) = mpsc::channel(1);
        sender.send(Ok(input.into())).await?;
        drop(sender);
        self.feed(kind, command, pieces, &ProgressBar::hidden()).await
    }

    /// The same with pieces of input as they come. Fails if the server accepts none for the idle timeout.
    pub(super) async fn feed(
        &self,
        kind: Kind,
        command: &CommandLine,
        pieces: mpsc::Receiver<Result<Bytes>>,
        progress: &ProgressBar,
    ) -> Result<Output> {
        let child = self.start(command)?;
        let limits = kind.limits(self.access);
        let Printed { code, stdout, stderr } = converse(child, pieces, &self.address, limits, progress).await?;
        self.output(code, stdout, stderr)
    }

    /// Fails with the end of stderr if the command failed.
    pub fn check(&self, output: &Output) -> Result<()> {
        ensure!(output.code == 0, "{}: {}", self.address, last_line(&output.stderr));
        Ok(())
    }

    /// `ssh` through the first connection. If that is gone, it asks nothing and opens no other.
    pub(super) fn through_master(&self) -> Command {
        let mut command = ssh(self.access, &self.address, &self.user, &self.folder);
        command.args(["-o", "ControlMaster=no", "-o", "BatchMode=yes"]);
        if !self.access.insecure {
            command.args(["-o", "StrictHostKeyChecking=yes"]);
        }
        command
    }

    fn start(&self, remote: &CommandLine) -> Result<Child> {
        let mut command = self.through_master();
        remote.run_by(&mut command, &self.address);
        show(self.access, &command);
        start(&mut command)
    }

    pub(super) fn output(&self, code: Option<i32>, stdout: String, stderr: String) -> Result<Output> {
        match code {
            Some(SSH_FAILED) | None => {
                bail!(ConnectionLost(format!("the connection to {} was lost: {}", self.address, last_line(&stderr))))
            }
            Some(code) => Ok(Output { code, stdout, stderr }),
        }
    }
}

/// Which host keys the first connection accepts, beside known ones. The user's own configuration may be stricter.
fn host_keys(configuration: &Configuration, sends_password: bool) -> &'static str {
    match (configuration.is_strict, sends_password) {
        (true, _) => "StrictHostKeyChecking=yes",
        (false, true) => "StrictHostKeyChecking=ask",
        // A login by key alone gives nothing away, and there is nobody to ask.
        (false, false) => "StrictHostKeyChecking=accept-new",
    }
}

/// The first line of the first connection. While a person is asked there is no time limit.
async fn first_line(
    access: &Access,
    address: &Address,
    master: &mut Child,
    askpass: Option<&mut Askpass<'_>>,
    asks: bool,
) -> Result<String> {
    let mut line = String::new();
    let stdout = master.stdout.take().context("ssh has no output")?;
    let mut stdout = BufReader::new(stdout.take(LONGEST_GREETING));
    let reading = stdout.read_line(&mut line);
    let limit = access.idle_timeout;
    let read = match askpass {
        Some(askpass) => {
            let stdin = master.stdin.as_ref().context("ssh has no input")?;
            askpass.answer_until(reading, stdin, limit).await
        }
        None if asks => Some(reading.await),
        None => tokio::time::timeout(limit, reading).await.ok(),
    };
    let Some(read) = read else {
        bail!(ConnectionLost(format!("{address} has been silent for {} s (--timeout)", limit.as_secs())))
    };
    read.context("reading what ssh prints")?;
    Ok(line.trim().to_owned())
}

/// Reads the messages of ssh in the background; returns their beginning. The one about a new host is shown at once.
fn collect_messages(access: &Access, stream: Option<ChildStderr>) -> tokio::task::JoinHandle<String> {
    let ui = access.ui.clone();
    tokio::spawn(async move {
        let mut messages = String::new();
        let Some(mut stream) = stream else { return messages };
        let mut lines = BufReader::new((&mut stream).take(MESSAGES_KEPT as u64)).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("Permanently added") {
                ui.note(text::printable_line(line.trim()));
            }
            messages.push_str(&line);
            messages.push('\n');
        }
        // Else ssh would wait until somebody reads it.
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        messages
    })
}
