//! Which operating system this is, and its packages that this program installs.

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

/// An operating system, by its package manager.
#[derive(Debug, PartialEq, Eq)]
pub enum System {
    /// Debian, Ubuntu and their derivatives.
    Apt,
    /// Fedora, RHEL and their derivatives.
    Dnf,
    Mac,
    Other(String),
}

impl System {
    /// The operating system of this machine; on Linux, from `/etc/os-release` (os-release(5)).
    pub fn detect() -> Self {
        if cfg!(target_os = "macos") {
            return Self::Mac;
        }
        Self::from_os_release(&std::fs::read_to_string("/etc/os-release").unwrap_or_default())
    }

    fn from_os_release(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches('"').to_owned()
        };
        let kin = format!("{} {}", value("ID"), value("ID_LIKE"));
        let is = |name: &str| kin.split_whitespace().any(|word| word == name);
        if is("debian") || is("ubuntu") {
            Self::Apt
        } else if is("fedora") || is("rhel") {
            Self::Dnf
        } else {
            Self::Other(value("PRETTY_NAME"))
        }
    }

    /// Whether this program can install what is missing.
    pub fn has_apt(&self) -> bool {
        *self == Self::Apt && which::which("apt-get").is_ok()
    }

    /// What the user has to do where this program cannot install anything.
    pub fn advice(&self) -> String {
        let how = match self {
            Self::Apt => {
                "install docker.io (and docker-cli, if that package exists), git and mmdebstrap with apt-get".to_owned()
            }
            Self::Dnf => "sudo dnf install moby-engine git && sudo systemctl enable --now docker".to_owned(),
            Self::Mac => "install Docker Desktop, or: brew install colima docker git && colima start".to_owned(),
            Self::Other(name) => {
                format!("install git and Docker Engine 20.10 or newer with {name}'s package manager, and start it")
            }
        };
        format!("this program installs software only on Debian and Ubuntu; on this machine:\n  {how}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_count_as_their_parent() {
        assert_eq!(System::from_os_release("ID=debian\n"), System::Apt);
        assert_eq!(System::from_os_release("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), System::Apt);
        assert_eq!(System::from_os_release("ID=fedora\n"), System::Dnf);
        let other = System::from_os_release("ID=arch\nPRETTY_NAME=\"Arch Linux\"\n");
        assert!(other.advice().contains("Arch Linux's package manager"));
    }
}
