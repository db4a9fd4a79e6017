//! Atomic writes: a reader sees the old file or the new one, each as a whole, even after a crash.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// How the names of drafts begin. A killed process leaves its drafts behind.
pub const DRAFT: &str = ".cml-nodes-tmp-";

/// Writes a file with that mode. Creates its folder.
pub fn write(path: &Path, mode: u32, content: impl AsRef<[u8]>) -> Result<()> {
    complete(draft(path, mode)?, path, content.as_ref())
}

/// Fills a draft, and makes it the file at `path`.
pub(crate) fn complete(mut draft: NamedTempFile, path: &Path, content: &[u8]) -> Result<()> {
    draft.write_all(content).with_context(|| format!("could not write {}", draft.path().display()))?;
    publish(draft, path)
}

/// An empty file in the folder of `path`, to become `path` when it is complete. Creates the folder.
pub fn draft(path: &Path, mode: u32) -> Result<NamedTempFile> {
    let folder = path.parent().with_context(|| format!("{} is not the path of a file", path.display()))?;
    std::fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(DRAFT).permissions(Permissions::from_mode(mode));
    builder.tempfile_in(folder).with_context(|| format!("could not write to {}", folder.display()))
}

/// Makes a draft the file at `path`.
pub fn publish(draft: NamedTempFile, path: &Path) -> Result<()> {
    draft.as_file().sync_all().with_context(|| format!("could not write {}", path.display()))?;
    draft.persist(path).with_context(|| format!("could not replace {}", path.display()))?;
    // The rename itself reaches the disk with its folder.
    path.parent().map(File::open).transpose()?.map(|folder| folder.sync_all()).transpose()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_no_draft_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a");
        for text in ["one", "two"] {
            write(&path, 0o600, text).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        drop(draft(&path, 0o644).unwrap());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
