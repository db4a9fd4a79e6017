//! `dist/`: the three artefacts of each node, laid out as on the CML server, and what is known about
//! them. [docs/cml.md 1] The list of what an image consists of is in a folder of its own: servers do not get it.
//!
//! Every file is written as a whole, so that a reader finds the old one or the new one, whatever happens in between.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use cml::{ArchiveFile, Bundle, Definition};
use digests::Digest;
use files::{Kind, Lock, Tree};
use ui::Ui;

/// The file with the sums; `sha256sum -c SHA256SUMS` checks them.
const SUMS: &str = "SHA256SUMS";
/// What this program remembers about its own steps. Not part of the server's tree.
const RECORDS: &str = ".records";
/// The lists of what the images consist of.
const SBOMS: &str = "sbom";
const IMAGES: &str = "virl-base-images";
/// The largest definition that CML accepts is of this size; records are smaller.
const LARGEST: u64 = 20 << 20;
/// Everybody can read the artefacts.
const ARTEFACT_MODE: u32 = 0o644;

/// The folder `dist/` comes with a repository that may be a stranger's, so nothing in it is read, written or removed
/// through a link. It cannot be one itself, although that would be a way to a larger disk: a pull request can contain
/// `dist` as a link, too.
pub struct Dist {
    pub root: PathBuf,
    tree: Tree,
}

/// What is known about the artefacts with one id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub node: String,
    /// Of the node definition; in older records it is missing, and that of the image definition.
    #[serde(default)]
    pub node_id: String,
    pub variant: String,
    #[serde(default)]
    pub version: String,
    /// The definitions for servers that need the other form.
    #[serde(default)]
    pub other: Option<OtherForm>,
    /// The engine's ID of the image, to notice when the tag has moved.
    pub engine_id: String,
    /// The digest of the image's configuration: what CML sees.
    pub image_id: Digest,
    pub archive: Option<ArchiveRecord>,
}

/// Definitions in a form that is not in `dist/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherForm {
    pub node_id: String,
    pub node: String,
    pub image: String,
}

/// A complete archive, and enough to notice when the file was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    pub size: u64,
    pub digest: Digest,
    pub image_id: Digest,
    /// Of the list of what is in it.
    sbom: Digest,
    modified: u128,
}

impl Dist {
    /// The folder `root`, which need not be there.
    pub fn at(root: PathBuf) -> Self {
        let tree = Tree::at(root.parent().unwrap_or(&root));
        Self { root, tree }
    }

    /// # Errors
    /// If `dist/` or one of its folders is a link.
    pub fn refuse_links(&self) -> Result<()> {
        let folders = ["", RECORDS, SBOMS, "node-definitions", IMAGES].map(|name| self.root.join(name));
        folders.iter().try_for_each(|folder| self.tree.refuse_links(folder)).context(
            "dist/ cannot be, or contain, a link to a folder; to keep it on another disk, mount that (mount --bind)",
        )?;
        for folder in self.images_folders()? {
            self.tree.refuse_links(folder)?;
        }
        Ok(())
    }

    /// What is in the folder with the folders of the images.
    fn images_folders(&self) -> Result<Vec<PathBuf>> {
        let images = self.root.join(IMAGES);
        if self.tree.kind(&images)? != Some(Kind::Folder) {
            return Ok(Vec::new());
        }
        Ok(self.tree.entries(&images)?.iter().map(|(name, _)| images.join(name)).collect())
    }

    pub fn node_definition(&self, id: &str) -> PathBuf {
        self.root.join("node-definitions").join(format!("{id}.yaml"))
    }

    pub fn image_definition(&self, id: &str) -> PathBuf {
        self.images(id).join(format!("{id}.yaml"))
    }

    pub fn archive(&self, id: &str) -> PathBuf {
        self.images(id).join(archive_name(id))
    }

    /// The list of what is in the archive, in SPDX's format.
    pub fn sbom(&self, id: &str) -> PathBuf {
        self.root.join(SBOMS).join(format!("{id}.spdx.json"))
    }

    fn images(&self, id: &str) -> PathBuf {
        self.root.join(IMAGES).join(id)
    }

    fn record_path(&self, id: &str) -> PathBuf {
        self.root.join(RECORDS).join(format!("{id}.json"))
    }

    /// Waits until no other command writes here, then removes what a killed one left behind: every draft.
    pub async fn lock(&self, ui: &Ui) -> Result<Lock> {
        self.refuse_links()?;
        let path = self.root.join(RECORDS).join("lock");
        let lock = Lock::acquire(&path, ui, &format!("writes to {}", self.root.display())).await?;
        let folders = ["", "node-definitions", RECORDS, SBOMS].map(|folder| self.root.join(folder));
        for folder in self.images_folders()?.into_iter().chain(folders) {
            for (name, _) in self.tree.entries(&folder).unwrap_or_default() {
                if name.to_string_lossy().starts_with(files::DRAFT) {
                    let _ = self.tree.remove(folder.join(name));
                }
            }
        }
        Ok(lock)
    }

    /// Writes a small file, unless it has this content already.
    pub fn write(&self, path: &Path, text: &str) -> Result<()> {
        if self.has(path, text) { Ok(()) } else { self.tree.write(path, ARTEFACT_MODE, text) }
    }

    /// Whether the file has exactly this content.
    pub fn has(&self, path: &Path, text: &str) -> bool {
        self.read(path).is_ok_and(|there| there == text)
    }

    /// One of the definitions, or another small file.
    pub fn read(&self, path: &Path) -> Result<String> {
        self.tree.read_to_string(path, LARGEST)
    }

    /// Whether a regular file is there.
    pub fn has_file(&self, path: &Path) -> bool {
        self.tree.has_file(path)
    }

    /// An empty file that [`files::publish`] makes the one at `path`.
    pub fn draft(&self, path: &Path) -> Result<NamedTempFile> {
        self.tree.draft(path, ARTEFACT_MODE)
    }

    /// What is known about an id. A record that cannot be read counts as none.
    pub fn record(&self, id: &str) -> Option<Record> {
        serde_json::from_str(&self.read(&self.record_path(id)).ok()?).ok()
    }

    pub fn remember(&self, id: &str, record: &Record) -> Result<()> {
        self.write(&self.record_path(id), &format!("{}\n", serde_json::to_string_pretty(record)?))
    }

    /// The record of a file that was just published, with this list of what is in it.
    pub fn archive_record(&self, id: &str, digest: Digest, image_id: Digest, sbom: &str) -> Result<ArchiveRecord> {
        let (size, modified) = self.stamp(&self.archive(id))?;
        Ok(ArchiveRecord { size, digest, image_id, sbom: Digest::of(sbom), modified })
    }

    /// The ID of the node definition of what has this ID.
    pub fn node_id(&self, id: &str) -> String {
        self.record(id).map(|record| record.node_id).filter(|node| !node.is_empty()).unwrap_or_else(|| id.to_owned())
    }

    /// Whether anything but `id` has this node definition.
    fn serves_others(&self, node_id: &str, id: &str) -> bool {
        self.ids().iter().any(|other| other != id && self.node_id(other) == node_id)
    }

    /// Remembers what is known of an ID now. A node definition that it had before goes, unless it serves others.
    pub fn replace_record(&self, id: &str, record: &Record) -> Result<()> {
        let before = self.node_id(id);
        self.remember(id, record)?;
        if before != record.node_id && !self.serves_others(&before, id) {
            self.tree.remove(self.node_definition(&before))?;
        }
        Ok(())
    }

    /// Writes the sums of every node whose three artefacts exist and agree. Those that `excluded` affects, an ID and a
    /// node definition, go before the files change one after the other: a reader must never find a wrong sum.
    pub fn write_sums(&self, excluded: Option<(&str, &str)>) -> Result<()> {
        let mut lines = Vec::new();
        for id in &self.ids() {
            let node_id = self.node_id(id);
            if excluded.is_some_and(|(changing, node)| changing == id || node == node_id) {
                continue;
            }
            let Some(archive) = self.whole_archive(id) else { continue };
            for path in [self.node_definition(&node_id), self.image_definition(id)] {
                lines.push(self.sum_line(&path, &Digest::of(self.read(&path)?))?);
            }
            lines.push(self.sum_line(&self.archive(id), &archive.digest)?);
        }
        if lines.is_empty() {
            // sha256sum treats an empty list as an error.
            return self.tree.remove(self.root.join(SUMS)).map(drop);
        }
        lines.sort_by(|a, b| a[64..].cmp(&b[64..]));
        // Versions may share a node definition.
        lines.dedup();
        self.write(&self.root.join(SUMS), &lines.concat())
    }

    fn sum_line(&self, path: &Path, digest: &Digest) -> Result<String> {
        let inner = path.strip_prefix(&self.root)?.to_string_lossy().replace('\\', "/");
        Ok(format!("{digest}  {inner}\n"))
    }

    /// Size, and time of the last change in nanoseconds.
    fn stamp(&self, path: &Path) -> Result<(u64, u128)> {
        let metadata = self.tree.open(path)?.metadata()?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok((metadata.len(), modified.as_nanos()))
    }

    /// The record of an archive that belongs to the definitions and to the list beside it.
    pub fn whole_archive(&self, id: &str) -> Option<ArchiveRecord> {
        let record = self.record(id)?;
        let archive = record.archive.filter(|archive| archive.image_id == record.image_id)?;
        let node = self.node_definition(&self.node_id(id));
        let definitions = self.has_file(&node) && self.has_file(&self.image_definition(id));
        let is_untouched = self.stamp(&self.archive(id)).is_ok_and(|stamp| stamp == (archive.size, archive.modified));
        let is_listed = self.read(&self.sbom(id)).is_ok_and(|list| Digest::of(list) == archive.sbom);
        (definitions && is_untouched && is_listed).then_some(archive)
    }

    /// The artefacts of an ID as they are shipped, and in the other form if its node has two; `texts` are the
    /// definitions of the node and of the image.
    pub fn bundles(&self, id: &str, record: &Record, texts: [String; 2]) -> Result<(Bundle, Option<Bundle>)> {
        let node_id = if record.node_id.is_empty() { id } else { &record.node_id };
        let other = record
            .other
            .as_ref()
            .map(|OtherForm { node_id, node, image }| self.bundle(id, node_id, record, [node.clone(), image.clone()]));
        Ok((self.bundle(id, node_id, record, texts)?, other.transpose()?))
    }

    fn bundle(&self, id: &str, node_id: &str, record: &Record, texts: [String; 2]) -> Result<Bundle> {
        [id, node_id].into_iter().try_for_each(definitions::id::check).map_err(anyhow::Error::msg)?;
        let archive = record.archive.as_ref().with_context(|| format!("the archive of {id} is missing"))?;
        let [node_definition, image_definition] = texts.map(Definition::read);
        Ok(Bundle {
            id: id.to_owned(),
            node_id: node_id.to_owned(),
            node: record.node.clone(),
            version: record.version.clone(),
            node_definition: node_definition?,
            image_definition: image_definition?,
            archive: ArchiveFile {
                path: self.archive(id),
                name: archive_name(id),
                size: archive.size,
                digest: archive.digest.clone(),
            },
            image_id: record.image_id.clone(),
        })
    }

    /// The ids that have a record.
    pub fn ids(&self) -> Vec<String> {
        let entries = self.tree.entries(self.root.join(RECORDS)).unwrap_or_default();
        entries.iter().filter_map(|(name, _)| Some(name.to_str()?.strip_suffix(".json")?.to_owned())).collect()
    }

    /// Removes the artefacts with that id, and folders that become empty. Returns the removed files.
    pub fn remove(&self, id: &str) -> Result<Vec<PathBuf>> {
        let mut removed = Vec::new();
        let node_id = self.node_id(id);
        let node = (!self.serves_others(&node_id, id)).then(|| self.node_definition(&node_id));
        let artefacts = [self.archive(id), self.image_definition(id)].into_iter().chain(node);
        for path in artefacts.chain([self.sbom(id), self.record_path(id)]) {
            if self.tree.remove(&path)? {
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
            let _ = self.tree.remove(self.root.join(SUMS));
            let _ = self.tree.remove(self.root.join(RECORDS).join("lock"));
            for folder in [RECORDS, SBOMS, "node-definitions", IMAGES, ""] {
                let _ = std::fs::remove_dir(self.root.join(folder));
            }
        }
    }
}

/// The archive's file name, as the image definition names it.
pub fn archive_name(id: &str) -> String {
    format!("{id}.tar.gz")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(dist: &Dist, id: &str) -> Record {
        let image_id = Digest::of("config");
        for path in [dist.node_definition(id), dist.image_definition(id), dist.archive(id), dist.sbom(id)] {
            dist.write(&path, &format!("text of {}", path.display())).unwrap();
        }
        let digest = Digest::of_file(&dist.archive(id)).unwrap();
        let sbom = std::fs::read_to_string(dist.sbom(id)).unwrap();
        let archive = Some(dist.archive_record(id, digest, image_id.clone(), &sbom).unwrap());
        let record = Record {
            node: "tiny".into(),
            node_id: String::new(),
            variant: "only".into(),
            version: "1.0".into(),
            other: None,
            engine_id: "sha256:1".into(),
            image_id,
            archive,
        };
        dist.remember(id, &record).unwrap();
        record
    }

    fn dist() -> (tempfile::TempDir, Dist) {
        let folder = tempfile::tempdir().unwrap();
        let dist = Dist::at(folder.path().join("dist"));
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
    fn a_node_definition_that_versions_share_stays_with_the_last_of_them() {
        let (_folder, dist) = dist();
        for id in ["tiny-1-0", "tiny-2-0"] {
            let own = record(&dist, id);
            dist.write(&dist.node_definition("tiny"), "shared").unwrap();
            dist.replace_record(id, &Record { node_id: "tiny".into(), ..own }).unwrap();
            assert!(!dist.node_definition(id).exists() && dist.whole_archive(id).is_some());
        }
        dist.write_sums(None).unwrap();
        let sums = || std::fs::read_to_string(dist.root.join(SUMS)).unwrap();
        assert_eq!((sums().lines().count(), sums().matches("node-definitions/tiny.yaml").count()), (5, 1));
        dist.write_sums(Some(("tiny-3-0", "other"))).unwrap();
        assert_eq!(sums().lines().count(), 5);
        dist.write_sums(Some(("tiny-3-0", "tiny"))).unwrap();
        assert!(!dist.root.join(SUMS).exists());
        dist.remove("tiny-1-0").unwrap();
        assert!(dist.node_definition("tiny").exists());
        dist.remove("tiny-2-0").unwrap();
        assert!(!dist.node_definition("tiny").exists());
    }

    #[test]
    fn a_changed_archive_is_noticed() {
        let (_folder, dist) = dist();
        record(&dist, "tiny");
        assert!(dist.whole_archive("tiny").is_some());
        std::fs::write(dist.archive("tiny"), "changed").unwrap();
        assert!(dist.whole_archive("tiny").is_none());
    }

    #[test]
    fn a_changed_or_missing_list_is_noticed() {
        let (_folder, dist) = dist();
        record(&dist, "tiny");
        std::fs::write(dist.sbom("tiny"), "changed").unwrap();
        assert!(dist.whole_archive("tiny").is_none());
        std::fs::remove_file(dist.sbom("tiny")).unwrap();
        assert!(dist.whole_archive("tiny").is_none());
    }

    #[tokio::test]
    async fn drafts_of_a_killed_command_are_cleared_away() {
        let (_folder, dist) = dist();
        let draft = dist.draft(&dist.archive("tiny")).unwrap();
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
        assert_eq!(dist.remove("one").unwrap().len(), 5);
        assert!(own.is_file() && dist.archive("two").is_file());
    }
}
