//! `dist/`: the three artefacts of each node, laid out as on the CML server, and what is known about
//! them. [docs/cml.md 1]
//!
//! Every file is written as a whole, so that a reader finds the old one or the new one, whatever happens in between.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use cml::{ArchiveFile, Bundle, Definition};
use digests::Digest;
use files::Lock;
use ui::Ui;

/// The file with the sums; `sha256sum -c SHA256SUMS` checks them.
const SUMS: &str = "SHA256SUMS";
/// What this program remembers about its own steps. Not part of the server's tree.
const RECORDS: &str = ".records";
/// Everybody can read the artefacts.
pub const ARTEFACT_MODE: u32 = 0o644;

pub struct Dist {
    pub root: PathBuf,
}

/// What is known about the artefacts with one id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub node: String,
    pub variant: String,
    /// The engine's ID of the image, to notice when the tag has moved.
    pub engine_id: String,
    /// The digest of the image's configuration: what CML sees.
    pub image_id: Digest,
    pub archive: Option<ArchiveRecord>,
}

/// A complete archive, and enough to notice when the file was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    pub size: u64,
    pub digest: Digest,
    pub image_id: Digest,
    modified: u128,
}

impl Dist {
    pub fn node_definition(&self, id: &str) -> PathBuf {
        self.root.join("node-definitions").join(format!("{id}.yaml"))
    }

    pub fn image_definition(&self, id: &str) -> PathBuf {
        self.images(id).join(format!("{id}.yaml"))
    }

    pub fn archive(&self, id: &str) -> PathBuf {
        self.images(id).join(archive_name(id))
    }

    fn images(&self, id: &str) -> PathBuf {
        self.root.join("virl-base-images").join(id)
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.root.join(RECORDS).join(format!("{id}.json"))
    }

    /// Waits until no other command writes here, then removes what a killed one left behind: every draft.
    pub async fn lock(&self, ui: &Ui) -> Result<Lock> {
        let path = self.root.join(RECORDS).join("lock");
        let lock = Lock::acquire(&path, ui, &format!("writes to {}", self.root.display())).await?;
        let images = std::fs::read_dir(self.root.join("virl-base-images")).into_iter().flatten().flatten();
        let folders = ["", "node-definitions", RECORDS].map(|folder| self.root.join(folder));
        for folder in images.map(|entry| entry.path()).chain(folders) {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(files::DRAFT) {
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        }
        Ok(lock)
    }

    /// Writes a small file, unless it has this content already.
    pub fn write(&self, path: &Path, text: &str) -> Result<()> {
        if self.has(path, text) { Ok(()) } else { files::write(path, ARTEFACT_MODE, text) }
    }

    /// Whether the file has exactly this content.
    pub fn has(&self, path: &Path, text: &str) -> bool {
        std::fs::read(path).is_ok_and(|there| there == text.as_bytes())
    }

    /// What is known about an id. A record that cannot be read counts as none.
    pub fn record(&self, id: &str) -> Option<Record> {
        serde_json::from_slice(&std::fs::read(self.record_path(id)).ok()?).ok()
    }

    pub fn remember(&self, id: &str, record: &Record) -> Result<()> {
        self.write(&self.record_path(id), &format!("{}\n", serde_json::to_string_pretty(record)?))
    }

    /// The record of a file that was just published.
    pub fn archive_record(&self, id: &str, digest: Digest, image_id: Digest) -> Result<ArchiveRecord> {
        let (size, modified) = stamp(&self.archive(id))?;
        Ok(ArchiveRecord { size, digest, image_id, modified })
    }

    /// Writes the sums of every node whose three artefacts exist and agree. Those of `excluded` go, before its files
    /// change one after the other: a reader must never find a wrong sum.
    pub fn write_sums(&self, excluded: Option<&str>) -> Result<()> {
        let mut lines = Vec::new();
        for id in self.ids().iter().filter(|id| excluded != Some(id)) {
            let Some(archive) = self.whole_archive(id) else { continue };
            for path in [self.node_definition(id), self.image_definition(id)] {
                let digest = Digest::of_file(&path).with_context(|| format!("could not read {}", path.display()))?;
                lines.push(self.sum_line(&path, &digest)?);
            }
            lines.push(self.sum_line(&self.archive(id), &archive.digest)?);
        }
        if lines.is_empty() {
            // sha256sum treats an empty list as an error.
            return remove_if_there(&self.root.join(SUMS)).map(drop);
        }
        lines.sort_by(|a, b| a[64..].cmp(&b[64..]));
        self.write(&self.root.join(SUMS), &lines.concat())
    }

    fn sum_line(&self, path: &Path, digest: &Digest) -> Result<String> {
        let inner = path.strip_prefix(&self.root)?.to_string_lossy().replace('\\', "/");
        Ok(format!("{digest}  {inner}\n"))
    }

    /// The record of an archive that belongs to the definitions beside it.
    pub fn whole_archive(&self, id: &str) -> Option<ArchiveRecord> {
        let record = self.record(id)?;
        let archive = record.archive.filter(|archive| archive.image_id == record.image_id)?;
        let definitions = self.node_definition(id).is_file() && self.image_definition(id).is_file();
        let is_untouched = stamp(&self.archive(id)).is_ok_and(|stamp| stamp == (archive.size, archive.modified));
        (definitions && is_untouched).then_some(archive)
    }

    /// The artefacts of an ID and a node as they are shipped; `definitions` are those of the node and of the image.
    pub fn bundle(
        &self,
        id: &str,
        node: String,
        definitions: [String; 2],
        archive: ArchiveRecord,
        image_id: Digest,
    ) -> Result<Bundle> {
        let [node_definition, image_definition] = definitions.map(Definition::read);
        Ok(Bundle {
            id: id.to_owned(),
            node,
            node_definition: node_definition?,
            image_definition: image_definition?,
            archive: ArchiveFile {
                path: self.archive(id),
                name: archive_name(id),
                size: archive.size,
                digest: archive.digest,
            },
            image_id,
        })
    }

    /// The ids that have a record.
    pub fn ids(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join(RECORDS)).into_iter().flatten().flatten();
        let mut ids: Vec<String> =
            entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned())).collect();
        ids.sort();
        ids
    }

    /// Removes the artefacts with that id, and folders that become empty. Returns the removed files.
    pub fn remove(&self, id: &str) -> Result<Vec<PathBuf>> {
        let mut removed = Vec::new();
        for path in [self.archive(id), self.image_definition(id), self.node_definition(id), self.record_path(id)] {
            if remove_if_there(&path)? {
                removed.push(path);
            }
        }
        // Fails if the folder has other files, as it should.
        let _ = std::fs::remove_dir(self.images(id));
        Ok(removed)
    }

    /// Removes the folder itself, if it has no artefacts.
    pub fn remove_if_empty(&self) {
        if self.ids().is_empty() {
            let _ = std::fs::remove_file(self.root.join(SUMS));
            let _ = std::fs::remove_file(self.root.join(RECORDS).join("lock"));
            for folder in [RECORDS, "node-definitions", "virl-base-images", ""] {
                let _ = std::fs::remove_dir(self.root.join(folder));
            }
        }
    }
}

/// The archive's file name, as the image definition names it.
pub fn archive_name(id: &str) -> String {
    format!("{id}.tar.gz")
}

/// True if there was something to remove.
fn remove_if_there(path: &Path) -> Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("could not remove {}", path.display())),
    }
}

/// Size, and time of the last change in nanoseconds.
fn stamp(path: &Path) -> Result<(u64, u128)> {
    let metadata = path.metadata().with_context(|| format!("could not read {}", path.display()))?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((metadata.len(), modified.as_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(dist: &Dist, id: &str) -> Record {
        let image_id = Digest::of("config");
        for path in [dist.node_definition(id), dist.image_definition(id), dist.archive(id)] {
            dist.write(&path, &format!("text of {}", path.display())).unwrap();
        }
        let digest = Digest::of_file(&dist.archive(id)).unwrap();
        let archive = Some(dist.archive_record(id, digest, image_id.clone()).unwrap());
        let record =
            Record { node: "tiny".into(), variant: "only".into(), engine_id: "sha256:1".into(), image_id, archive };
        dist.remember(id, &record).unwrap();
        record
    }

    fn dist() -> (tempfile::TempDir, Dist) {
        let folder = tempfile::tempdir().unwrap();
        let dist = Dist { root: folder.path().join("dist") };
        (folder, dist)
    }

    #[test]
    fn sums_are_those_of_whole_nodes_only() {
        let (_folder, dist) = dist();
        let stale = record(&dist, "stale");
        dist.remember("stale", &Record { image_id: Digest::of("another"), ..stale }).unwrap();
        record(&dist, "good");
        dist.write_sums(None).unwrap();
        let sums = std::fs::read_to_string(dist.root.join(SUMS)).unwrap();
        assert_eq!(sums.lines().count(), 3, "{sums}");
        assert!(sums.contains("  virl-base-images/good/good.tar.gz\n") && !sums.contains("stale"));
    }

    #[test]
    fn a_changed_archive_is_noticed() {
        let (_folder, dist) = dist();
        record(&dist, "tiny");
        assert!(dist.whole_archive("tiny").is_some());
        std::fs::write(dist.archive("tiny"), "changed").unwrap();
        assert!(dist.whole_archive("tiny").is_none());
    }

    #[tokio::test]
    async fn drafts_of_a_killed_command_are_cleared_away() {
        let (_folder, dist) = dist();
        let draft = files::draft(&dist.archive("tiny"), ARTEFACT_MODE).unwrap();
        let (_, left_behind) = draft.keep().unwrap();
        let _lock = dist.lock(&Ui::new(false)).await.unwrap();
        assert!(!left_behind.exists());
    }

    #[test]
    fn removing_leaves_others_and_the_persons_own_files() {
        let (_folder, dist) = dist();
        record(&dist, "one");
        record(&dist, "two");
        let own = dist.root.join("virl-base-images/one/notes.txt");
        std::fs::write(&own, "mine").unwrap();
        assert_eq!(dist.remove("one").unwrap().len(), 4);
        assert!(own.is_file() && dist.archive("two").is_file());
    }
}
