//! Debian's and Ubuntu's packages.

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::engine::embedded::probe;
use crate::machine::run_as_root;
use ui::Ui;

/// Docker's engine and its command line.
pub const DOCKER: &str = "docker.io";
pub const DOCKER_CLIENT: &str = "docker-cli";
/// The embedded engine.
pub const PODMAN: &str = "podman";

/// Installs packages, or what stands for them on this system; yields the names.
///
/// # Errors
/// If apt does not do it.
pub fn install<'a>(ui: &Ui, packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let (sh, root) = (Shell::new()?, run_as_root()?);
    ui.headline(format_args!("installing {}", packages.join(" ")));
    let apt = |rest: &[&str]| {
        // Through env: sudo does not pass variables on.
        let quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet"];
        process::read(ui, cmd!(sh, "{root} {quiet...} {rest...}")).map(drop)
    };
    let spinner = ui.spinner("apt-get update");
    let updated = apt(&["update"]);
    spinner.finish_and_clear();
    if let Err(error) = updated {
        // A list of some other archive may be out of reach; what counts is whether the packages are there.
        ui.warn(format_args!("apt's lists are not all up to date: {error:#}"));
    }
    let packages = known(ui, packages)?;
    let spinner = ui.spinner(format!("apt-get install {}", packages.join(" ")));
    let install = ["install", "--yes", "--no-install-recommends"];
    let installed = apt(&[&install, packages.as_slice()].concat());
    spinner.finish_and_clear();
    installed.with_context(|| format!("{} can't be installed", packages.join(", ")))?;
    Ok(packages)
}

/// The docker command line has a package of its own in newer Debians; in older ones, and in Ubuntu, it comes with the
/// engine. And Podman may be too old, as in Ubuntu 22.04. What there is, apt knows once its lists are up to date.
fn known<'a>(ui: &Ui, packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let sh = Shell::new()?;
    let mut names = Vec::new();
    for name in packages.iter().copied() {
        let name = match name {
            DOCKER_CLIENT if process::read(ui, cmd!(sh, "apt-cache show {name}")).is_err() => DOCKER,
            PODMAN => podman_or_docker(ui, &process::read(ui, cmd!(sh, "apt-cache policy {name}"))?),
            name => name,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

fn podman_or_docker(ui: &Ui, policy: &str) -> &'static str {
    match candidate(policy) {
        Some(version) if version < probe::OLDEST_PODMAN => {
            ui.note(format_args!(
                "this system's Podman ({version}) is too old for the embedded engine; Docker instead"
            ));
            DOCKER
        }
        _ => PODMAN,
    }
}

/// The first number of the version that apt would install. [apt-cache(8)]
fn candidate(policy: &str) -> Option<u32> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?.trim();
    // 1:4.3 has an epoch.
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_podman_that_is_too_old_is_known_before_it_is_installed() {
        assert_eq!(candidate("podman:\n  Installed: (none)\n  Candidate: 3.4.4+ds1-1ubuntu1\n"), Some(3));
        assert_eq!(candidate("podman:\n  Candidate: 1:4.3.1+ds1-8\n"), Some(4));
        assert_eq!(candidate("podman:\n  Candidate: (none)\n"), None);
    }
}
