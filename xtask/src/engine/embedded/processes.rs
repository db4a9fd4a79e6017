//! Which processes belong to an embedded engine, by what `/proc` says about them (proc(5)); ending what it has left.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use anyhow::Result;
use files::Lock;
use rustix::process::{Pid, Signal, kill_process};

use crate::engine::embedded::paths::EmbeddedPaths;

/// How the names of programs begin that run or wait for containers. Podman starts itself again as `exe`.
const ENGINE_PROGRAMS: [&str; 6] = ["podman", "conmon", "buildah", "runc", "crun", "exe"];

/// A process that `/proc` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    pub fn of_child(child: &Child) -> Self {
        Self(child.id())
    }

    /// All that run now.
    pub fn all() -> impl Iterator<Item = Self> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Self)
    }

    /// Podman's processes, and its monitors, that have this text in their command line.
    pub fn of_podman(text: &str) -> impl Iterator<Item = Self> {
        Self::all().filter(move |process| {
            let args = process.read("cmdline");
            ["podman", "conmon", "exe"].contains(&program(&args)) && args.contains(text)
        })
    }

    /// The monitors of containers that run below the folder `running`.
    pub fn monitors(running: &Path) -> impl Iterator<Item = Self> {
        Self::all().filter(move |process| is_monitor(&process.read("cmdline"), running))
    }

    pub fn signal(self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.0).ok().and_then(Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = kill_process(pid, signal);
        }
    }

    pub fn kill(self) {
        self.signal(Signal::KILL);
    }

    fn read(self, file: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path(file)).unwrap_or_default()).into_owned()
    }

    fn path(self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.0.to_string()).join(file)
    }

    /// Whether it holds the user namespace of an engine whose session folder is this.
    pub fn holds_namespace(self, session: &str) -> bool {
        let name = self.read("comm");
        (name.starts_with("podman") || name.starts_with("catatonit")) && self.read("environ").contains(session)
    }

    /// Whether it is the monitor of a command in a container, not of the container, and that command has ended. Podman
    /// keeps such a monitor for a while, for clients that ask for the exit code.
    pub fn is_idle_exec_monitor(self) -> bool {
        let children = self.read(&format!("task/{}/children", self.0));
        self.read("cmdline").split('\0').any(|arg| arg == "--exec-attach") && children.trim().is_empty()
    }

    /// Whether it serves, or talks to, an engine whose command has ended.
    pub fn is_of_ended_command(self) -> bool {
        creator(&self.read("cmdline")).is_some_and(|creator| !Self(creator).path("").exists())
    }

    /// Whether it is a step of a build whose engine is gone: its root is a container's in the storage `images`, and
    /// its parent neither such a process nor part of an engine.
    pub fn is_orphaned_step(self, images: &Path) -> bool {
        // Nearly all processes see the mounts that we see, and are excluded by this.
        let mounts = |path: PathBuf| std::fs::read_link(path).ok();
        if mounts(self.path("ns/mnt")) == mounts("/proc/self/ns/mnt".into()) || !self.has_root_in(images) {
            return false;
        }
        let is_without_engine = |parent: &Self| !parent.has_root_in(images) && !parent.is_of_an_engine();
        // What was found out about a parent counts only if it was still the parent then.
        self.parent().filter(is_without_engine).is_some_and(|parent| self.parent() == Some(parent))
    }

    fn has_root_in(self, images: &Path) -> bool {
        let mounts = self.read("mountinfo");
        let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"));
        root.is_some_and(|line| line.contains(&*images.to_string_lossy()))
    }

    fn is_of_an_engine(self) -> bool {
        let (args, name) = (self.read("cmdline"), self.read("comm"));
        let is_known = |name: &str| ENGINE_PROGRAMS.iter().any(|known| name.starts_with(known));
        is_known(program(&args)) || is_known(&name)
    }

    fn parent(self) -> Option<Self> {
        parent(&self.read("stat")).map(Self)
    }
}

/// The name of the program, without its folder.
fn program(args: &str) -> &str {
    args.split('\0').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default()
}

/// A monitor's arguments name the folder of its container, among others.
fn is_monitor(args: &str, running: &Path) -> bool {
    program(args) == "conmon" && args.split('\0').skip(1).any(|arg| Path::new(arg).starts_with(running))
}

/// The process ID of the command whose engine a Podman serves or talks to. The name of the socket begins with it.
fn creator(args: &str) -> Option<u32> {
    let address = args.split('\0').find_map(|arg| arg.strip_prefix("unix://"))?;
    address.rsplit('/').next()?.split('-').next()?.parse().ok()
}

/// The name in brackets, which may hold anything, is followed by the state and the parent.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Ends the processes that an engine has left behind, if nobody else uses the storage now.
pub fn end_processes(paths: &EmbeddedPaths) -> Result<()> {
    if let Some(_lock) = Lock::try_acquire(&paths.lock)? {
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
        // The process that keeps an ordinary user's namespace for the next Podman.
        let session = paths.session.display().to_string();
        Process::all().filter(|process| process.holds_namespace(&session)).for_each(Process::kill);
        // The file that names this process. Podman does not check it where it has to check its containers, and ends.
        let _ = std::fs::remove_file(paths.libpod.join("pause.pid"));
        paths.leftovers().for_each(remove);
    }
}

/// Removes a file or folder, as far as that is possible.
fn remove(path: PathBuf) {
    let _ =
        if path.is_dir() && !path.is_symlink() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
}

/// Everything that runs in the storage, nodes excepted: they have a monitor.
pub fn end_orphaned_steps(paths: &EmbeddedPaths) {
    Process::all().filter(|process| process.is_orphaned_step(&paths.images)).for_each(Process::kill);
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
    fn a_namespace_whose_process_may_be_gone_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = EmbeddedPaths::new(folder.path().join("storage"), folder.path().join("runtime"));
        for folder in [&paths.storage, &paths.libpod] {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        let named = paths.libpod.join("pause.pid");
        // Process IDs are given out again: this one runs, and is no engine's.
        std::fs::write(&named, "1").expect("pause.pid");
        end_processes(&paths).expect("nobody else uses the storage");
        assert!(!named.exists());
    }

    #[test]
    fn what_killed_commands_left_behind_is_removed_and_caches_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = EmbeddedPaths::new(folder.path().join("storage"), folder.path().join("runtime"));
        let (cache, copy) = (paths.temporary.join("buildah-cache-0/0"), paths.temporary.join("2875527236/blob"));
        for folder in [&cache, &copy] {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        std::fs::write(paths.temporary.join("api_load.tar1"), "").expect("a copy of an archive");
        end_processes(&paths).expect("nobody else uses the storage");
        let left: Vec<_> = std::fs::read_dir(&paths.temporary).expect("the folder").collect();
        assert!(left.len() == 1 && cache.exists(), "{left:?}");
    }

    #[test]
    fn a_parent_is_read_behind_any_name() {
        assert_eq!(parent("12 (a) b) S 7 12 12 0"), Some(7));
        assert!(Process(std::process::id()).parent().is_some());
    }
}
