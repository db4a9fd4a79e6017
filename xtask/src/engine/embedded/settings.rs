//! The embedded engine's own configuration. The user's settings for Podman do not reach it, apart from registries and
//! the logins for them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::process::{Resource, getrlimit};

use crate::engine::embedded::paths::EmbeddedPaths;

/// How images are stored. (containers-storage.conf(5))
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// The kernel's overlay file system.
    Overlay,
    /// The same by a process for each mount, where the kernel does not allow it.
    FuseOverlayfs,
    /// Copies, which work everywhere and cost time and space.
    Vfs,
}

/// How containers are started. (containers.conf(5))
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Runtime {
    /// The name of an OCI runtime that Podman knows.
    pub name: String,
    /// `systemd` or `cgroupfs`
    pub cgroups: String,
}

impl Storage {
    /// Its name, for people and for its folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::FuseOverlayfs => "fuse-overlayfs",
            Self::Vfs => "vfs",
        }
    }

    fn text(self, paths: &EmbeddedPaths) -> String {
        let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
        let (images, running) = (quoted(&paths.images.join(self.name())), quoted(&paths.running));
        format!("[storage]\ndriver = \"{}\"\ngraphroot = {images}\nrunroot = {running}\n", self.driver())
    }

    fn driver(self) -> &'static str {
        if self == Self::Vfs { "vfs" } else { "overlay" }
    }

    /// Global arguments for Podman. They repeat the configuration, whose folders a user's Podman ignores (`quirks.rs`).
    fn arguments(self, paths: &EmbeddedPaths) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["--storage-driver".into(), self.driver().into()];
        if self == Self::FuseOverlayfs
            && let Ok(program) = which::which("fuse-overlayfs")
        {
            args.extend(["--storage-opt".into(), format!("overlay.mount_program={}", program.display()).into()]);
        }
        args.extend(["--root".into(), paths.images.join(self.name()).into()]);
        args.extend(["--runroot".into(), (&paths.running).into()]);
        args.extend(["--tmpdir".into(), (&paths.libpod).into()]);
        args
    }
}

/// How to run Podman.
pub struct Settings {
    /// Before the subcommand.
    pub arguments: Vec<OsString>,
    pub variables: Vec<(&'static str, OsString)>,
}

impl Settings {
    /// A command of Podman, which reads nothing.
    pub fn podman(&self, args: impl IntoIterator<Item = OsString>) -> duct::Expression {
        let command = duct::cmd("podman", self.arguments.iter().cloned().chain(args)).stdin_null();
        self.variables.iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    /// All arguments of such a command, for people.
    pub fn shown(&self, args: &[OsString]) -> String {
        let all = self.arguments.iter().chain(args).map(|arg| arg.to_string_lossy());
        all.collect::<Vec<_>>().join(" ")
    }
}

/// Writes the configuration. Returns how to make Podman use it.
pub fn write(paths: &EmbeddedPaths, storage: Storage, runtime: Option<&Runtime>) -> Result<Settings> {
    let (containers, images) = (paths.runtime.join("containers.conf"), paths.runtime.join("storage.conf"));
    // The second also keeps out the user's and the system's settings, such as additional storages.
    for (path, text) in [(&containers, containers_conf(runtime)), (&images, storage.text(paths))] {
        if !std::fs::read_to_string(path).is_ok_and(|existing| existing == text) {
            // Atomically: another command may be reading the file.
            files::write(path, 0o600, text)?;
        }
    }
    let mut variables: Vec<(&'static str, OsString)> = vec![
        ("CONTAINERS_CONF", containers.into()),
        ("CONTAINERS_STORAGE_CONF", images.into()),
        ("TMPDIR", (&paths.temporary).into()),
    ];
    variables.extend(session_bus().map(|address| ("DBUS_SESSION_BUS_ADDRESS", address)));
    variables.push(("XDG_RUNTIME_DIR", (&paths.session).into()));
    Ok(Settings { arguments: storage.arguments(paths), variables })
}

/// The monitor of a command in a container stays for ten seconds after the command, not for Podman's five minutes: its
/// exit code is asked for at once. Why locks are files: see `quirks.rs`.
/// Nothing needs a network of its own: builds use the machine's, nodes get their links from the link helper.
fn containers_conf(runtime: Option<&Runtime>) -> String {
    let engine = "[engine]\nlock_type = \"file\"\nevents_logger = \"none\"\nexit_command_delay = 10\n";
    let runtime = runtime.map_or_else(String::new, |Runtime { name, cgroups }| {
        format!("runtime = \"{name}\"\ncgroup_manager = \"{cgroups}\"\n")
    });
    // Podman itself allows no more.
    let most_processes = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok();
    let most_processes = most_processes.and_then(|text| text.trim().parse().ok()).unwrap_or(32768);
    format!(
        "{engine}{runtime}[containers]\nlog_driver = \"k8s-file\"\nnetns = \"host\"\n\
         base_hosts_file = \"none\"\ndefault_ulimits = [{}]\n",
        limits(|resource| getrlimit(resource).maximum, most_processes)
    )
}

/// `default_ulimits`: no more than this process's `hard` limits, since root's Podman may give too much (`quirks.rs`).
fn limits(hard: impl Fn(Resource) -> Option<u64>, most_processes: u64) -> String {
    let limits = [("nofile", Resource::Nofile, 1 << 20), ("nproc", Resource::Nproc, most_processes)];
    let limit = |(name, resource, most)| {
        let most = hard(resource).map_or(most, |hard| hard.min(most));
        format!("\"{name}={most}:{most}\"")
    };
    limits.map(limit).join(", ")
}

/// The bus over which Podman asks a user's systemd for control groups.
fn session_bus() -> Option<OsString> {
    if let Some(address) = std::env::var_os("DBUS_SESSION_BUS_ADDRESS") {
        return Some(address);
    }
    let socket = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR")?).join("bus");
    socket.exists().then(|| format!("unix:path={}", socket.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_gets_no_more_than_this_process_may_have() {
        let hard = |resource| (resource == Resource::Nproc).then_some(96365);
        assert_eq!(limits(hard, 32768), "\"nofile=1048576:1048576\", \"nproc=32768:32768\"");
    }
}
