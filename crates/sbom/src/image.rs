//! What an image says of itself: its configuration, and the files that list its packages and sources.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::Deserialize;

use archive::{Files, Kept, System};
use digests::Digest;

use crate::dpkg::{self, Package};
use crate::licence;
use crate::origins::Origins;

/// dpkg's list of packages.
const STATUS: &str = "var/lib/dpkg/status";
/// A desktop has five megabytes.
const LARGEST_STATUS: u64 = 32 << 20;
/// Where packages keep their licences, and recipes the digests of what they were made from.
const DOC: &str = "usr/share/doc/";
const LARGEST_COPYRIGHT: u64 = 1 << 20;
/// The digests of packages, as `docker/common/debian/record-packages` writes them.
const PACKAGES: &str = "usr/share/doc/cml-nodes/packages.sha256";
/// In a folder of `usr/share/doc` with a source's name: the digests of the files of the distribution's source package.
const SOURCE_PACKAGE: &str = "source-package.sha256";
const RELEASE: [&str; 2] = ["usr/lib/os-release", "etc/os-release"];
const LARGEST_LIST: u64 = 4 << 20;

/// The label with [`Origins`].
pub const ORIGINS: &str = "cml-nodes.origins";

/// The files of an image that its list is made from.
#[must_use]
pub fn wanted(path: &str) -> Option<u64> {
    if path == STATUS {
        return Some(LARGEST_STATUS);
    }
    if path == PACKAGES || RELEASE.contains(&path) {
        return Some(LARGEST_LIST);
    }
    let inner = path.strip_prefix(DOC)?;
    match inner.split_once('/') {
        // A package's folder may be a link to another's.
        None => Some(0),
        Some((_, "copyright")) => Some(LARGEST_COPYRIGHT),
        Some((_, name)) => (name == SOURCE_PACKAGE).then_some(LARGEST_LIST),
    }
}

/// The part of an image's configuration that is of interest.
/// <https://github.com/opencontainers/image-spec/blob/main/config.md>
#[derive(Default, Deserialize)]
#[serde(default)]
struct Configuration {
    created: Option<String>,
    config: Option<Settings>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Settings {
    labels: Option<BTreeMap<String, String>>,
}

/// An image, as its own files and its configuration describe it.
pub struct Image<'a> {
    files: &'a Files,
    pub created: Option<String>,
    pub origins: Origins,
    pub packages: Vec<Package>,
    /// By package, version and architecture.
    digests: BTreeMap<String, Digest>,
    pub distribution: Distribution,
}

/// As `os-release` tells it. <https://www.freedesktop.org/software/systemd/man/os-release.html>
#[derive(Default)]
pub struct Distribution {
    pub id: String,
    pub version: String,
}

impl<'a> Image<'a> {
    pub fn read(system: &'a System) -> Result<Self> {
        let files = &system.files;
        let Configuration { created, config } = serde_json::from_slice(&system.config).unwrap_or_default();
        let labels = config.unwrap_or_default().labels.unwrap_or_default();
        let status = match files.get(STATUS) {
            Some(Kept::TooLarge) => bail!("{STATUS} of the image is larger than {LARGEST_STATUS} bytes"),
            _ => text(files, STATUS).unwrap_or_default(),
        };
        let release = RELEASE.iter().find_map(|path| text(files, path)).unwrap_or_default();
        Ok(Self {
            files,
            created,
            // What is no such label counts as none: anybody can give an image labels.
            origins: labels.get(ORIGINS).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
            packages: dpkg::packages(&status)?,
            digests: sums(&text(files, PACKAGES).unwrap_or_default()).collect(),
            distribution: Distribution { id: value(&release, "ID"), version: value(&release, "VERSION_ID") },
        })
    }

    pub fn digest(&self, package: &Package) -> Option<&Digest> {
        let Package { name, version, architecture, .. } = package;
        self.digests.get(&format!("{name}_{version}_{architecture}.deb"))
    }

    /// The licence that the copyright file in this folder of `usr/share/doc` tells.
    pub fn licence_in(&self, folder: &str) -> Option<String> {
        let of = |folder: &str| text(self.files, &format!("{DOC}{folder}/copyright"));
        let linked = || match self.files.get(&format!("{DOC}{folder}")) {
            Some(Kept::Link(target)) => of(target.trim_end_matches('/')),
            _ => None,
        };
        licence::declared(&of(folder).or_else(linked)?)
    }

    /// The version of the distribution's source package that this source is, and the digest of its description, which
    /// has those of all its files: `<name>_<version>.dsc`.
    pub fn source_package(&self, source: &str) -> Option<(String, Digest)> {
        let list = text(self.files, &format!("{DOC}{source}/{SOURCE_PACKAGE}"))?;
        sums(&list).find_map(|(file, digest)| {
            let (_, version) = file.strip_suffix(".dsc")?.split_once('_')?;
            Some((crate::clean(version), digest))
        })
    }
}

fn text(files: &Files, path: &str) -> Option<String> {
    match files.get(path)? {
        Kept::File(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Kept::Link(_) | Kept::TooLarge => None,
    }
}

/// Names and digests, from what `sha256sum` writes.
fn sums(text: &str) -> impl Iterator<Item = (String, Digest)> {
    text.lines().filter_map(|line| {
        let (digest, name) = line.split_once("  ")?;
        Some((name.to_owned(), Digest::parse(digest)?))
    })
}

/// The value of a variable of `os-release`, without its quotes.
fn value(release: &str, name: &str) -> String {
    let found = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    crate::clean(found.unwrap_or_default().trim().trim_matches(['"', '\'']))
}
