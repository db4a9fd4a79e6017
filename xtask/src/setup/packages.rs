//! The packages of Debian and Ubuntu that this program installs.

use crate::machine::{is_installed, is_root};

/// A package, and how to tell that it is not needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    pub name: &'static str,
    /// What it is, and what it is needed for.
    pub purpose: &'static str,
    /// One of these programs is enough.
    programs: &'static [&'static str],
}

impl Package {
    const fn new(name: &'static str, purpose: &'static str, programs: &'static [&'static str]) -> Self {
        Self { name, purpose, programs }
    }

    pub fn is_missing(&self) -> bool {
        self.programs.iter().all(|program| !is_installed(program))
    }
}

pub const GIT: Package = Package::new("git", "git, to fetch sources", &["git"]);
pub const MMDEBSTRAP: Package =
    Package::new("mmdebstrap", "mmdebstrap, to make base images without a registry", &["mmdebstrap", "debootstrap"]);
pub const DOCKER: Package = Package::new("docker.io", "a container engine", &["dockerd"]);
pub const DOCKER_CLI: Package =
    Package::new("docker-cli", "the docker command line, to run nodes as CML does", &["docker"]);
pub const PODMAN: Package = Package::new("podman", "Podman, the container engine that needs no daemon", &["podman"]);
// Not crun, Podman's default: runc also works on machines whose control groups are partly of version 1.
const RUNC: Package = Package::new("runc", "runc, which starts containers", &["runc", "crun"]);
const UIDMAP: Package = Package::new("uidmap", "newuidmap, for the users inside of an image", &["newuidmap"]);
const SHELLCHECK: Package = Package::new("shellcheck", "shellcheck, to check scripts", &["shellcheck"]);
const SSH: Package = Package::new("openssh-client", "ssh, to upload to servers", &["ssh"]);
const VENV: Package = Package::new("python3-venv", "Python's venv, for the CML client library", &[]);

/// What the embedded engine needs and this machine does not have.
pub fn missing_for_embedded() -> Vec<Package> {
    let needed = [PODMAN, RUNC, UIDMAP].into_iter().filter(|package| *package != UIDMAP || !is_root());
    needed.filter(Package::is_missing).collect()
}

/// What only the tests of this project need and this machine does not have.
pub fn missing_for_tests() -> Vec<Package> {
    let has_venv = std::process::Command::new("python3").args(["-c", "import ensurepip, venv"]).output();
    let has_venv = has_venv.is_ok_and(|output| output.status.success());
    let is_missing = |package: &Package| if *package == VENV { !has_venv } else { package.is_missing() };
    [SHELLCHECK, SSH, PODMAN, RUNC, UIDMAP, VENV].into_iter().filter(is_missing).collect()
}
