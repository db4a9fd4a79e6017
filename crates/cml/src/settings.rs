//! Servers and credentials by the conventions of CML's own client: the environment first, then
//! `.virlrc` in the working folder, then in the home folder. [docs/cml.md 2]
//!
//! As in that client, a `.virlrc` in a parent folder is not read: a user who can write there could have the next
//! password sent to a server of their own.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::Address;

const FILE: &str = ".virlrc";

pub const SECRETS: [&str; 5] = ["VIRL2_PASS", "VIRL_PASSWORD", "VIRL2_JWT", "CML_SSH_PASS", "CML_BUILDER_PASS"];

#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub url: Option<String>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub token: Option<Secret>,
    /// A file of CA certificates that may sign the server's.
    pub authorities: Option<PathBuf>,
    pub ssh_user: Option<String>,
    pub ssh_password: Option<Secret>,
}

impl Settings {
    pub fn discover() -> Result<Self> {
        let folders: Vec<PathBuf> = std::env::current_dir().ok().into_iter().chain(std::env::home_dir()).collect();
        Self::from_sources(|name| std::env::var(name).ok(), &folders)
    }

    fn from_sources(variable: impl Fn(&str) -> Option<String>, folders: &[PathBuf]) -> Result<Self> {
        let files = folders.iter().map(|folder| read_file(folder)).collect::<Result<Vec<_>>>()?;
        // In files, the client knows only the first name of each.
        let get = |names: &[&str]| {
            let set = names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
            set.or_else(|| files.iter().find_map(|lines| value_in(lines, names.first().copied()?)))
        };
        let bundle = get(&["CA_BUNDLE", "CML_VERIFY_CERT"]);
        let is_switch = |text: &String| matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "0" | "1");
        Ok(Self {
            url: get(&["VIRL2_URL", "VIRL_HOST"]),
            user: get(&["VIRL2_USER", "VIRL_USERNAME"]),
            password: get(&["VIRL2_PASS", "VIRL_PASSWORD"]).map(Secret::new),
            token: get(&["VIRL2_JWT"]).map(Secret::new),
            // A forgotten setting does not switch verification off: only --insecure does.
            authorities: bundle.filter(|text| !is_switch(text)).map(PathBuf::from),
            ssh_user: get(&["CML_SSH_USER"]),
            ssh_password: get(&["CML_SSH_PASS"]).map(Secret::new),
        })
    }

    /// The servers of a command: those named by `--cml`, else the one in the settings. At least one, none twice.
    pub fn servers(&self, named: &[String]) -> Result<Vec<Address>> {
        let mut found: Vec<Address> = Vec::new();
        let named: Vec<&String> = if named.is_empty() { self.url.iter().collect() } else { named.iter().collect() };
        for text in named {
            let address = Address::parse(text)?;
            let is_repeated = found.iter().any(|other| (&other.host, other.port) == (&address.host, address.port));
            anyhow::ensure!(!is_repeated, "{address} is named twice");
            found.push(address);
        }
        anyhow::ensure!(
            !found.is_empty(),
            "which CML server? Name it with --cml HOST, or set VIRL2_URL in the environment or in {FILE}"
        );
        Ok(found)
    }

    /// Whether a login to the API needs no prompt.
    pub fn can_log_in(&self) -> bool {
        self.token.is_some() || (self.user.is_some() && self.password.is_some())
    }
}

fn read_file(folder: &Path) -> Result<String> {
    let path = folder.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// `KEY=VALUE`, with or without double quotes around the value.
fn value_in(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(name)?.trim_start().strip_prefix('='))?;
    let value = line.trim();
    let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    (!bare.is_empty()).then(|| bare.to_owned())
}

/// A password or a token, which does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The plain text, for the code that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// `text` without this secret: servers may repeat what they were sent.
    pub fn redact(&self, text: &str) -> String {
        if self.0.len() < 3 { text.to_owned() } else { text.replace(&self.0, "•••") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("•••")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)], work: &str, home: &str) -> Settings {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for (folder, text) in folders.iter().zip([work, home]) {
            std::fs::write(folder.path().join(FILE), text).unwrap();
        }
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::from_sources(variable, &folders.each_ref().map(|folder| folder.path().to_owned())).unwrap()
    }

    #[test]
    fn the_environment_wins_over_the_working_folder_and_that_over_home() {
        let home = "VIRL2_URL=home\nVIRL2_USER=me\nVIRL2_PASS=\"s p\"\n";
        let settings = found(&[("VIRL_HOST", "environment")], "VIRL2_URL=work\n", home);
        assert_eq!(settings.url.as_deref(), Some("environment"));
        assert_eq!(settings.password.unwrap().reveal(), "s p");
        assert_eq!(found(&[], "VIRL2_URL=work", home).url.as_deref(), Some("work"));
        assert_eq!(found(&[], "", home).url.as_deref(), Some("home"));
    }

    #[test]
    fn verification_is_not_switched_off_by_a_setting() {
        assert!(found(&[("CML_VERIFY_CERT", "False")], "", "").authorities.is_none());
        assert_eq!(found(&[("CA_BUNDLE", "/ca.pem")], "", "").authorities, Some("/ca.pem".into()));
    }

    #[test]
    fn without_a_server_the_error_says_where_to_name_one() {
        let message = found(&[], "", "").servers(&[]).unwrap_err().to_string();
        assert!(
            message.contains("--cml HOST") && message.contains("VIRL2_URL") && message.contains(".virlrc"),
            "{message}"
        );
        let twice = ["a".to_owned(), "me@a".to_owned()];
        assert!(found(&[], "", "").servers(&twice).unwrap_err().to_string().contains("named twice"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("s3cret");
        assert_eq!(format!("{secret:?}"), "•••");
        assert_eq!(secret.redact("wrong password s3cret!"), "wrong password •••!");
    }
}
