//! What an embedded engine that was killed leaves behind, and removing its storage.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::engine::embedded::paths::EmbeddedPaths;
use crate::engine::embedded::probe;
use crate::engine::embedded::settings;
use crate::engine::embedded::settings::Settings;
use ui::Ui;

/// Ends what an engine has left running, unless another is at work on the storage, whose it could be: steps of builds, and the holder
/// of a user's namespace.
///
/// # Errors
/// If the lock can't be had.
pub fn end_the_rest(paths: &EmbeddedPaths) -> Result<()> {
    // Held to the end.
    let file = paths.open_lock()?;
    if file.try_lock().is_ok() {
        end_orphans(paths);
        end_holder(paths);
    }
    Ok(())
}

/// Steps of builds whose engine is gone, for whoever has the storage alone. The kernel tells them by their file systems. Nodes are let
/// be: they have a monitor.
pub fn end_orphans(paths: &EmbeddedPaths) {
    let images = paths.storage.join("images");
    kill(processes().filter(|pid| is_orphan(*pid, &images)));
}

/// Nodes that `run` has left running need it.
fn end_holder(paths: &EmbeddedPaths) {
    if processes().any(|pid| is_monitor(&of(pid, "cmdline"), &paths.runtime)) {
        return;
    }
    let session = paths.session().display().to_string();
    let holds = |pid: &u32| of(*pid, "comm").starts_with("podman") || of(*pid, "comm").starts_with("catatonit");
    kill(processes().filter(|pid| holds(pid) && of(*pid, "environ").contains(&session)));
}

/// Removes the containers of builds whose engine did not end in order: they would keep their images. Only where no other engine is
/// at work on the storage, whose builds they could be.
///
/// # Errors
/// If Podman can't be run.
pub fn clear_up(ui: &Ui, paths: &EmbeddedPaths) -> Result<()> {
    let marks: Vec<_> =
        std::fs::read_dir(paths.marks()).into_iter().flatten().flatten().map(|mark| mark.path()).collect();
    let file = paths.open_lock()?;
    if marks.is_empty() || file.try_lock().is_err() {
        return Ok(());
    }
    paths.create()?;
    let support = probe::machine_support(ui, paths)?;
    let settings = &settings::write(paths, support.storage, support.runtime.as_ref().ok())?;
    let list = ["ps", "--all", "--external", "--filter", "status=unknown", "--format", "{{.ID}} {{.Status}}"];
    let listed =
        podman(settings, &list).stdout_capture().stderr_null().unchecked().read().context("podman can't be run")?;
    // A container of Podman's own has a state.
    let ids: Vec<&str> = listed.lines().filter_map(|line| line.split_once(' ')).map(|(id, _)| id).collect();
    if !ids.is_empty() {
        ui.note(format_args!("removing what a build left behind whose engine was killed: {} things", ids.len()));
        let _ = podman(settings, &[&["rm", "--force"], ids.as_slice()].concat())
            .stdout_null()
            .stderr_null()
            .unchecked()
            .run();
    }
    for mark in marks {
        let _ = std::fs::remove_file(mark);
    }
    Ok(())
}

fn podman(settings: &Settings, words: &[&str]) -> duct::Expression {
    let words = settings.arguments.iter().cloned().chain(words.iter().map(OsString::from));
    settings
        .variables
        .iter()
        .fold(duct::cmd("podman", words).stdin_null(), |command, (name, value)| command.env(name, value))
}

/// Lets Podman take stock as after a reboot, if the monitors of its containers were killed: of their end it has not heard, and never
/// will. It would list them as running, refuse to remove them, and find an ordinary user's namespace no more. Only where no
/// other engine is at work on the storage, whose containers could be about to run.
///
/// # Errors
/// If the lock can't be had.
pub fn forget_the_dead(paths: &EmbeddedPaths) -> Result<()> {
    let watched = paths.runtime.join("containers");
    if !had_containers(&watched) {
        return Ok(());
    }
    // Held to the end.
    let file = paths.open_lock()?;
    if file.try_lock().is_err() {
        return Ok(());
    }
    if !processes().any(|pid| is_monitor(&of(pid, "cmdline"), &watched)) {
        // One file tells Podman that it has taken stock since the machine's start, the other of a process that holds a user's
        // namespace: taking stock, it does not look whether that lives.
        let _ = std::fs::remove_file(paths.runtime.join("libpod/alive"));
        // After a reboot nothing would be mounted: Podman does not look, and fails to remove a container where something is.
        unmount_below(&paths.storage.join("images"));
        let pause = paths.runtime.join("libpod/pause.pid");
        let is_dead = |pid: &str| !Path::new("/proc").join(pid.trim()).exists();
        if std::fs::read_to_string(&pause).is_ok_and(|pid| is_dead(&pid)) {
            let _ = std::fs::remove_file(&pause);
        }
    }
    Ok(())
}

/// Whether a container has been started here that was not removed.
fn had_containers(watched: &Path) -> bool {
    let folders = std::fs::read_dir(watched.join("overlay-containers"))
        .into_iter()
        .chain(std::fs::read_dir(watched.join("vfs-containers")));
    folders.flatten().flatten().any(|container| container.path().join("userdata/conmon.pid").exists())
}

/// Its command line names the folder of its container, among others.
fn is_monitor(command_line: &str, watched: &Path) -> bool {
    let mut words = command_line.split('\0');
    let is_conmon = words.next().is_some_and(|program| program.rsplit('/').next() == Some("conmon"));
    is_conmon && words.any(|word| Path::new(word).starts_with(watched))
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Its root is a container's of this storage, and nobody of the engine waits for it.
fn is_orphan(pid: u32, images: &Path) -> bool {
    let images = images.to_string_lossy();
    let root = |line: &&str| line.split(' ').nth(4) == Some("/");
    let in_ours = |pid: u32| of(pid, "mountinfo").lines().find(root).is_some_and(|line| line.contains(&*images));
    // Nearly all processes see the mounts that we see, and are done with at this.
    let mounts = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    if mounts(&pid.to_string()) == mounts("self") {
        return false;
    }
    let parent_of = |pid| parent(&of(pid, "stat"));
    // What we know of a parent counts only if that was still the parent when we looked.
    in_ours(pid)
        && parent_of(pid)
            .is_some_and(|parent| !in_ours(parent) && !is_of_an_engine(parent) && parent_of(pid) == Some(parent))
}

/// Ends what is left of an engine with this socket after its guard has ended, and of engines whose command has ended.
pub fn end_service(paths: &EmbeddedPaths, socket: &Path) {
    let runtime = format!("{}/", paths.runtime.display());
    let is_podmans = |pid: &u32, text: &str| {
        let line = of(*pid, "cmdline");
        let name = line.split('\0').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned();
        ["podman", "conmon", "exe"].contains(&name.as_str()) && line.contains(text)
    };
    let own = socket.display().to_string();
    // An ordinary user's Podman is several processes that follow each other: one may be just about to become another.
    let mut quiet = 0;
    while quiet < if crate::machine::is_root() { 1 } else { 3 } {
        let left: Vec<u32> =
            processes().filter(|pid| is_podmans(pid, &own) || is_podmans(pid, &runtime) && is_stale(*pid)).collect();
        quiet = if left.is_empty() { quiet + 1 } else { 0 };
        kill(left.into_iter());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A service whose command has ended, or what was to ask it.
fn is_stale(pid: u32) -> bool {
    creator(&of(pid, "cmdline")).is_some_and(|creator| !Path::new("/proc").join(creator.to_string()).exists())
}

/// Whose engine a Podman serves or asks: the name of its socket begins with that command's process id.
fn creator(command_line: &str) -> Option<u32> {
    let address = command_line.split('\0').find_map(|word| word.strip_prefix("unix://"))?;
    address.rsplit('/').next()?.split('-').next()?.parse().ok()
}

fn kill(processes: impl Iterator<Item = u32>) {
    let words: Vec<String> = std::iter::once("-KILL".to_owned()).chain(processes.map(|pid| pid.to_string())).collect();
    if words.len() > 1 {
        let _ = duct::cmd("kill", words).stdin_null().stderr_null().unchecked().run();
    }
}

fn of(pid: u32, file: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default()).into_owned()
}

/// After the command in brackets come the state and the parent. [proc(5)]
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Another command's engine may be at work on the same storage.
fn is_of_an_engine(pid: u32) -> bool {
    let line = of(pid, "cmdline");
    let name = line.split('\0').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    ["podman", "conmon", "buildah-", "runc", "crun"].iter().any(|known| name.starts_with(known))
}

/// Ends what runs in a storage, and removes it. What can't be removed is told.
pub fn remove_storage(ui: &Ui, paths: &EmbeddedPaths) {
    end_orphans(paths);
    end_holder(paths);
    if let Err(error) = remove_folder(&paths.storage) {
        ui.warn(format_args!("{} can't be removed: {error:#}", paths.storage.display()));
    }
    let _ = remove_folder(&paths.runtime);
}

/// A folder with files of subordinate ids and, after a kill, with mounts.
///
/// # Errors
/// If something of it can't be removed.
pub fn remove_folder(folder: &Path) -> Result<()> {
    unmount_below(folder);
    let Err(error) = std::fs::remove_dir_all(folder) else { return Ok(()) };
    if error.kind() == std::io::ErrorKind::NotFound {
        return Ok(());
    }
    // As the one who has all our subordinate ids. [unshare(1)]
    let words = ["--map-root-user", "--map-auto", "rm", "-rf", "--one-file-system"].map(OsString::from);
    let removing = duct::cmd("unshare", words.into_iter().chain([folder.into()]));
    let done =
        removing.stdin_null().stdout_null().stderr_capture().unchecked().run().context("unshare can't be run")?;
    anyhow::ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(())
}

/// The deepest first.
fn unmount_below(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|point| Path::new(point).starts_with(folder)) {
        let _ = duct::cmd!("umount", "--lazy", point).stdin_null().stderr_null().unchecked().run();
    }
}

/// Bytes of all files below a folder, as far as we may look.
pub fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => size_of(&entry.path()),
            Ok(found) => std::os::unix::fs::MetadataExt::blocks(&found) * 512,
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_is_known_by_the_folder_of_its_container() {
        let line = "/usr/bin/conmon\0-c\x004f\0-b\0/run/x/containers/overlay-containers/4f/userdata\0-p\0/x/pidfile\0";
        assert!(is_monitor(line, Path::new("/run/x/containers")));
        assert!(!is_monitor(line, Path::new("/run/y/containers")));
        assert!(!is_monitor("grep\0/run/x/containers/overlay-containers", Path::new("/run/x/containers")));
    }

    #[test]
    fn a_podman_is_known_by_whose_engine_it_serves_or_asks() {
        assert_eq!(creator("podman\0system\0service\0--time\x000\0unix:///run/x/71-5f\0"), Some(71));
        assert_eq!(creator("podman\0--url\0unix:///run/x/71-5f\0create\0--mount\0source=/f/a-b\0i:1\0"), Some(71));
        assert_eq!(creator("podman\0ps\0"), None);
    }

    #[test]
    fn a_parent_is_read_behind_any_name() {
        assert_eq!(parent("12 (a) b) S 7 12 12 0"), Some(7));
        assert!(parent(&of(std::process::id(), "stat")).is_some());
    }
}
