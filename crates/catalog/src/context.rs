//! The build context as a tar archive: the node's folder, and what its manifest takes from `docker/common`.
//!
//! Nothing in it depends on the machine (order, times, owners), so that the same inputs give the same layers.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use digests::Digest;
use files::Tree;

/// The folder of the context in which a build finds its sources.
pub const SOURCES: &str = "sources";

/// The size of a file above which it is surely a mistake, or an attempt to keep this program busy.
const LARGEST: u64 = 4 << 30;

#[derive(Clone, Debug, Serialize)]
pub struct ContextFile {
    /// Its path in the context, with `/`.
    pub path: String,
    /// Where it is on this machine; does not decide what is built.
    #[serde(skip)]
    tree: Tree,
    #[serde(skip)]
    origin: PathBuf,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    File { executable: bool, digest: Digest },
    Link { target: PathBuf },
}

/// A file that the program adds to what the repository has, such as a source that was fetched on the host.
pub struct SourceFile {
    /// Its name in the context's folder `sources`.
    pub name: String,
    pub path: PathBuf,
}

impl ContextFile {
    /// Opens the file.
    ///
    /// # Errors
    /// If it is a link, or has become one.
    pub fn open(&self) -> Result<File> {
        self.tree.open(&self.origin)
    }

    /// The content of a file that has at most `most` bytes.
    ///
    /// # Errors
    /// As [`Self::open`]; and if the file is larger.
    pub fn read(&self, most: u64) -> Result<Vec<u8>> {
        self.tree.read(&self.origin, most)
    }

    /// # Errors
    /// If it is a link.
    pub fn refuse_link(&self) -> Result<()> {
        self.tree.refuse_links(&self.origin)
    }

    /// What it points to, if it is a link.
    pub fn link_target(&self) -> Option<&Path> {
        if let Kind::Link { target } = &self.kind { Some(target) } else { None }
    }

    /// The same file with the content of the file `path`, which is not one of the data.
    pub fn replaced_by(&mut self, path: PathBuf) {
        self.tree = Tree::at(path.parent().unwrap_or(&path));
        self.origin = path;
    }
}

/// All files at or below `path`, which is in `folder`, in order; their paths are relative to `folder`, which is in
/// `tree`. A link becomes a link of the context, within which alone engines follow it; here it is not followed.
///
/// # Errors
/// If `path` itself is reached through a link; and if something is neither a file, a folder nor a link.
pub fn scan(tree: &Tree, folder: &Path, path: &Path) -> Result<Vec<ContextFile>> {
    let kind = tree.kind(path)?.with_context(|| format!("could not read {}", path.display()))?;
    scan_entry(tree, folder, path, kind)
}

fn scan_entry(tree: &Tree, folder: &Path, path: &Path, kind: files::Kind) -> Result<Vec<ContextFile>> {
    let unreadable = || format!("could not read {}", path.display());
    if kind == files::Kind::Folder {
        let mut files = Vec::new();
        for (name, kind) in tree.entries(path)? {
            files.extend(scan_entry(tree, folder, &path.join(name), kind)?);
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        return Ok(files);
    }
    let name = path.strip_prefix(folder)?.to_str();
    let name = name.with_context(|| format!("{}: the file name is not UTF-8", path.display()))?;
    let kind = if kind == files::Kind::Link {
        Kind::Link { target: tree.link_target(path)? }
    } else {
        let mut file = tree.open(path)?;
        let metadata = file.metadata().with_context(unreadable)?;
        let (size, most) = (metadata.len(), LARGEST);
        ensure!(
            size <= most,
            "{} has {}; a file that is copied into an image from here may have {} at most",
            path.display(),
            text::size(size),
            text::size(most)
        );
        let executable = metadata.permissions().mode() & 0o100 != 0;
        Kind::File { executable, digest: Digest::of_reader(&mut file).with_context(unreadable)? }
    };
    Ok(vec![ContextFile { path: name.to_owned(), tree: tree.clone(), origin: path.to_owned(), kind }])
}

/// Writes the context. Every entry belongs to root and has the time `epoch` (Unix seconds).
pub fn write(out: impl Write, files: &[ContextFile], sources: &[SourceFile], epoch: u64) -> Result<()> {
    let mut tar = tar::Builder::new(out);
    for file in files {
        let mut header = header(epoch);
        match &file.kind {
            Kind::Link { target } => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                tar.append_link(&mut header, &file.path, target)?;
            }
            Kind::File { executable, .. } => {
                header.set_mode(if *executable { 0o755 } else { 0o644 });
                append(&mut tar, header, &file.path, &file.origin, file.open()?)?;
            }
        }
    }
    for source in sources {
        // The user's own, or made for this build.
        let path = &source.path;
        let file = File::open(path).with_context(|| format!("could not read {}", path.display()))?;
        append(&mut tar, header(epoch), &format!("{SOURCES}/{}", source.name), path, file)?;
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

fn header(epoch: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(epoch);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    mut header: tar::Header,
    name: &str,
    path: &Path,
    file: File,
) -> Result<()> {
    header.set_size(file.metadata()?.len());
    tar.append_data(&mut header, name, file)
        .with_context(|| format!("could not add {} to the build context", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("rootfs/etc")).unwrap();
        for (name, text) in [("Dockerfile", "FROM scratch"), ("rootfs/etc/motd", "hi")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn archive(folder: &Path) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, &scan(&Tree::at(folder), folder, folder).unwrap(), &[], 1_700_000_000).unwrap();
        out
    }

    #[test]
    fn the_same_files_give_the_same_archive_whatever_their_times() {
        assert_eq!(archive(tree().path()), archive(tree().path()));
    }

    #[test]
    fn files_are_in_order_and_links_are_not_followed() {
        let folder = tree();
        std::os::unix::fs::symlink("/etc", folder.path().join("link")).unwrap();
        let files = scan(&Tree::at(folder.path()), folder.path(), folder.path()).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, ["Dockerfile", "link", "rootfs/etc/motd"]);
        assert!(matches!(&files[1].kind, Kind::Link { target } if target == Path::new("/etc")));

        let alias = folder.path().with_extension("alias");
        std::os::unix::fs::symlink(folder.path(), &alias).unwrap();
        assert_eq!(scan(&Tree::at(&alias), &alias, &alias).unwrap().len(), 3, "the tree's folder itself may be a link");
        std::fs::remove_file(alias).unwrap();
    }

    #[test]
    fn a_part_of_a_folder_keeps_its_path_in_it() {
        let folder = tree();
        let files = scan(&Tree::at(folder.path()), folder.path(), &folder.path().join("rootfs")).unwrap();
        assert_eq!(files[0].path, "rootfs/etc/motd");
        assert_eq!(files.len(), 1);
    }
}
