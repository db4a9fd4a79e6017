//! Removing what embedded engines have stored.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use files::Lock;
use ui::Ui;

use crate::engine::embedded::paths::{self, EmbeddedPaths};
use crate::engine::embedded::processes;

/// Whether the embedded engine has stored images.
pub fn has_images(cache: &Path) -> bool {
    EmbeddedPaths::in_cache(cache).images.is_dir()
}

/// Waits until no other command uses the engine.
pub async fn wait_until_unused(ui: &Ui, cache: &Path) -> Result<()> {
    Lock::acquire(&EmbeddedPaths::in_cache(cache).lock, ui, "uses the embedded engine").await.map(drop)
}

/// Removes the embedded engine's images, and if asked the caches of builds, after saying how much that is. Waits until
/// no other command uses the engine. Returns how many folders were removed.
pub async fn clean(ui: &Ui, cache: &Path, images: bool, caches: bool) -> Result<usize> {
    let paths = EmbeddedPaths::in_cache(cache);
    let images = images.then(|| (paths.images.clone(), "the embedded engine's images"));
    let caches = if caches { paths.caches() } else { Vec::new() };
    let caches = caches.into_iter().map(|folder| (folder, "caches of builds (compiler, packages)"));
    let folders: Vec<_> = images.into_iter().chain(caches).filter(|(folder, _)| folder.is_dir()).collect();
    if folders.is_empty() {
        return Ok(0);
    }
    let _lock = Lock::acquire(&paths.lock, ui, "uses the embedded engine").await?;
    processes::end_orphaned_steps(&paths);
    for (folder, what) in &folders {
        ui.note(format_args!("removing {what}: {} in {}", text::size(size_of(folder)), folder.display()));
        remove_folder(folder).with_context(|| format!("could not remove {}", folder.display()))?;
    }
    remove_folder(&paths.runtime)?;
    Ok(folders.len())
}

/// Removes a folder with files of subordinate IDs and, after a kill, with mounts.
pub fn remove_folder(folder: &Path) -> Result<()> {
    unmount_below(folder);
    let Err(error) = std::fs::remove_dir_all(folder) else { return Ok(()) };
    if error.kind() == std::io::ErrorKind::NotFound {
        return Ok(());
    }
    // In a user namespace that maps all our subordinate IDs. (unshare(1))
    let removing = duct::cmd!("unshare", "--map-root-user", "--map-auto", "rm", "-rf", "--one-file-system", folder);
    let removing = removing.stdin_null().stdout_null().stderr_capture().unchecked();
    let done = removing.run().context("could not run unshare")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}

/// Unmounts the folder that Podman has mounted on itself, unless something is mounted in it. As long as it is mounted,
/// it cannot be deleted.
pub fn release(images: &Path) {
    unmount(&["--no-canonicalize"], &images.join("overlay/overlay"));
}

/// Unmounts everything below a folder, the deepest first.
pub fn unmount_below(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(1));
    points.map(Path::new).filter(|point| point.starts_with(folder)).for_each(|point| unmount(&["--lazy"], point));
}

fn unmount(options: &[&str], point: &Path) {
    let args = options.iter().map(OsStr::new).chain([point.as_os_str()]);
    let _ = duct::cmd("umount", args).stdin_null().stderr_null().unchecked().run();
}

/// The bytes of all files below a folder that we may read.
pub fn size_of(folder: &Path) -> u64 {
    let size = |path: PathBuf| match path.symlink_metadata() {
        Ok(found) if found.is_dir() => size_of(&path),
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    };
    paths::entries(folder).map(size).sum()
}
