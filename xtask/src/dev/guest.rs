//! An ordinary user of this machine for the tests, who goes when they are done. Only root can make one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::engine::embedded::paths::EmbeddedPaths;
use ui::Ui;

/// Nobody's name but ours.
const NAME: &str = "cml-nodes-guest";

/// See the module's head.
pub struct Guest {
    home: PathBuf,
}

impl Guest {
    /// # Errors
    /// If the user can't be made.
    pub fn invite(ui: &Ui) -> Result<Self> {
        let sh = Shell::new()?;
        let guest = Self { home: Path::new("/home").join(NAME) };
        // One whom a killed command did not send away.
        guest.send_away();
        process::read(ui, cmd!(sh, "useradd --create-home --shell /bin/sh {NAME}"))
            .context("a user for the tests can't be made")?;
        Ok(guest)
    }

    /// Gives the user a copy of the caches of builds, so that the compiler and the package manager need not do all again.
    ///
    /// # Errors
    /// If they can't be copied.
    pub fn borrow_caches(&self, from: &EmbeddedPaths) -> Result<()> {
        let sh = Shell::new()?;
        let to = self.home.join(".cache/cml-nodes/engine/tmp");
        sh.create_dir(&to)?;
        for folder in from.caches() {
            cmd!(sh, "cp -a {folder} {to}").quiet().run()?;
        }
        let cache = self.home.join(".cache");
        cmd!(sh, "chown -R {NAME}: {cache}").quiet().run().context("the caches can't be given away")
    }

    /// Runs a command in `folder` as the user, with an embedded engine of the user's own.
    ///
    /// # Errors
    /// If it fails.
    pub fn run(&self, ui: &Ui, folder: &Path, words: &[&str]) -> Result<()> {
        let sh = Shell::new()?;
        sh.change_dir("/");
        let (home, path) = (&self.home, std::env::var("PATH").unwrap_or_default());
        let storage = home.join(".cache/cml-nodes/engine");
        let script = include_str!("guest.sh");
        process::run(
            ui,
            cmd!(sh, "unshare --mount sh -euc {script} guest {NAME} {folder} {words...}")
                .env("GUEST_HOME", home)
                .env("GUEST_PATH", path)
                .env("GUEST_STORAGE", storage),
        )
    }

    fn send_away(&self) {
        for words in [&["pkill", "-KILL", "-u", NAME][..], &["userdel", "--force", "--remove", NAME]] {
            let _ = duct::cmd(words[0], &words[1..]).stdin_null().stdout_null().stderr_null().unchecked().run();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.send_away();
    }
}
