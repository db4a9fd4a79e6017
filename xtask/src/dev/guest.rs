//! An ordinary user of this machine for the tests, removed when they are done. Only root can create one.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;
use ui::Ui;
use xshell::{Shell, cmd};

use crate::engine::embedded::paths::EmbeddedPaths;

/// A name that no user of this machine has.
const NAME: &str = "cml-nodes-guest";

/// The user, whose embedded engine keeps its images in the user's home.
pub struct Guest {
    home: PathBuf,
    /// The folder of this checkout, which the user may read.
    repository: PathBuf,
    scripts: TempDir,
}

impl Guest {
    pub fn create(ui: &Ui, repository: &Path) -> Result<Self> {
        let (home, repository) = (Path::new("/home").join(NAME), repository.to_owned());
        let guest = Self { home, repository, scripts: tempfile::tempdir()? };
        // A killed command may have left one behind.
        guest.remove();
        let sh = Shell::new()?;
        process::read(ui, cmd!(sh, "useradd --create-home --shell /bin/sh {NAME}"))
            .context("could not create a user for the tests")?;
        let runner = guest.runner();
        sh.write_file(&runner, include_str!("guest.sh"))?;
        cmd!(sh, "chmod 755 {runner}").quiet().run()?;
        Ok(guest)
    }

    /// Gives the user a copy of the caches of builds, so that the compiler and the package manager need not do
    /// everything again.
    pub fn copy_caches(&self, from: &EmbeddedPaths) -> Result<()> {
        let sh = Shell::new()?;
        let to = self.home.join(".cache/cml-nodes/engine/tmp");
        sh.create_dir(&to)?;
        for folder in from.caches() {
            cmd!(sh, "cp -a {folder} {to}").quiet().run()?;
        }
        let cache = self.home.join(".cache");
        cmd!(sh, "chown -R {NAME}: {cache}").quiet().run().context("could not give the caches to the user")
    }

    /// With these variables, cargo and cargo-nextest start each program of tests as the user.
    pub fn cargo_variables(&self) -> Result<Vec<(String, String)>> {
        let sh = Shell::new()?;
        let about = cmd!(sh, "rustc --version --verbose").quiet().read()?;
        let host =
            about.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not name its host")?;
        let runner = format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_"));
        let storage = self.home.join(".cache/cml-nodes/engine");
        let variables = [
            (runner.as_str(), self.runner()),
            ("GUEST_NAME", NAME.into()),
            ("GUEST_FOLDER", self.repository.clone()),
            ("GUEST_HOME", self.home.clone()),
            ("GUEST_STORAGE", storage),
        ];
        Ok(variables.map(|(name, value)| (name.to_owned(), value.display().to_string())).to_vec())
    }

    fn runner(&self) -> PathBuf {
        self.scripts.path().join("guest.sh")
    }

    fn remove(&self) {
        let run = |program: &str, args: &[&str]| {
            duct::cmd(program, args).stdin_null().stderr_null().unchecked().read().unwrap_or_default()
        };
        run("pkill", &["-KILL", "-u", NAME]);
        let uid = run("id", &["-u", NAME]);
        run("userdel", &["--force", "--remove", NAME]);
        // The next user of this name may get the same ID, and would find the state of these engines.
        if !uid.is_empty() {
            run("rm", &["-rf", "--one-file-system", &format!("/tmp/cml-nodes-{uid}")]);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.remove();
    }
}
