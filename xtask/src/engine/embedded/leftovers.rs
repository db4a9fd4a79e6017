//! Ending the processes that an embedded engine has left behind. What looks left over may belong to another command's
//! engine on the same storage, so most of this is for the holder of the exclusive lock.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use files::Lock;

use crate::engine::embedded::paths::EmbeddedPaths;
use crate::engine::embedded::processes::Process;

/// Ends the processes that an engine has left behind, if nobody else uses the storage now.
pub fn end_processes(paths: &EmbeddedPaths) -> Result<()> {
    if let Some(_lock) = Lock::try_acquire(&paths.lock())? {
        end_processes_alone(paths);
    }
    Ok(())
}

/// The same, for the holder of the exclusive lock. Nodes that `run` started keep running, and what they need does.
pub fn end_processes_alone(paths: &EmbeddedPaths) {
    end_orphaned_steps(paths);
    let (idle, busy): (Vec<_>, Vec<_>) =
        Process::monitors(&paths.runtime).partition(|monitor| monitor.is_idle_exec_monitor());
    idle.into_iter().for_each(Process::kill);
    if busy.is_empty() {
        end_namespace_holder(paths);
    }
}

/// Everything that runs in the storage, nodes excepted: they have a monitor.
pub fn end_orphaned_steps(paths: &EmbeddedPaths) {
    let images = paths.all_images();
    Process::all().filter(|process| process.is_orphaned_step(&images)).for_each(Process::kill);
}

/// The process that keeps an ordinary user's namespace for the next Podman.
pub fn end_namespace_holder(paths: &EmbeddedPaths) {
    let session = paths.session().display().to_string();
    Process::all().filter(|process| process.holds_namespace(&session)).for_each(Process::kill);
}

/// Ends what is left of the engine with this socket, and of engines whose command has ended.
pub fn end_services(paths: &EmbeddedPaths, socket: &Path) {
    let (socket, runtime) = (socket.display().to_string(), format!("{}/", paths.runtime.display()));
    // An ordinary user's Podman is several processes that follow each other: one may be just about to become another.
    let rounds_without_any = if crate::machine::is_root() { 1 } else { 3 };
    let mut empty_rounds = 0;
    while empty_rounds < rounds_without_any {
        let stale = Process::of_podman(&runtime).filter(|process| process.is_of_ended_command());
        let left: Vec<Process> = Process::of_podman(&socket).chain(stale).collect();
        empty_rounds = if left.is_empty() { empty_rounds + 1 } else { 0 };
        left.into_iter().for_each(Process::kill);
        std::thread::sleep(Duration::from_millis(20));
    }
}
