//! Repairs the storage after an embedded engine, or what it ran, was killed.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};
use files::Lock;
use ui::Ui;

use crate::engine::embedded::paths::{self, EmbeddedPaths};
use crate::engine::embedded::probe;
use crate::engine::embedded::processes::Process;
use crate::engine::embedded::{settings, storage};

/// Removes the containers of builds whose engine was killed, since they would keep their images; only if nobody else
/// uses the storage now.
pub fn remove_build_containers(ui: &Ui, paths: &EmbeddedPaths) -> Result<()> {
    let markers: Vec<_> = paths::entries(&paths.markers).collect();
    let lock = Lock::try_acquire(&paths.lock)?;
    if markers.is_empty() || lock.is_none() {
        return Ok(());
    }
    paths.create()?;
    let support = probe::machine_support(ui, paths)?;
    let settings = settings::write(paths, support.storage, support.runtime.as_ref().ok())?;
    let podman = |args: Vec<OsString>| settings.podman(args).stderr_null().unchecked();
    // Containers that Podman itself created have another state.
    let list = ["ps", "--all", "--external", "--filter", "status=unknown", "--format", "{{.ID}} {{.Status}}"];
    let list = podman(list.map(OsString::from).to_vec()).stdout_capture();
    let listed = process::output(ui, &list).context("could not run podman")?.stdout;
    let listed = String::from_utf8_lossy(&listed);
    let ids: Vec<&str> = listed.lines().filter_map(|line| line.split_once(' ')).map(|(id, _)| id).collect();
    if !ids.is_empty() {
        ui.note(format_args!("removing the {} containers of a build whose engine was killed", ids.len()));
        let remove = ["rm", "--force"].into_iter().chain(ids).map(OsString::from).collect();
        let _ = process::output(ui, &podman(remove).stdout_null());
    }
    for marker in markers {
        let _ = std::fs::remove_file(marker);
    }
    Ok(())
}

/// Makes Podman check its containers as after a reboot, if their monitors were killed (`quirks.rs`). Only if nobody
/// else uses the storage now, whose containers could be about to start.
pub fn forget_dead_containers(paths: &EmbeddedPaths) -> Result<()> {
    if !has_started_containers(&paths.running) {
        return Ok(());
    }
    let lock = Lock::try_acquire(&paths.lock)?;
    if lock.is_none() || Process::monitors(&paths.running).next().is_some() {
        return Ok(());
    }
    // This file says that Podman has checked its containers since the machine started.
    let _ = std::fs::remove_file(paths.libpod.join("alive"));
    // After a reboot nothing would be mounted. Podman does not check, and fails to remove a container with a mount.
    storage::unmount_below(&paths.images);
    Ok(())
}

/// Whether a container was started here and not removed.
fn has_started_containers(running: &Path) -> bool {
    let folders = ["overlay-containers", "vfs-containers"].map(|name| paths::entries(&running.join(name)));
    folders.into_iter().flatten().any(|container| container.join("userdata/conmon.pid").exists())
}
