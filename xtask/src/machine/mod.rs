//! Facts about this machine: who runs the program, what is installed, where its files go.

pub mod system;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

pub use system::{is_root, user_id, user_name};

/// The program that runs a command as root: `sudo`; for root itself `env`, which just runs the command.
pub fn run_as_root() -> Result<&'static str> {
    if system::is_root() {
        return Ok("env");
    }
    which::which("sudo").map_err(|_| anyhow!("this needs root, and sudo is not installed: run it as root"))?;
    Ok("sudo")
}

/// Whether a program is installed. Ordinary users have no sbin in their path, but daemons and debootstrap are there.
pub fn is_installed(program: &str) -> bool {
    let in_sbin = |folder: &&str| Path::new(folder).join(program).is_file();
    which::which(program).is_ok() || ["/usr/sbin", "/sbin", "/usr/local/sbin"].iter().any(in_sbin)
}

/// The folder of fetched sources and logs: `$XDG_CACHE_HOME/cml-nodes`, else `~/.cache/cml-nodes`. It is created.
pub fn cache_folder() -> Result<PathBuf> {
    let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = xdg
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("there is no home directory; set HOME or XDG_CACHE_HOME")?
        .join("cml-nodes");
    std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    Ok(folder)
}
