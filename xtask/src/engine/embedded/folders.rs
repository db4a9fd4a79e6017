//! Folders in which Podman's files and mounts are.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Removes a folder with files of subordinate IDs and, after a kill, with mounts.
pub fn remove_folder(folder: &Path) -> Result<()> {
    unmount_below(folder);
    let Err(error) = std::fs::remove_dir_all(folder) else { return Ok(()) };
    if error.kind() == std::io::ErrorKind::NotFound {
        return Ok(());
    }
    // In a user namespace that maps all our subordinate IDs. (unshare(1))
    let args = ["--map-root-user", "--map-auto", "rm", "-rf", "--one-file-system"].map(OsString::from);
    let removing = duct::cmd("unshare", args.into_iter().chain([folder.into()]));
    let done =
        removing.stdin_null().stdout_null().stderr_capture().unchecked().run().context("could not run unshare")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}

/// Unmounts everything below a folder, the deepest first.
pub fn unmount_below(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(folder)) {
        let _ = duct::cmd!("umount", "--lazy", point).stdin_null().stderr_null().unchecked().run();
    }
}

/// The bytes of all files below a folder that we may read.
pub fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size_of(&entry.path()),
            Ok(found) => found.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}
