//! What an engine can do. The rest of the program asks here, and never for the engine's make.
//! Which bug or difference is behind each answer: see the table in `quirks.rs`.

use std::collections::HashMap;
use std::fmt;

use bollard::models::HostConfigLogConfig;

/// Who made the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    Docker,
    /// Podman's service, which speaks Docker's API.
    Podman,
}

/// The log goes where `docker logs` finds it, whatever the engine's configuration says.
const PODMAN_ARGS: [&str; 4] =
    ["--log-driver=k8s-file", "--log-opt=max-size=16m", "--sysctl", "net.ipv4.ip_unprivileged_port_start=0"];

const DOCKER_ARGS: [&str; 2] = ["--log-driver=json-file", "--log-opt=max-size=16m"];

/// What one engine can do, by its make and by what this machine allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// For messages, and for reading errors.
    pub make: Make,
    version: String,
    /// Whether containers run on it, or why not.
    pub runs_containers: Result<(), String>,
    /// The name of its own command-line program.
    pub command_line: &'static str,
    /// Whether a build's cache consists of images, one for each step. These have the build's labels, too.
    pub caches_steps_as_images: bool,
    /// Whether `sharing=locked` of a cache mount works.
    pub locks_caches: bool,
    /// Whether what a Dockerfile names as an image, or as the source of a mount, stays within the engine, registries
    /// and the build. If not, Dockerfiles are judged before they are built.
    pub confines_builds: bool,
    /// Whether an image keeps all its names when two commands change them at the same time.
    pub keeps_all_names: bool,
    /// Whether it builds through BuildKit, which reports each step. Podman builds with Buildah, through the older API.
    pub has_buildkit: bool,
    /// Whether a process of its own cleans up after a container that has ended. That may happen late, and would undo
    /// what was prepared for the next start by then.
    pub cleans_up_later: bool,
    /// The capabilities that Docker gives a container by default and this engine does not.
    pub missing_default_capabilities: &'static [&'static str],
    /// Arguments of `create` that give a container the defaults that it would have on Docker, and a log that does not
    /// fill the disk, where `docker logs` finds it.
    pub node_args: &'static [&'static str],
}

impl Abilities {
    pub fn new(make: Make, version: String) -> Self {
        let is_docker = make == Make::Docker;
        Self {
            make,
            version,
            runs_containers: Ok(()),
            command_line: if is_docker { "docker" } else { "podman" },
            caches_steps_as_images: !is_docker,
            locks_caches: is_docker,
            confines_builds: is_docker,
            keeps_all_names: is_docker,
            has_buildkit: is_docker,
            cleans_up_later: !is_docker,
            missing_default_capabilities: if is_docker { &[] } else { &["AUDIT_WRITE", "MKNOD", "NET_RAW"] },
            node_args: if is_docker { &DOCKER_ARGS } else { &PODMAN_ARGS },
        }
    }

    /// The same log by the API, for containers that are no nodes.
    pub fn bounded_log(&self) -> HostConfigLogConfig {
        let driver = if self.make == Make::Docker { "json-file" } else { "k8s-file" };
        let options = HashMap::from([("max-size".to_owned(), "16m".to_owned())]);
        HostConfigLogConfig { typ: Some(driver.to_owned()), config: Some(options) }
    }

    /// Whether its own command-line program is installed.
    pub fn has_command_line(&self) -> bool {
        crate::machine::is_installed(self.command_line)
    }
}

impl fmt::Display for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Docker { "Docker" } else { "Podman" })
    }
}

impl fmt::Display for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.make, self.version)
    }
}
