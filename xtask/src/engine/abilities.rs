//! What an engine can do. The rest of the program asks here, and never for the engine's make.
//! Which bug or difference is behind each answer: see the table in `quirks.rs`.

use std::fmt;

/// Who made the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    Docker,
    /// Podman's service, which speaks Docker's API.
    Podman,
}

/// What one engine can do, by its make and by what this machine allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// For messages, and errors whose words depend on it.
    pub make: Make,
    version: String,
    /// Whether containers run on it, or why not.
    pub runs_containers: Result<(), String>,
}

impl Abilities {
    pub fn new(make: Make, version: String) -> Self {
        Self { make, version, runs_containers: Ok(()) }
    }

    /// The name of its own command-line program.
    pub fn command_line(&self) -> &'static str {
        match self.make {
            Make::Docker => "docker",
            Make::Podman => "podman",
        }
    }

    /// Whether that program is installed.
    pub fn has_command_line(&self) -> bool {
        crate::machine::is_installed(self.command_line())
    }

    /// Whether a build's cache consists of images, one for each step. These have the build's labels, too.
    pub fn caches_steps_as_images(&self) -> bool {
        self.make == Make::Podman
    }

    /// Whether `sharing=locked` of a cache mount works.
    pub fn locks_caches(&self) -> bool {
        self.make == Make::Docker
    }

    /// Whether an image keeps all its names when two commands change them at the same time.
    pub fn keeps_all_names(&self) -> bool {
        self.make == Make::Docker
    }

    /// Whether it builds through BuildKit, which reports each step. Podman builds with Buildah, through the older API.
    pub fn has_buildkit(&self) -> bool {
        self.make == Make::Docker
    }

    /// Whether a process of its own cleans up after a container that has ended. That may happen late, and would undo
    /// what was prepared for the next start by then.
    pub fn cleans_up_later(&self) -> bool {
        self.make == Make::Podman
    }

    /// The capabilities that Docker gives a container by default and this engine does not.
    pub fn missing_default_capabilities(&self) -> &'static [&'static str] {
        match self.make {
            Make::Docker => &[],
            Make::Podman => &["AUDIT_WRITE", "MKNOD", "NET_RAW"],
        }
    }

    /// Arguments of `create` that give a container the defaults that it would have on Docker.
    pub fn docker_default_args(&self) -> &'static [&'static str] {
        match self.make {
            Make::Docker => &[],
            // The log goes where `docker logs` finds it, whatever the engine's configuration says.
            Make::Podman => {
                &["--log-driver=k8s-file", "--pids-limit=-1", "--sysctl", "net.ipv4.ip_unprivileged_port_start=0"]
            }
        }
    }
}

impl fmt::Display for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        })
    }
}

impl fmt::Display for Abilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.make, self.version)
    }
}
