//! The engine's own command line, pointed at this engine: for what it must say in its own words, and where a person's terminal is
//! handed to it. Everything else goes through the API.

use std::ffi::OsString;

use xshell::{Cmd, Shell};

use crate::engine::Engine;

/// A program that drives an engine, and how it finds the one that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    pub program: &'static str,
    /// The arguments before the command.
    address: Vec<String>,
    /// Variables that are set, or must not be.
    environment: Vec<(&'static str, Option<OsString>)>,
}

impl Engine {
    /// Whether what is seen here of the machine is seen of the engine's.
    pub fn is_on_this_machine(&self) -> bool {
        self.endpoint.host.starts_with("unix://")
    }

    /// The engine's own command line; Docker's for an engine of another make whose own is not here, or does not come there. Both
    /// take the same commands.
    pub fn command_line(&self) -> CommandLine {
        let host = &self.endpoint.host;
        let own = self.abilities.command_line();
        // Podman's knows no TLS, and comes by ssh to a socket that must be named.
        let comes_there = host.starts_with("unix://") || (host.starts_with("tcp://") && self.endpoint.tls().is_none());
        if own == PODMAN && comes_there && self.abilities.has_command_line() {
            return CommandLine {
                program: own,
                address: vec!["--url".to_owned(), host.clone()],
                environment: Vec::new(),
            };
        }
        let tls = self.endpoint.tls().map(OsString::from);
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

impl CommandLine {
    /// Runs a command of the engine.
    pub fn expression(&self, words: &[String]) -> duct::Expression {
        let command = duct::cmd(self.program, self.address.iter().chain(words));
        self.environment.iter().fold(command, |command, (name, value)| match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        })
    }

    /// The same, for a terminal to be handed over to.
    pub fn command<'a>(&self, sh: &'a Shell, words: &[&str]) -> Cmd<'a> {
        let command = sh.cmd(self.program).args(&self.address).args(words);
        self.environment.iter().fold(command, |command, (name, value)| match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        })
    }

    /// As a person would type it, up to the command.
    pub fn shown(&self) -> String {
        std::iter::once(self.program).chain(self.address.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }

    /// What must be said at a container's creation to this command line alone, so that the container is as Docker makes it.
    pub fn arguments_of_docker(&self) -> &'static [&'static str] {
        // Podman prepares much for a first process that it takes for systemd.
        if self.program == PODMAN { &["--systemd=false"] } else { &[] }
    }
}
