//! Facts about this machine: who runs the program, what is installed, where its files go.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};

/// The program that runs a command as root: `sudo`; for root itself `env`, which just runs the command.
pub fn run_as_root() -> Result<&'static str> {
    if is_root() {
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
    files::create_private_all(&folder)?;
    refuse_others_folder(&folder)?;
    Ok(folder)
}

/// Who can write to the cache decides what is built: sources are in it.
fn refuse_others_folder(folder: &Path) -> Result<()> {
    let found = folder.metadata().with_context(|| folder.display().to_string())?;
    let is_ours = is_root() || [0, user_id()].contains(&found.uid());
    ensure!(
        is_ours && found.mode() & 0o002 == 0,
        "{} belongs to another user, or everybody can write to it: remove it, or set XDG_CACHE_HOME to another folder",
        folder.display()
    );
    Ok(())
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
    fn a_cache_that_everybody_can_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        assert!(refuse_others_folder(folder.path()).is_ok());
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let error = refuse_others_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("everybody can write to it"), "{error}");
    }
}
