//! What this program remembers of servers between runs: certificates that a person pinned, and what
//! it put there itself. Never a password or a token.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::fingerprint::Fingerprint;
use digests::Digest;

const PINS: &str = "known_controllers";

/// `$XDG_STATE_HOME/cml-nodes`, else `~/.local/state/cml-nodes`. Not the cache folder: what is forgotten there is
/// made again, a pinned certificate is not.
///
/// # Errors
/// If there is no home folder.
pub fn folder() -> Result<PathBuf> {
    let xdg = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let state = xdg.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    Ok(state.context("there is no home folder; set XDG_STATE_HOME")?.join("cml-nodes"))
}

/// The certificate that a person accepted for this server. One line each: `HOST:PORT FINGERPRINT`.
///
/// # Errors
/// If the file can't be read, or its line for this server is damaged: then nothing is trusted.
pub fn pinned(memory: &Path, place: &str) -> Result<Option<Fingerprint>> {
    let path = memory.join(PINS);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} can't be read", path.display())),
    };
    let line = text.lines().rev().find_map(|line| line.strip_prefix(place)?.strip_prefix(' '));
    let read = |line: &str| {
        Fingerprint::parse(line).with_context(|| format!("the line of {place} in {} is damaged", path.display()))
    };
    line.map(read).transpose()
}

/// Remembers a certificate. A later line counts for more than an earlier one.
///
/// # Errors
/// If the file can't be written.
pub fn pin(memory: &Path, place: &str, fingerprint: &Fingerprint) -> Result<PathBuf> {
    let path = memory.join(PINS);
    std::fs::create_dir_all(memory).with_context(|| format!("{} can't be made", memory.display()))?;
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.and_then(|mut file| writeln!(file, "{place} {fingerprint}"))
        .with_context(|| format!("{} can't be written", path.display()))?;
    Ok(path)
}

/// What this machine did to one node of one server by the API, which itself keeps no past.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    /// The archive that waits in the drop folder, wholly received.
    pub waiting: Option<Digest>,
    /// Both definitions as this machine left them, as the controller gave them back.
    pub left: Option<Pair>,
    /// What stood there before.
    pub replaced: Option<Pair>,
    /// What stood there before an installation that has not ended yet, as far as is known.
    pub begun: Option<Pair>,
}

/// Both definitions' texts, where there were any.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    pub node: Option<String>,
    pub image: Option<String>,
}

impl Past {
    /// What is remembered; nothing counts as nothing, and so does what can't be read.
    pub fn read(memory: &Path, server: &Address, id: &str) -> Self {
        let text = std::fs::read(path_of(memory, server, id)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// # Errors
    /// If it can't be written.
    pub fn write(&self, memory: &Path, server: &Address, id: &str) -> Result<()> {
        let path = path_of(memory, server, id);
        let folder = path.parent().unwrap_or(memory);
        std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        draft.persist(&path).with_context(|| format!("{} can't be written", path.display()))?;
        Ok(())
    }
}

fn path_of(memory: &Path, server: &Address, id: &str) -> PathBuf {
    memory.join("installed").join(file_name(&server.to_string())).join(format!("{}.json", file_name(id)))
}

/// The file whose lock is held while a command of this machine changes that server.
pub fn lock_of(memory: &Path, server: &Address) -> PathBuf {
    memory.join("installed").join(file_name(&server.to_string())).join("lock")
}

/// A text as a file's name.
pub fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    text.trim_start_matches('.').chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_found_again_and_the_last_one_counts() {
        let memory = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|text| Fingerprint::of(text.as_bytes()));
        assert!(pinned(memory.path(), "cml:443").unwrap().is_none());
        pin(memory.path(), "cml:443", &one).unwrap();
        pin(memory.path(), "cml:4430", &two).unwrap();
        assert_eq!(pinned(memory.path(), "cml:443").unwrap(), Some(one));
        pin(memory.path(), "cml:443", &two).unwrap();
        assert_eq!(pinned(memory.path(), "cml:443").unwrap(), Some(two));
    }

    #[test]
    fn a_damaged_pin_trusts_nobody() {
        let memory = tempfile::tempdir().unwrap();
        std::fs::write(memory.path().join(PINS), "cml:443 AB:CD\n").unwrap();
        assert!(pinned(memory.path(), "cml:443").unwrap_err().to_string().contains("damaged"));
    }
}
