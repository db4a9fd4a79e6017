//! Files that this program keeps open and writes in place. Such a file is never somebody else's: neither what a link
//! points to, nor one with several names, nor a pipe.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::fs::OFlags;

/// Opens a file for appending, and creates it with its folder: a lock, or a log.
///
/// # Errors
/// If that is what is there.
pub fn open_own(path: &Path) -> Result<File> {
    let folder = path.parent().with_context(|| format!("{} is not the path of a file", path.display()))?;
    std::fs::create_dir_all(folder).with_context(|| format!("could not create {}", folder.display()))?;
    let is_link = path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    let shown = path.display();
    ensure!(!is_link, "{shown} is a symbolic link, and this program writes to a file of its own there: remove it");
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = File::options().create(true).append(true).custom_flags(flags).open(path);
    let file = file.with_context(|| format!("could not write {shown}"))?;
    let found = file.metadata().with_context(|| format!("could not write {shown}"))?;
    // It has none if who held the lock has just removed the file.
    let is_own = found.is_file() && found.nlink() <= 1;
    ensure!(is_own, "{shown} is not a file of its own (a hard link, a pipe or a device): remove it");
    Ok(file)
}

/// An empty log at `path`.
///
/// # Errors
/// As `open_own`.
pub fn open_log(path: &Path) -> Result<File> {
    let log = open_own(path)?;
    log.set_len(0).with_context(|| format!("could not write {}", path.display()))?;
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_our_own_is_no_link_and_no_pipe_and_what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let [other, link, hard, pipe, own] =
            ["other", "link", "hard", "pipe", "own"].map(|name| folder.path().join(name));
        std::fs::write(&other, "precious").unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        std::fs::hard_link(&other, &hard).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        for path in [&link, &hard, &pipe] {
            let error = format!("{:#}", open_log(path).unwrap_err());
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
        assert_eq!(std::fs::read(&other).unwrap(), b"precious");
        std::fs::write(&own, "before").unwrap();
        open_own(&own).unwrap();
        assert_eq!(std::fs::read(&own).unwrap(), b"before");
        open_log(&own).unwrap();
        assert_eq!(std::fs::read(&own).unwrap(), b"");
    }
}
