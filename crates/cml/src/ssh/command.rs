//! The system's own `ssh` with its options, and what its errors mean. What it runs on the server is added by
//! [`CommandLine`](crate::ssh::remote::CommandLine).

use anyhow::{Context, Result, anyhow};
use tokio::process::Command;

use crate::address::check_user;
use crate::remote_text::last_line;
use crate::ssh::remote::{join, quote};
use crate::ssh::socket_folder::SocketFolder;
use crate::{Access, Address, Secret};

/// CML's port for ssh; 22 is its console server. [docs/cml.md 2]
pub const PORT: u16 = 1122;

const USER: &str = "admin";

/// The connection is gone; a new one may work.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectionLost(pub String);

/// The user to log in as: the one named in the address, else `CML_SSH_USER`, else `admin`.
///
/// # Errors
///
/// Fails if `CML_SSH_USER` cannot be a user's name.
pub fn user(access: &Access, named: Option<&str>) -> Result<String> {
    let set = access.settings.ssh_user.as_deref();
    set.map_or(Ok(()), check_user).context("CML_SSH_USER is not usable")?;
    Ok(named.or(set).unwrap_or(USER).to_owned())
}

/// The password for ssh and sudo: `CML_SSH_PASS`, or the API's password if it is that of the same user.
pub fn password(access: &Access, user: &str) -> Option<Secret> {
    let settings = &access.settings;
    let is_same = settings.user.as_deref() == Some(user);
    settings.ssh_password.clone().or_else(|| settings.password.clone().filter(|_| is_same))
}

pub fn ssh(access: &Access, address: &Address, user: &str, folder: &SocketFolder) -> Command {
    let mut command = Command::new("ssh");
    let socket = format!("ControlPath={}", folder.control_path().display());
    let port = address.port.unwrap_or(PORT).to_string();
    command.args(["-T", "-p", &port, "-l", user, "-o", &socket, "-o", "ControlPersist=no"]);
    let connect = format!("ConnectTimeout={}", access.idle_timeout.as_secs().min(10));
    let alive = format!("ServerAliveInterval={}", access.idle_timeout.as_secs().div_ceil(3).clamp(1, 15));
    command.args(["-o", &connect, "-o", &alive, "-o", "ServerAliveCountMax=3", "-o", "LogLevel=INFO"]);
    if access.insecure {
        command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    }
    // Its messages are read here, in English.
    command.env("LC_ALL", "C");
    command
}

pub fn show(access: &Access, command: &Command) {
    let arguments: Vec<_> = command.as_std().get_args().map(|argument| argument.to_string_lossy()).collect();
    access.ui.command(format_args!("ssh {}", join(&arguments.iter().map(AsRef::as_ref).collect::<Vec<_>>())));
}

/// The error for a login that failed with these messages of ssh.
pub fn explain(address: &Address, user: &str, stderr: &str) -> anyhow::Error {
    let port = address.port.unwrap_or(PORT);
    let last = last_line(stderr);
    let has = |text: &str| stderr.contains(text);
    if has("IDENTIFICATION HAS CHANGED") {
        return anyhow!(
            "the host key of {address} is not the known one, so nothing was sent\n\
             Either the server was reinstalled, or this is not the server. If you know that it was reinstalled: \
             ssh-keygen -R '[{}]:{port}'",
            address.host
        );
    }
    if has("Host key verification failed") {
        return anyhow!(
            "the host key of {address} is not known or was not accepted, so nothing was sent: {last}\n\
             To have it remembered, log in once on a terminal, and compare its fingerprint: ssh -p {port} {}@{}",
            quote(user),
            quote(&address.host)
        );
    }
    if has("Permission denied") || has("Too many authentication failures") {
        return anyhow!(
            "{address} refuses the login of `{user}`: wrong key or password (CML_SSH_USER, CML_SSH_PASS): {last}"
        );
    }
    if has("Connection refused") {
        return anyhow!("{address} refuses connections on port {port}; is the SSH service enabled (in CML's cockpit)?");
    }
    anyhow!(ConnectionLost(format!("cannot reach {address} by ssh: {last}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_ssh_are_explained() {
        let address = Address::parse("cml").unwrap();
        let explained = |stderr: &str| explain(&address, "admin", stderr).to_string();
        assert!(
            explained("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.")
                .contains("ssh-keygen -R '[cml]:1122'")
        );
        assert!(
            explained(
                "No ED25519 host key is known for [cml]:1122 and you have requested strict checking.\n\
                           Host key verification failed."
            )
            .contains("ssh -p 1122 admin@cml")
        );
        assert!(explained("admin@cml: Permission denied (publickey,password).").contains("CML_SSH_PASS"));
        assert!(explained("ssh: connect to host cml port 1122: Connection refused").contains("cockpit"));
    }
}
