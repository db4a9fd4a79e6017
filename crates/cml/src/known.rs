//! What this program keeps about servers between runs: certificates that the user pinned, and records of its own
//! installations. Never a password or a token.

use std::fmt;
use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{Address, Bundle, Standing};
use digests::Digest;
use files::Links;

const PINS: &str = "known_controllers";

/// Enough for each server that a user will meet.
const MOST_PINS: usize = 4096;

/// Host names have at most 253 bytes, fingerprints 95.
const LARGEST_PINS: u64 = MOST_PINS as u64 * 400;

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
/// a server counts.
///
/// # Errors
///
/// If the line or the file is damaged: then no certificate is accepted.
pub fn pinned(state_folder: &Path, server: &str) -> Result<Option<Fingerprint>> {
    let path = state_folder.join(PINS);
    let text = read_pins(&path)?;
    let line = text.lines().rev().find_map(|line| fingerprint_in(line, server));
    let read = |line: &str| {
        Fingerprint::parse(line).with_context(|| {
            format!("the line of {server} in {} is damaged; remove it to be asked again", path.display())
        })
    };
    line.map(read).transpose()
}

/// Pins a certificate, in place of the one that was pinned for this server; returns the file.
///
/// # Errors
///
/// If the file cannot be read or written, or is full.
pub async fn pin(state_folder: &Path, server: &str, fingerprint: &Fingerprint) -> Result<PathBuf> {
    let path = state_folder.join(PINS);
    create_folder(state_folder)?;
    let _lock = files::Lock::acquire_quietly(&path.with_extension("lock")).await?;
    let text = read_pins(&path)?;
    let mut lines: Vec<&str> = text.lines().filter(|line| fingerprint_in(line, server).is_none()).collect();
    let line = format!("{server} {fingerprint}");
    lines.push(&line);
    ensure!(
        lines.len() <= MOST_PINS,
        "{} already has {MOST_PINS} lines; remove those of servers that are gone",
        path.display()
    );
    files::write(&path, 0o600, lines.join("\n") + "\n")?;
    Ok(path)
}

/// The end of a message about a certificate that is pinned: how to go back to trusting authorities.
pub fn how_to_forget(state_folder: &Path, server: &str) -> String {
    format!(
        "\nTo trust the authorities of this machine instead, remove the line of {server} in {}",
        state_folder.join(PINS).display()
    )
}

/// Creates the folder of what is kept, for this user alone.
///
/// # Errors
///
/// If it cannot be created, or belongs to another user, who could change what is kept there.
pub fn create_folder(state_folder: &Path) -> Result<()> {
    let create = || {
        DirBuilder::new().recursive(true).mode(0o700).create(state_folder)?;
        let permissions = std::fs::metadata(state_folder)?.permissions();
        if permissions.mode() & 0o077 != 0 {
            std::fs::set_permissions(state_folder, Permissions::from_mode(0o700))?;
        }
        Ok::<_, std::io::Error>(())
    };
    create().with_context(|| format!("cannot create the private folder {}", state_folder.display()))
}

fn read_pins(path: &Path) -> Result<String> {
    Ok(files::read_text(path, LARGEST_PINS, Links::Refuse)?.map(|(text, _)| text).unwrap_or_default())
}

/// The fingerprint in this line, if it is that of the server.
fn fingerprint_in<'a>(line: &'a str, server: &str) -> Option<&'a str> {
    line.strip_prefix(server)?.strip_prefix(' ')
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
    /// What was installed last; absent from the records of older versions of this program.
    pub made_from: Option<MadeFrom>,
}

/// Where an installation came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeFrom {
    /// The node of the repository.
    pub node: String,
    pub version: String,
    /// Bytes of the archive.
    pub size: u64,
}

impl MadeFrom {
    pub fn of(bundle: &Bundle) -> Self {
        Self { node: bundle.node.clone(), version: bundle.version.clone(), size: bundle.archive.size }
    }
}

impl InstallRecord {
    /// The record of a node; empty if there is none.
    ///
    /// # Errors
    /// If the file is damaged or cannot be read. What this machine has installed must not be forgotten unnoticed.
    pub fn open(state_folder: &Path, server: &Address, id: &str) -> Result<Self> {
        let path = server_folder(state_folder, server).join(format!("{}.json", file_name(id)));
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self { path, ..Self::default() }),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let record: Self = serde_json::from_slice(&bytes).with_context(|| {
            format!(
                "{}, the record of what this machine installed as {id} on {server}, is damaged; move it away to go on \
                 without it",
                path.display()
            )
        })?;
        Ok(Self { path, ..record })
    }

    /// All records of a server, by the IDs of image definitions, in their order.
    pub fn all(state_folder: &Path, server: &Address) -> Vec<(String, Result<Self>)> {
        let entries = std::fs::read_dir(server_folder(state_folder, server)).into_iter().flatten().flatten();
        let id = |name: std::ffi::OsString| Some(name.to_str()?.strip_suffix(".json")?.to_owned());
        let mut ids: Vec<String> = entries.filter_map(|entry| id(entry.file_name())).collect();
        ids.retain(|id| definitions::id::check(id).is_ok());
        ids.sort();
        ids.into_iter().map(|id| (id.clone(), Self::open(state_folder, server, &id))).collect()
    }

    pub fn write(&self) -> Result<()> {
        files::write(&self.path, 0o600, serde_json::to_string_pretty(self)?)
    }

    /// Records that the last installation was rolled back, and what is there now: nothing is left to roll back.
    pub fn finish_rollback(mut self, now: Standing) -> Result<()> {
        (self.replacing, self.replaced) = (None, None);
        (self.installed, self.uploaded) = (Some(now), None);
        self.write()
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

    const SERVER: &str = "cml:443";

    #[tokio::test]
    async fn a_pin_replaces_the_one_before_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("new/state");
        let [one, two] = ["one", "two"].map(|text| Fingerprint::of(text.as_bytes()));
        assert!(pinned(&state, SERVER).unwrap().is_none());
        let path = pin(&state, SERVER, &one).await.unwrap();
        pin(&state, "cml:4430", &two).await.unwrap();
        assert_eq!(pinned(&state, SERVER).unwrap(), Some(one.clone()));
        pin(&state, SERVER, &two).await.unwrap();
        assert_eq!(pinned(&state, SERVER).unwrap(), Some(two.clone()));
        assert_eq!(std::fs::read_to_string(path).unwrap(), format!("cml:4430 {two}\ncml:443 {two}\n"));
        // Older files have several lines for a server.
        std::fs::write(state.join(PINS), format!("cml:443 {one}\ncml:443 {two}\n")).unwrap();
        assert_eq!(pinned(&state, SERVER).unwrap(), Some(two));
    }

    #[tokio::test]
    async fn what_is_kept_is_for_the_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        std::fs::create_dir(&state).unwrap();
        std::fs::set_permissions(&state, Permissions::from_mode(0o755)).unwrap();
        std::fs::write(state.join(PINS), "").unwrap();
        let path = pin(&state, SERVER, &Fingerprint::of(b"one")).await.unwrap();
        assert_eq!((mode(&state), mode(&path)), (0o700, 0o600));
    }

    #[tokio::test]
    async fn a_file_that_others_may_have_made_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (folder.path().join(PINS), folder.path().join("elsewhere"));
        let one = Fingerprint::of(b"one");
        std::fs::write(&elsewhere, format!("cml:443 {one}\n")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let is_refused = async |why: &str| {
            for error in [
                pinned(folder.path(), SERVER).unwrap_err(),
                pin(folder.path(), SERVER, &Fingerprint::of(b"two")).await.unwrap_err(),
            ] {
                let message = format!("{error:#}");
                assert!(message.contains(why) && message.contains(PINS), "{message}");
            }
        };
        is_refused("symbolic link").await;
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), format!("cml:443 {one}\n"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, format!("cml:443 {one}\ncml:44\x1b[2J {one}\n")).unwrap();
        is_refused("control characters").await;
        std::fs::File::create(&path).unwrap().set_len(LARGEST_PINS + 1).unwrap();
        is_refused("more than").await;
    }

    #[tokio::test]
    async fn the_file_of_pins_does_not_grow_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let one = Fingerprint::of(b"one");
        let full: String = (0..MOST_PINS).map(|at| format!("cml-{at}:443 {one}\n")).collect();
        std::fs::write(folder.path().join(PINS), full).unwrap();
        let message = pin(folder.path(), SERVER, &one).await.unwrap_err().to_string();
        assert!(message.contains("remove those of servers that are gone"), "{message}");
        pin(folder.path(), "cml-7:443", &Fingerprint::of(b"two")).await.unwrap();
    }

    #[test]
    fn with_a_damaged_pin_no_certificate_is_accepted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(PINS), "cml:443 AB:CD\n").unwrap();
        assert!(pinned(folder.path(), SERVER).unwrap_err().to_string().contains("damaged"));
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
