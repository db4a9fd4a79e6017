//! Which operating system this is, and how to install software on it.

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

/// Whether this process is root.
pub fn is_root() -> bool {
    user_id() == 0
}

/// The effective user ID of this process.
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The user's name in `/etc/passwd`, if it is there.
pub fn user_name() -> Option<String> {
    let (id, text) = (user_id().to_string(), std::fs::read_to_string("/etc/passwd").ok()?);
    let line = text.lines().find(|line| line.split(':').nth(2) == Some(&id))?;
    line.split(':').next().map(str::to_owned)
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
