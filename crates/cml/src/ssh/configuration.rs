//! What ssh's own configuration makes of a server, as `ssh -G` prints it.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::remote_text::last_line;
use crate::ssh::command::ssh;
use crate::ssh::remote::print_configuration;
use crate::ssh::socket_folder::SocketFolder;
use crate::{Access, Address};

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// As ssh names the host when it asks for a password: `HostKeyAlias`, else `HostName`.
    pub host: String,
    /// Whether only host keys are accepted that are known already.
    pub is_strict: bool,
}

impl Configuration {
    pub async fn read(access: &Access, address: &Address, user: &str, folder: &SocketFolder) -> Result<Self> {
        let mut command = ssh(access, address, user, folder);
        print_configuration(&mut command, address);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.context("cannot start ssh; is it installed (package openssh-client)?")?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ssh cannot read its configuration for {address}: {}", last_line(&stderr));
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    fn parse(text: &str) -> Self {
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        // Only the name is in lower case, not the alias. (OpenSSH, `ssh_login`)
        let name = || value("hostname").unwrap_or_default().to_ascii_lowercase();
        Self {
            host: value("hostkeyalias").map_or_else(name, str::to_owned),
            is_strict: matches!(value("stricthostkeychecking"), Some("true" | "yes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_prompts_is_the_alias_or_the_name_in_lower_case() {
        let parsed = Configuration::parse("host lab\nhostname CML.example.org\nstricthostkeychecking ask\n");
        assert_eq!(parsed, Configuration { host: "cml.example.org".to_owned(), is_strict: false });
        let parsed = Configuration::parse("hostname 10.0.0.5\nhostkeyalias Lab\nstricthostkeychecking true\n");
        assert_eq!(parsed, Configuration { host: "Lab".to_owned(), is_strict: true });
    }
}
