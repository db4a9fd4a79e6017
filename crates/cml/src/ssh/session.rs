//! A login by ssh, through the system's own `ssh`: its configuration, keys, agents and known hosts count.
//!
//! One login serves for all that follows (`ControlMaster`). The first connection runs a `cat` that ends with us,
//! however we end, and everything else goes through it.

use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;

use crate::access::Access;
use crate::address::Address;
use crate::progress::Progress;
use crate::secret::Secret;
use crate::settings::SECRETS;
use crate::ssh::askpass::Answering;
use crate::ssh::socket_folder::SocketFolder;

/// CML's port for ssh; on 22 is its console server. [docs/cml.md 2]
pub const PORT: u16 = 1122;

const USER: &str = "admin";

/// The exit code of ssh itself.
const LOST: i32 = 255;

/// Lines of what ssh or a remote command said that are kept.
const MOST_SAID: usize = 64 << 10;

/// A login that works.
pub struct Ssh<'a> {
    access: &'a Access,
    pub address: Address,
    user: String,
    /// Holds the control socket.
    folder: SocketFolder,
    /// Goes with us.
    _master: Child,
}

/// How a remote command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The connection is gone; it may be made anew.
#[derive(Debug)]
pub struct Lost(String);

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lost {}

impl<'a> Ssh<'a> {
    /// Logs in. A host that was never seen is accepted and remembered; one whose key has changed is not.
    ///
    /// # Errors
    /// If that fails; says why, and what to do.
    pub async fn open(access: &'a Access, address: &Address) -> Result<Self> {
        if access.insecure {
            access.ui.warn(format_args!("--insecure: whoever answers at {address} is believed, and gets the password"));
        }
        let folder = SocketFolder::make()?;
        let user = user(access, address.user.as_deref());
        let password = known_password(access, &user);
        let asks = password.is_none() && access.ui.can_ask();
        // ssh asks on the terminal itself, and one server at a time may.
        let _one_at_a_time = if asks { Some(access.questions.lock().await) } else { None };
        let mut command = program(access, address, &user, &folder);
        command.args(["-o", "ControlMaster=yes", "-o", "NumberOfPasswordPrompts=1"]);
        let answering = password.map(|password| Answering::start(folder.path(), password)).transpose()?;
        match &answering {
            Some(answering) => {
                command.envs(answering.environment()?);
            }
            None if !asks => {
                command.args(["-o", "BatchMode=yes"]);
            }
            None => {}
        }
        command.args([&address.host, "echo ready; exec cat >/dev/null"]);
        show(access, &command);
        let mut master = start(&mut command)?;
        let said = listen(access, master.stderr.take());
        let mut line = String::new();
        let mut stdout = BufReader::new(master.stdout.take().context("ssh has no output")?);
        let greeting = stdout.read_line(&mut line);
        if asks {
            greeting.await?;
        } else if tokio::time::timeout(access.patience, greeting).await.is_err() {
            bail!(Lost(format!("{address} has been silent for {} s (--timeout)", access.patience.as_secs())));
        }
        if line.trim() != "ready" {
            let _ = master.kill().await;
            return Err(explain(address, &user, &said.await.unwrap_or_default()));
        }
        Ok(Self { access, address: address.clone(), user, folder, _master: master })
    }

    pub fn access(&self) -> &'a Access {
        self.access
    }

    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn is_root(&self) -> bool {
        self.user == "root"
    }

    /// How a person would type a command there.
    pub fn as_typed(&self, words: &str) -> String {
        let port = self.address.port.unwrap_or(PORT);
        format!("ssh -t -p {port} {}@{} {words}", self.user, self.address.host)
    }

    /// Runs a script of POSIX sh with these arguments, without input.
    ///
    /// # Errors
    /// If the connection is lost. A script that fails is no error.
    pub async fn run(&self, script: &str, arguments: &[&str]) -> Result<Ran> {
        self.run_with(script, arguments, b"").await
    }

    /// The same, with input, which is not shown.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_with(&self, script: &str, arguments: &[&str], input: &[u8]) -> Result<Ran> {
        let mut child = self.start(script, arguments)?;
        let mut stdin = child.stdin.take().context("ssh has no input")?;
        let (out, said) = (collect(child.stdout.take()), collect(child.stderr.take()));
        // A command that does not read its input has its reasons.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        let (stdout, stderr) = (out.await, said.await);
        self.ended(&mut child, stdout, stderr).await
    }

    /// What a script prints.
    ///
    /// # Errors
    /// If it fails, or the connection is lost.
    pub async fn read(&self, script: &str, arguments: &[&str]) -> Result<String> {
        let ran = self.run(script, arguments).await?;
        anyhow::ensure!(ran.code == 0, "{}: {}", self.address, last_line(&ran.stderr));
        Ok(ran.stdout)
    }

    /// Feeds a script with pieces as they come. Gives up when the server takes none for too long.
    ///
    /// # Errors
    /// If the script fails, the pieces break off, or the connection is lost.
    pub async fn feed(
        &self,
        script: &str,
        arguments: &[&str],
        mut pieces: mpsc::Receiver<Result<Bytes>>,
        progress: &Progress,
    ) -> Result<()> {
        let mut child = self.start(script, arguments)?;
        let mut stdin = child.stdin.take().context("ssh has no input")?;
        let (out, said) = (collect(child.stdout.take()), collect(child.stderr.take()));
        while let Some(piece) = pieces.recv().await {
            let piece = piece?;
            match tokio::time::timeout(self.access.patience, stdin.write_all(&piece)).await {
                Ok(Ok(())) => progress.add(piece.len() as u64),
                // The script has ended; why, it says itself.
                Ok(Err(_)) => break,
                Err(_) => bail!(Lost(format!(
                    "{} has taken nothing for {} s (--timeout)",
                    self.address,
                    self.access.patience.as_secs()
                ))),
            }
        }
        drop(stdin);
        let (stdout, stderr) = (out.await, said.await);
        let ran = self.ended(&mut child, stdout, stderr).await?;
        anyhow::ensure!(ran.code == 0, "{}: {}", self.address, last_line(&ran.stderr));
        Ok(())
    }

    /// Runs words as root: at once where sudo asks for nothing, else with the password that is known, else sudo asks on the
    /// terminal. What they print is told as it comes only in the last case.
    ///
    /// # Errors
    /// If sudo refuses, nobody can be asked, or the connection is lost.
    pub async fn as_root(&self, words: &str) -> Result<Ran> {
        if self.is_root() {
            return self.run(words, &[]).await;
        }
        let quoted = quote(words);
        if self.run("sudo -n true", &[]).await?.code == 0 {
            return self.run(&format!("sudo -n sh -c {quoted}"), &[]).await;
        }
        match known_password(self.access, &self.user) {
            Some(password) => {
                // `-k`: a password that sudo does not need would be read by the words.
                let input = format!("{}\n", password.reveal());
                let ran = self.run_with(&format!("sudo -k -S -p '' sh -c {quoted}"), &[], input.as_bytes()).await?;
                self.refused_by_sudo(&ran)?;
                Ok(ran)
            }
            None if self.access.ui.can_ask() => self.as_root_on_the_terminal(&quoted).await,
            None => bail!(
                "{}: sudo wants the password of `{}`, and nobody can be asked: set CML_SSH_PASS, or run it on the server yourself",
                self.address,
                self.user
            ),
        }
    }

    async fn as_root_on_the_terminal(&self, quoted: &str) -> Result<Ran> {
        let _one_at_a_time = self.access.questions.lock().await;
        let mut command = self.through_master();
        command.args(["-tt", &self.address.host, &format!("sudo sh -c {quoted}")]);
        show(self.access, &command);
        let status = command.stdin(Stdio::inherit()).stdout(std::io::stderr()).kill_on_drop(true).status().await;
        let code = status.context("ssh can't be started")?.code().unwrap_or(LOST);
        let ran = Ran { code, stdout: String::new(), stderr: "see above".to_owned() };
        if code == LOST { Err(anyhow!(Lost(format!("the connection to {} was lost", self.address)))) } else { Ok(ran) }
    }

    fn refused_by_sudo(&self, ran: &Ran) -> Result<()> {
        let said = ran.stderr.to_ascii_lowercase();
        let refusals = [
            "incorrect password",
            "no password was provided",
            "not in the sudoers",
            "not allowed to",
            "a terminal is required",
            "try again",
        ];
        let refused = ran.code != 0 && refusals.iter().any(|words| said.contains(words));
        anyhow::ensure!(!refused, "{}: sudo refuses `{}`: {}", self.address, self.user, last_line(&ran.stderr));
        Ok(())
    }

    fn through_master(&self) -> Command {
        let mut command = program(self.access, &self.address, &self.user, &self.folder);
        // If the first connection is gone, nothing is asked and nothing begun anew.
        command.args(["-o", "ControlMaster=no", "-o", "BatchMode=yes"]);
        command
    }

    fn start(&self, script: &str, arguments: &[&str]) -> Result<Child> {
        let mut command = self.through_master();
        let words: Vec<String> = ["sh", "-c", script, "sh"].iter().chain(arguments).map(|word| quote(word)).collect();
        let remote = if arguments.is_empty() { script.to_owned() } else { words.join(" ") };
        command.args([&self.address.host, &remote]);
        show(self.access, &command);
        start(&mut command)
    }

    async fn ended(&self, child: &mut Child, stdout: String, stderr: String) -> Result<Ran> {
        let status = child.wait().await.context("waiting for ssh")?;
        match status.code() {
            Some(LOST) | None => {
                bail!(Lost(format!("the connection to {} was lost: {}", self.address, last_line(&stderr))))
            }
            Some(code) => Ok(Ran { code, stdout, stderr }),
        }
    }
}

/// The password of ssh and sudo: their own, or the API's if that is the same user's.
/// Whom one logs in as: the user that an address names, else `CML_SSH_USER`, else `admin`.
pub fn user(access: &Access, named: Option<&str>) -> String {
    named.or(access.settings.ssh_user.as_deref()).unwrap_or(USER).to_owned()
}

fn known_password(access: &Access, user: &str) -> Option<Secret> {
    let settings = &access.settings;
    let same = settings.user.as_deref() == Some(user);
    settings.ssh_password.clone().or_else(|| settings.password.clone().filter(|_| same))
}

fn program(access: &Access, address: &Address, user: &str, folder: &SocketFolder) -> Command {
    let mut command = Command::new("ssh");
    let socket = format!("ControlPath={}/c", folder.path().display());
    let port = address.port.unwrap_or(PORT).to_string();
    command.args(["-T", "-p", &port, "-l", user, "-o", &socket, "-o", "ControlPersist=no"]);
    let connect = format!("ConnectTimeout={}", access.patience.as_secs().min(10));
    let alive = format!("ServerAliveInterval={}", access.patience.as_secs().div_ceil(3).clamp(1, 15));
    command.args(["-o", &connect, "-o", &alive, "-o", "ServerAliveCountMax=3", "-o", "LogLevel=INFO"]);
    if access.insecure {
        command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    } else {
        command.args(["-o", "StrictHostKeyChecking=accept-new"]);
    }
    // It has no use for them, and might be told to send them on.
    for name in SECRETS {
        command.env_remove(name);
    }
    // What it says is read here, in English.
    command.env("LC_ALL", "C");
    command
}

fn start(command: &mut Command) -> Result<Child> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().context("ssh can't be started; is it installed (package openssh-client)?")
}

fn show(access: &Access, command: &Command) {
    let command = command.as_std();
    let words: Vec<String> = command.get_args().map(|word| quote_if_need_be(&word.to_string_lossy())).collect();
    access.ui.command(format_args!("ssh {}", words.join(" ")));
}

/// Reads to the end, in the background, and keeps the end of it.
fn collect(stream: Option<impl tokio::io::AsyncRead + Unpin + Send + 'static>) -> impl Future<Output = String> + Send {
    let reading = tokio::spawn(async move {
        let (mut kept, mut piece) = (Vec::new(), [0; 8192]);
        let Some(mut stream) = stream else { return kept };
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            kept.extend_from_slice(&piece[..read]);
            if kept.len() > 16 * MOST_SAID {
                kept.drain(..kept.len() - MOST_SAID);
            }
        }
        kept
    });
    async move { String::from_utf8_lossy(&reading.await.unwrap_or_default()).into_owned() }
}

/// Reads what ssh says, to its end; that it has remembered a new host is passed on at once.
fn listen(access: &Access, stream: Option<ChildStderr>) -> tokio::task::JoinHandle<String> {
    let ui = access.ui.clone();
    tokio::spawn(async move {
        let mut said = String::new();
        let Some(stream) = stream else { return said };
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("Permanently added") {
                ui.note(text::printable(line.trim()));
            }
            if said.len() < MOST_SAID {
                said.push_str(&line);
                said.push('\n');
            }
        }
        said
    })
}

fn explain(address: &Address, user: &str, said: &str) -> anyhow::Error {
    let port = address.port.unwrap_or(PORT);
    let last = last_line(said);
    if said.contains("IDENTIFICATION HAS CHANGED") || said.contains("Host key verification failed") {
        return anyhow!(
            "the host key of {address} is not the one that is remembered, so nothing was sent\nEither the server was installed anew, or this is not \
             the server. If you know that it was installed anew: ssh-keygen -R '[{}]:{port}'",
            address.host
        );
    }
    if said.contains("Permission denied") || said.contains("Too many authentication failures") {
        return anyhow!(
            "{address} does not let `{user}` in: wrong key or password (CML_SSH_USER, CML_SSH_PASS): {last}"
        );
    }
    if said.contains("Connection refused") {
        return anyhow!("{address} refuses connections on port {port}; is the SSH service on (in CML's cockpit)?");
    }
    anyhow!(Lost(format!("{address} can't be reached by ssh: {last}")))
}

/// The last line that says something.
pub fn last_line(text: &str) -> String {
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    text::printable(line.unwrap_or("it does not say why"))
}

/// A word for a POSIX shell.
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn quote_if_need_be(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./=:@,%+".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { quote(word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        let words = "it's a \"test\" $HOME; `x`\n";
        let output =
            std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quote(words))]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), words);
    }

    #[test]
    fn what_ssh_says_is_explained() {
        let address = Address::parse("cml").unwrap();
        let about = |said: &str| explain(&address, "admin", said).to_string();
        assert!(
            about("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.")
                .contains("ssh-keygen -R '[cml]:1122'")
        );
        assert!(about("admin@cml: Permission denied (publickey,password).").contains("CML_SSH_PASS"));
        assert!(about("ssh: connect to host cml port 1122: Connection refused").contains("cockpit"));
    }
}
