//! The build context: the node's folder as a tar archive in which nothing depends on the machine
//! (order, times, owners), so that the same inputs give the same layers.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use digests::Digest;

/// One file of the node's folder.
#[derive(Clone, Debug, Serialize)]
pub struct ContextFile {
    /// Relative to the node's folder, with `/`.
    pub path: String,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    File { executable: bool, digest: Digest },
    Link { target: PathBuf },
}

/// A source that the host fetched and the build finds as `sources/<name>.tar`.
pub struct SourceFile {
    pub name: String,
    pub path: PathBuf,
}

/// All files below `folder` in order, without those that `skip` names.
///
/// # Errors
/// If one can't be read, or its name is not UTF-8.
pub fn scan(folder: &Path, skip: &[&str]) -> Result<Vec<ContextFile>> {
    let mut files = Vec::new();
    scan_into(folder, folder, skip, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn scan_into(root: &Path, folder: &Path, skip: &[&str], files: &mut Vec<ContextFile>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))? {
        let path = entry?.path();
        let inner = path.strip_prefix(root)?.to_str();
        let inner = inner.with_context(|| format!("{}: the name is not UTF-8", path.display()))?.replace('\\', "/");
        let kind = path.symlink_metadata().with_context(|| format!("{} can't be read", path.display()))?;
        if kind.is_dir() {
            scan_into(root, &path, skip, files)?;
        } else if !skip.contains(&inner.as_str()) {
            files.push(ContextFile { path: inner, kind: describe(&path, &kind)? });
        }
    }
    Ok(())
}

fn describe(path: &Path, metadata: &std::fs::Metadata) -> Result<Kind> {
    if metadata.is_symlink() {
        return Ok(Kind::Link { target: std::fs::read_link(path)? });
    }
    let digest = Digest::of_file(path).with_context(|| format!("{} can't be read", path.display()))?;
    Ok(Kind::File { executable: is_executable(metadata), digest })
}

#[cfg(unix)]
fn is_executable(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &std::fs::Metadata) -> bool {
    false
}

/// Writes the context. Every entry belongs to root and bears the time `epoch` (Unix seconds). `instead` names one file whose content
/// comes from elsewhere.
///
/// # Errors
/// If a file can't be read or `out` not written.
pub fn write(
    out: impl Write,
    folder: &Path,
    files: &[ContextFile],
    instead: Option<(&str, &Path)>,
    sources: &[SourceFile],
    epoch: u64,
) -> Result<()> {
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
                let own = folder.join(&file.path);
                let path = instead.filter(|(name, _)| *name == file.path).map_or(own.as_path(), |(_, path)| path);
                append(&mut tar, header, &file.path, path)?;
            }
        }
    }
    for source in sources {
        append(&mut tar, header(epoch), &format!("sources/{}.tar", source.name), &source.path)?;
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

fn append(tar: &mut tar::Builder<impl Write>, mut header: tar::Header, name: &str, path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("{} can't be read", path.display()))?;
    header.set_size(file.metadata()?.len());
    tar.append_data(&mut header, name, file).with_context(|| format!("adding {} to the build context", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("rootfs/etc")).unwrap();
        for (name, text) in [("Dockerfile", "FROM scratch"), ("node.yaml", "node: x"), ("rootfs/etc/motd", "hi")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn archive(folder: &Path) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, folder, &scan(folder, &["node.yaml"]).unwrap(), None, &[], 1_700_000_000).unwrap();
        out
    }

    #[test]
    fn the_same_files_give_the_same_archive_whatever_their_times() {
        assert_eq!(archive(tree().path()), archive(tree().path()));
    }

    #[test]
    fn skipped_files_are_left_out_and_the_rest_is_in_order() {
        let folder = tree();
        let names: Vec<_> = scan(folder.path(), &["node.yaml"]).unwrap().into_iter().map(|file| file.path).collect();
        assert_eq!(names, ["Dockerfile", "rootfs/etc/motd"]);
    }
}
