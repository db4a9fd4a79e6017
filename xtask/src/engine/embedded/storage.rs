//! Removing what embedded engines have stored.

use std::path::Path;

use anyhow::{Context, Result};
use files::Lock;
use ui::Ui;

use crate::engine::embedded::folders::{remove_folder, size_of};
use crate::engine::embedded::leftovers;
use crate::engine::embedded::paths::EmbeddedPaths;

/// Whether the embedded engine has stored images.
pub fn has_images(cache: &Path) -> bool {
    EmbeddedPaths::in_cache(cache).all_images().is_dir()
}

/// Removes the embedded engine's images, and if asked the caches of builds, after saying how much that is. Waits until
/// no other command uses the engine. Returns how many folders were removed.
pub async fn clean(ui: &Ui, cache: &Path, images: bool, caches: bool) -> Result<usize> {
    let paths = EmbeddedPaths::in_cache(cache);
    let images = images.then(|| (paths.all_images(), "the embedded engine's images"));
    let caches = if caches { paths.caches() } else { Vec::new() };
    let caches = caches.into_iter().map(|folder| (folder, "caches of builds (compiler, packages)"));
    let folders: Vec<_> = images.into_iter().chain(caches).filter(|(folder, _)| folder.is_dir()).collect();
    if folders.is_empty() {
        return Ok(0);
    }
    let _lock = Lock::acquire(&paths.lock(), ui, "uses the embedded engine").await?;
    leftovers::end_orphaned_steps(&paths);
    for (folder, what) in &folders {
        ui.note(format_args!("removing {what}: {} in {}", text::size(size_of(folder)), folder.display()));
        remove_folder(folder).with_context(|| format!("could not remove {}", folder.display()))?;
    }
    remove_folder(&paths.runtime)?;
    Ok(folders.len())
}
