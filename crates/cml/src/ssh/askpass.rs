//! Answers what ssh asks during a login, if a password is known.
//!
//! ssh asks on a terminal, or through the program that `SSH_ASKPASS` names. That program is this one, started by ssh:
//! it fetches the answer from the command through a socket in a private folder. So the password is in no argument, no
//! environment variable and no file.
//!
//! The programs that ssh starts, such as a `ProxyCommand` or the ssh to a jump host, inherit these variables. The
//! password is not for them: it answers only the ssh that the command started, and only the prompt for this user's
//! password on this host. Everything else is asked of the person at the terminal, also whether a host key is right.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::ChildStdin;

use crate::ssh::command::PORT;
use crate::ssh::configuration::Configuration;
use crate::ssh::remote::quote;
use crate::ssh::socket_folder::SocketFolder;
use crate::{Access, Address, Secret};

const VARIABLE: &str = "CML_NODES_ASKPASS";

/// A prompt is a few lines.
const LONGEST_PROMPT: u64 = 64 << 10;

const COMPARE: &str = "To print the true ones, run this on the server: \
                       for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done";

/// If ssh has started this program to ask something: prints the answer, and returns the exit code.
#[expect(clippy::print_stdout, reason = "ssh reads it, as it is")]
pub fn run() -> Option<ExitCode> {
    let socket = std::env::var_os(VARIABLE)?;
    let prompt = std::env::args_os().nth(1).unwrap_or_default();
    match fetch_answer(Path::new(&socket), &prompt.to_string_lossy()) {
        Ok(Some(answer)) => {
            println!("{answer}");
            Some(ExitCode::SUCCESS)
        }
        // Without an answer ssh gives up.
        _ => Some(ExitCode::FAILURE),
    }
}

fn fetch_answer(socket: &Path, prompt: &str) -> std::io::Result<Option<String>> {
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.write_all(prompt.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.strip_suffix('\n').map(str::to_owned))
}

/// Who asks for what.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    Password,
    HostKey,
    /// Something else, or somebody else.
    Other,
}

/// Answers the questions of one login.
pub struct Askpass<'a> {
    access: &'a Access,
    address: &'a Address,
    user: &'a str,
    /// As ssh names it in its prompts.
    host: String,
    /// Given once: a wrong password is not repeated.
    password: Option<Secret>,
    listener: UnixListener,
    socket: PathBuf,
    /// Why questions had no answer.
    refused: Vec<String>,
}

impl<'a> Askpass<'a> {
    pub fn listen(
        access: &'a Access,
        address: &'a Address,
        user: &'a str,
        configuration: &Configuration,
        folder: &SocketFolder,
        password: Secret,
    ) -> Result<Self> {
        let socket = folder.path().join("p");
        let listener = UnixListener::bind(&socket).with_context(|| format!("cannot create {}", socket.display()))?;
        let (host, password, refused) = (configuration.host.clone(), Some(password), Vec::new());
        Ok(Self { access, address, user, host, password, listener, socket, refused })
    }

    /// The variables that make ssh ask here.
    pub fn environment(&self) -> Result<[(&'static str, OsString); 3]> {
        let program = std::env::current_exe().context("cannot find the path of this program")?;
        Ok([
            ("SSH_ASKPASS", program.into()),
            ("SSH_ASKPASS_REQUIRE", "force".into()),
            (VARIABLE, self.socket.clone().into()),
        ])
    }

    /// Answers questions until `done` is ready. `stdin` is the other end of ssh's standard input. `None` if nothing
    /// has happened for so long; the time that a person takes for an answer does not count.
    pub async fn answer_until<T>(
        &mut self,
        done: impl Future<Output = T>,
        stdin: &ChildStdin,
        limit: Duration,
    ) -> Option<T> {
        let mut done = std::pin::pin!(done);
        loop {
            tokio::select! {
                done = &mut done => return Some(done),
                Ok((stream, _)) = self.listener.accept() => {
                    // Who has gone meanwhile gets no answer.
                    let _ = self.answer(stream, stdin).await;
                }
                () = tokio::time::sleep(limit) => return None,
            }
        }
    }

    /// Why the login failed, if it did because questions had no answer.
    pub fn refused(&self) -> Option<String> {
        (!self.refused.is_empty()).then(|| self.refused.join("\n"))
    }

    async fn answer(&mut self, mut stream: UnixStream, stdin: &ChildStdin) -> Result<()> {
        let asker = stream.peer_cred()?;
        if asker.uid() != rustix::process::geteuid().as_raw() {
            bail!("another user asks");
        }
        let mut prompt = Vec::new();
        let mut asking = (&mut stream).take(LONGEST_PROMPT);
        tokio::time::timeout(self.access.idle_timeout, asking.read_to_end(&mut prompt)).await??;
        let prompt = String::from_utf8_lossy(&prompt);
        let is_from_ssh = asker.pid().is_some_and(|pid| has_as_stdin(pid, stdin));
        let answer = match question(&prompt, self.user, &self.host, is_from_ssh) {
            Question::Password => self.password.take().map(|password| password.reveal().to_owned()),
            _ if prompt.is_empty() => None,
            asked if self.access.ui.can_ask() => Some(self.ask_the_person(&prompt, &asked).await?),
            asked => {
                let refusal = self.refusal(&prompt, &asked, is_from_ssh);
                // A login is tried several times.
                if !self.refused.contains(&refusal) {
                    self.refused.push(refusal);
                }
                None
            }
        };
        if let Some(answer) = answer {
            stream.write_all(format!("{answer}\n").as_bytes()).await?;
        }
        Ok(())
    }

    async fn ask_the_person(&self, prompt: &str, asked: &Question) -> Result<String> {
        let (ui, _prompt) = (&self.access.ui, self.access.prompt.lock().await);
        if *asked != Question::HostKey {
            return ui.ask_secret(&format!("{} ", prompt.trim_end())).await;
        }
        ui.note(format_args!("{}: {}\n  {COMPARE}", self.address, about_key(prompt)));
        let is_right = ui.ask("Is this the server's fingerprint, and should it be remembered?").await?;
        Ok(if is_right { "yes" } else { "no" }.to_owned())
    }

    fn refusal(&self, prompt: &str, asked: &Question, is_from_ssh: bool) -> String {
        let address = self.address;
        if *asked == Question::HostKey && is_from_ssh {
            let (port, host) = (address.port.unwrap_or(PORT), quote(&address.host));
            return format!(
                "its host key is not known yet, and there is no terminal to ask on, so nothing was sent\n  \
                 {}\n  {COMPARE}\n\
                 If they agree, log in once on a terminal, which remembers the key: ssh -p {port} {}@{host}\n\
                 Or add it without one: ssh-keyscan -p {port} {host} >>~/.ssh/known_hosts",
                about_key(prompt),
                quote(self.user),
            );
        }
        let who = if is_from_ssh { "ssh" } else { "a program that ssh has started, such as one for a jump host," };
        format!(
            "{who} asks `{}`\n\
             The known password is only for the prompt of ssh itself for {}@{}, and there is no terminal to ask on: \
             set up a login by key for the former, or run this on a terminal",
            prompt.trim(),
            self.user,
            self.host,
        )
    }
}

/// OpenSSH has these prompts: `password` in `userauth_passwd`, `keyboard-interactive` in `input_userauth_info_req`, the
/// rest of which comes from the server. Before 8.5 the latter does not say for whom it is.
fn question(prompt: &str, user: &str, host: &str, is_from_ssh: bool) -> Question {
    let ours = [format!("{user}@{host}'s password:"), format!("({user}@{host}) Password:")];
    if is_from_ssh && ours.iter().any(|ours| prompt.trim_end() == ours) {
        Question::Password
    } else if prompt.trim_end().ends_with("(yes/no/[fingerprint])?") || prompt.trim_end().ends_with("(yes/no)?") {
        Question::HostKey
    } else {
        Question::Other
    }
}

/// Whether a process has this pipe as its standard input. The one that ssh starts to ask inherits it; the others, such
/// as a `ProxyCommand`, have one of their own. Where there is no /proc, that cannot be told, and the prompt decides.
fn has_as_stdin(pid: i32, pipe: &ChildStdin) -> bool {
    let link = |path: String| std::fs::read_link(path).ok();
    let theirs = link(format!("/proc/{pid}/fd/0"));
    !cfg!(target_os = "linux") || (theirs.is_some() && theirs == link(format!("/proc/self/fd/{}", pipe.as_raw_fd())))
}

/// What ssh says about an unknown key, without its question.
fn about_key(prompt: &str) -> String {
    let lines = prompt.lines().map(str::trim).filter(|line| !line.is_empty() && !line.ends_with('?'));
    lines.collect::<Vec<_>>().join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_answers_no_prompt_but_that_of_this_user_on_this_host() {
        let asked = |prompt: &str| question(prompt, "admin", "cml", true);
        for prompt in ["admin@cml's password: ", "(admin@cml) Password: ", "(admin@cml) Password:"] {
            assert_eq!(asked(prompt), Question::Password, "{prompt}");
            assert_eq!(question(prompt, "admin", "cml", false), Question::Other, "{prompt}");
        }
        for prompt in [
            "",
            "Password: ",
            "password",
            "admin@jump's password: ",
            "root@cml's password: ",
            "admin@cml.example.org's password: ",
            "Enter admin@cml's old password: ",
            "(admin@jump) (admin@cml) Password: ",
            "(admin@cml) Verification code: ",
            "(admin@cml) Password for bank: ",
            "x\nadmin@cml's password: ",
            "Enter passphrase for key 'admin@cml's password': ",
            "[sudo] password for admin: ",
        ] {
            assert_eq!(asked(prompt), Question::Other, "{prompt}");
        }
    }

    #[test]
    fn what_ssh_says_about_an_unknown_key_is_kept() {
        let prompt = "The authenticity of host 'cml (10.0.0.5)' can't be established.\n\
                      ED25519 key fingerprint is SHA256:abc.\n\
                      This key is not known by any other names.\n\
                      Are you sure you want to continue connecting (yes/no/[fingerprint])? ";
        assert_eq!(question(prompt, "admin", "cml", true), Question::HostKey);
        let about = about_key(prompt);
        assert!(about.contains("\n  ED25519 key fingerprint is SHA256:abc.") && !about.contains("Are you sure"));
    }
}
