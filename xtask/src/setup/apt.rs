//! Installing Debian's and Ubuntu's packages.

use anyhow::{Context, Result};
use ui::Ui;
use xshell::{Shell, cmd};

use crate::engine::embedded::probe::OLDEST_PODMAN;
use crate::machine::run_as_root;
use crate::setup::packages::{DOCKER, DOCKER_CLI, PODMAN, Package};

/// Installs packages, or what this system has instead of them. Returns the names of what was installed.
pub fn install(ui: &Ui, packages: &[Package]) -> Result<Vec<&'static str>> {
    let (sh, root) = (Shell::new()?, run_as_root()?);
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    ui.headline(format_args!("installing {}", names.join(" ")));
    let apt = |args: &[&str]| {
        // Through env: sudo does not pass variables on.
        let quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"];
        process::read(ui, cmd!(sh, "{root} {quiet...} {args...}")).map(drop)
    };
    let spinner = ui.spinner("apt-get update");
    let updated = apt(&["update"]);
    spinner.finish_and_clear();
    if let Err(error) = updated {
        // Those of an unrelated archive may be out of reach. What counts is whether the packages are there.
        ui.warn(format_args!("some of apt's package lists could not be updated: {error:#}"));
    }
    let names = available(ui, packages)?;
    let spinner = ui.spinner(format!("apt-get install {}", names.join(" ")));
    let install = ["install", "--yes", "--no-install-recommends"];
    let installed = apt(&[&install, names.as_slice()].concat());
    spinner.finish_and_clear();
    installed.with_context(|| format!("could not install {}", names.join(", ")))?;
    Ok(names)
}

/// The names of the packages on this system. The docker command line has its own package in newer Debian releases; in
/// older ones, and in Ubuntu, it is part of the engine's. Podman may be too old, as in Ubuntu 22.04. apt must be up to
/// date.
fn available(ui: &Ui, packages: &[Package]) -> Result<Vec<&'static str>> {
    let sh = Shell::new()?;
    let mut names = Vec::new();
    for package in packages {
        let name = package.name;
        let name = if *package == DOCKER_CLI && process::read(ui, cmd!(sh, "apt-cache show {name}")).is_err() {
            DOCKER.name
        } else if *package == PODMAN
            && let Some(version) = candidate(&process::read(ui, cmd!(sh, "apt-cache policy {name}"))?)
            && version < OLDEST_PODMAN
        {
            ui.note(format_args!(
                "this system's Podman ({version}) is too old for the embedded engine; installing Docker instead"
            ));
            DOCKER.name
        } else {
            name
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The major version that apt would install. (apt-cache(8))
fn candidate(policy: &str) -> Option<u32> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    // In 1:4.3, the 1 is an epoch.
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_podman_that_is_too_old_is_recognised_before_it_is_installed() {
        assert_eq!(candidate("podman:\n  Installed: (none)\n  Candidate: 3.4.4+ds1-1ubuntu1\n"), Some(3));
        assert_eq!(candidate("podman:\n  Candidate: 1:4.3.1+ds1-8\n"), Some(4));
        assert_eq!(candidate("podman:\n  Candidate: (none)\n"), None);
    }
}
