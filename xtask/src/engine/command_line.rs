//! The engine's own command-line program, pointed at this engine. It is used where the engine's own error messages
//! count, and where it takes over the user's terminal. Everything else goes through the API.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use xshell::{Cmd, Shell};

use crate::engine::handle::Engine;

/// How long a command without input may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A program, and how it is pointed at the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    pub program: &'static str,
    /// The arguments before the command.
    address: Vec<String>,
    /// Variables that are set, or must not be.
    environment: Vec<(&'static str, Option<OsString>)>,
}

impl Engine {
    /// The engine's own command line; else Docker's, if Podman's is not installed or cannot connect to this address.
    /// Both accept the same commands.
    pub fn command_line(&self) -> CommandLine {
        let host = &self.endpoint.host;
        let own = self.abilities.command_line;
        // Podman's has no TLS, and over ssh it needs the path of the socket.
        let can_connect = host.starts_with("unix://") || (host.starts_with("tcp://") && self.endpoint.tls.is_none());
        if own == PODMAN && can_connect && self.abilities.has_command_line() {
            let address = vec!["--url".to_owned(), host.clone()];
            return CommandLine { program: own, address, environment: Vec::new() };
        }
        let tls = self.endpoint.tls.clone().map(OsString::from);
        let environment = vec![
            ("DOCKER_CONTEXT", None),
            ("DOCKER_HOST", Some(host.into())),
            ("DOCKER_TLS", None),
            ("DOCKER_TLS_VERIFY", tls.as_ref().map(|_| "1".into())),
            ("DOCKER_CERT_PATH", tls),
        ];
        CommandLine { program: "docker", address: Vec::new(), environment }
    }
}

const PODMAN: &str = "podman";

/// [execve(2), MAX_ARG_STRLEN]
const TOO_LONG: &str = ": an argument or variable that the definition asks for is longer than Linux hands to a \
     program (128 KiB); put it into one of the definition's files";

impl CommandLine {
    /// Runs a command of the engine without input.
    pub async fn output(&self, args: &[impl AsRef<OsStr>]) -> Result<Output> {
        let mut command = tokio::process::Command::from(Command::from(self.command(&Shell::new()?, args)));
        let output = tokio::time::timeout(LIMIT, command.stdin(Stdio::null()).kill_on_drop(true).output()).await;
        let program = self.program;
        let output = output.with_context(|| format!("`{program}` did not end within {} s", LIMIT.as_secs()))?;
        output.map_err(|error| {
            let why = match error.kind() {
                ErrorKind::ArgumentListTooLong => TOO_LONG,
                ErrorKind::NotFound => "; `cargo xtask setup` installs it",
                _ => "",
            };
            anyhow::Error::from(error).context(format!("could not run the {program} command line{why}"))
        })
    }

    /// A command of the engine, to take over the terminal.
    pub fn command<'a>(&self, sh: &'a Shell, args: &[impl AsRef<OsStr>]) -> Cmd<'a> {
        let command = sh.cmd(self.program).args(&self.address).args(args);
        self.environment.iter().fold(command, |command, (name, value)| match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        })
    }

    /// For people: what to type before the command.
    pub fn shown(&self) -> String {
        [&[self.program.to_owned()], &*self.address].concat().join(" ")
    }

    /// As `node_args` of the engine's abilities, but options that only this program has.
    pub fn node_args(&self) -> &'static [&'static str] {
        // Podman changes the container if it takes the first process for systemd.
        if self.program == PODMAN { &["--systemd=false"] } else { &[] }
    }
}
