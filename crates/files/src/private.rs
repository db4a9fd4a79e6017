//! Folders that only their user can enter, whatever the umask is.

use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Creates a folder for this user only, in one that is there already.
///
/// # Errors
/// If it is there and is a link, belongs to another user, or can be entered by one: who created it could have put
/// anything in it.
pub fn create_private(folder: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| format!("could not create {}", folder.display())),
    }
    // Of the folder itself, not of what a link points to.
    let found = folder.symlink_metadata().with_context(|| folder.display().to_string())?;
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    let is_private = found.is_dir() && is_ours && found.mode() & 0o077 == 0;
    let folder = folder.display();
    ensure!(is_private, "{folder} is a link, belongs to another user or is open to others: remove it, then try again");
    Ok(())
}

/// Creates a folder with what is missing of the path to it, for this user only. What is there already is kept as it is:
/// it may be a link, or open to others, as the user likes.
pub fn create_private_all(folder: &Path) -> Result<()> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    created.with_context(|| format!("could not create {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(folder: &Path) -> u32 {
        folder.metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn a_private_folder_is_one_that_nobody_else_could_have_prepared() {
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(name);
        create_private(&path("new")).unwrap();
        create_private(&path("new")).unwrap();
        assert_eq!(mode(&path("new")), 0o700);
        symlink(path("new"), path("link")).unwrap();
        std::fs::write(path("file"), "").unwrap();
        std::fs::create_dir(path("open")).unwrap();
        std::fs::set_permissions(path("open"), Permissions::from_mode(0o750)).unwrap();
        for name in ["link", "file", "open"] {
            let refused = create_private(&path(name)).unwrap_err().to_string();
            assert!(refused.contains("remove it, then try again"), "{name}: {refused}");
        }
        assert_eq!(mode(&path("open")), 0o750);
    }

    #[test]
    fn folders_on_the_way_are_private_too_and_what_is_there_is_kept() {
        let parent = tempfile::tempdir().unwrap();
        let path = |name: &str| parent.path().join(name);
        create_private_all(&path("a/b")).unwrap();
        assert_eq!((mode(&path("a")), mode(&path("a/b"))), (0o700, 0o700));
        std::fs::set_permissions(path("a"), Permissions::from_mode(0o755)).unwrap();
        create_private_all(&path("a/b")).unwrap();
        assert_eq!(mode(&path("a")), 0o755);
    }
}
