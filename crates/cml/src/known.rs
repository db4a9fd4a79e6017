//! What this program keeps about servers between runs: certificates that the user pinned, and records of its own
//! installations. Never a password or a token.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{Address, Standing};
use digests::Digest;

const PINS: &str = "known_controllers";

/// `$XDG_STATE_HOME/cml-nodes`, else `~/.local/state/cml-nodes`. Not in the cache folder: a cache can be made again, a
/// pinned certificate cannot.
pub fn folder() -> Result<PathBuf> {
    let xdg = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = xdg.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    Ok(state.context("there is no home directory; set HOME or XDG_STATE_HOME")?.join("cml-nodes"))
}

/// The SHA-256 of a certificate, written as `openssl x509 -noout -fingerprint -sha256` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint(Digest);

impl Fingerprint {
    pub fn of(certificate: &[u8]) -> Self {
        Self(Digest::of(certificate))
    }

    /// Reads 64 hex digits, with or without colons between them and `SHA256:` or openssl's label before them.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = text.rsplit_once('=').map_or(text, |(_, digits)| digits).trim().to_ascii_lowercase();
        let digest = Digest::parse(&digits.trim_start_matches("sha256:").replace(':', ""));
        digest.map(Self).with_context(|| format!("`{text}` is not a SHA-256 fingerprint, which has 64 hex digits"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.hex().to_ascii_uppercase();
        let pairs: Vec<&str> = (0..digits.len() / 2).filter_map(|at| digits.get(2 * at..2 * at + 2)).collect();
        f.write_str(&pairs.join(":"))
    }
}

/// The certificate that the user accepted for this server. The file has lines `HOST:PORT FINGERPRINT`; the last one for
/// a server counts. A damaged line is an error: then no certificate is accepted.
pub fn pinned(state_folder: &Path, server: &str) -> Result<Option<Fingerprint>> {
    let path = state_folder.join(PINS);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let line = text.lines().rev().find_map(|line| line.strip_prefix(server)?.strip_prefix(' '));
    let read = |line: &str| {
        Fingerprint::parse(line).with_context(|| format!("the line of {server} in {} is damaged", path.display()))
    };
    line.map(read).transpose()
}

/// Pins a certificate; returns the file.
pub fn pin(state_folder: &Path, server: &str, fingerprint: &Fingerprint) -> Result<PathBuf> {
    let path = state_folder.join(PINS);
    std::fs::create_dir_all(state_folder).with_context(|| format!("cannot create {}", state_folder.display()))?;
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| writeln!(file, "{server} {fingerprint}"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// What this machine did to one node of one server by the API, which itself keeps no history.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InstallRecord {
    #[serde(skip)]
    path: PathBuf,
    /// The archive that this machine uploaded, and that is still in the drop folder.
    #[serde(rename = "waiting")]
    pub uploaded: Option<Digest>,
    /// Both definitions after the last installation, as the controller returned them.
    #[serde(rename = "left")]
    pub installed: Option<Standing>,
    pub replaced: Option<Standing>,
    /// What an installation that has not ended yet is replacing.
    #[serde(rename = "begun")]
    pub replacing: Option<Standing>,
}

impl InstallRecord {
    /// The record of a node; empty if there is none, or none that can be read.
    pub fn open(state_folder: &Path, server: &Address, id: &str) -> Self {
        let path = server_folder(state_folder, server).join(format!("{}.json", file_name(id)));
        let record: Self = serde_json::from_slice(&std::fs::read(&path).unwrap_or_default()).unwrap_or_default();
        Self { path, ..record }
    }

    pub fn write(&self) -> Result<()> {
        files::write(&self.path, 0o600, serde_json::to_string_pretty(self)?)
    }

    /// Records that the installation has ended, and what is there now.
    pub fn finish(mut self, installed: Standing) -> Result<()> {
        self.replaced = self.replacing.take().or(self.replaced);
        (self.installed, self.uploaded) = (Some(installed), None);
        self.write()
    }
}

/// The file that a command locks while it changes the server.
pub fn lock_path(state_folder: &Path, server: &Address) -> PathBuf {
    server_folder(state_folder, server).join("lock")
}

fn server_folder(state_folder: &Path, server: &Address) -> PathBuf {
    state_folder.join("installed").join(file_name(&server.to_string()))
}

pub fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    text.trim_start_matches('.').chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pin_of_a_server_counts() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|text| Fingerprint::of(text.as_bytes()));
        assert!(pinned(folder.path(), "cml:443").unwrap().is_none());
        pin(folder.path(), "cml:443", &one).unwrap();
        pin(folder.path(), "cml:4430", &two).unwrap();
        assert_eq!(pinned(folder.path(), "cml:443").unwrap(), Some(one));
        pin(folder.path(), "cml:443", &two).unwrap();
        assert_eq!(pinned(folder.path(), "cml:443").unwrap(), Some(two));
    }

    #[test]
    fn with_a_damaged_pin_no_certificate_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(PINS), "cml:443 AB:CD\n").unwrap();
        assert!(pinned(folder.path(), "cml:443").unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn fingerprints_are_read_in_every_usual_form() {
        let one = Fingerprint::of(b"certificate");
        let shown = one.to_string();
        for form in [
            shown.clone(),
            shown.replace(':', "").to_lowercase(),
            format!("sha256 Fingerprint={shown}"),
            format!("SHA256:{shown}"),
        ] {
            assert_eq!(Fingerprint::parse(&form).unwrap(), one, "{form}");
        }
        assert!(Fingerprint::parse("AB:CD").is_err() && Fingerprint::parse("").is_err());
    }
}
