//! What an image says of itself in its configuration. All of it is a stranger's text.
//! <https://github.com/opencontainers/image-spec/blob/main/config.md>

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bollard::models::ImageInspect;

use crate::engine::handle::Engine;

/// The most volumes and words of a command that are looked at.
const MOST: usize = 100;

/// What an image says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Name or number, with a group after a colon; empty for root.
    pub user: String,
    /// Such as `80/tcp`, low ones first.
    pub ports: Vec<String>,
    /// The folders that get volumes of their own.
    pub volumes: Vec<String>,
    /// Entry point and arguments.
    pub command: Vec<String>,
    pub has_healthcheck: bool,
    pub labels: BTreeMap<String, String>,
    /// Its names with the digests of their registries: `nginx@sha256:…`.
    pub registry_digests: Vec<String>,
}

impl Engine {
    /// What the configuration of an image says.
    pub async fn said_by(&self, image: &str) -> Result<Said> {
        let found = self.docker.inspect_image(image).await;
        Ok(Said::of(found.with_context(|| format!("asking the engine for the image {image}"))?))
    }
}

impl Said {
    fn of(found: ImageInspect) -> Self {
        let config = found.config.unwrap_or_default();
        let some = |list: Option<Vec<String>>| list.unwrap_or_default().into_iter().take(MOST).collect::<Vec<_>>();
        let is_check = |test: &Vec<String>| test.first().is_some_and(|kind| kind != "NONE");
        Self {
            user: config.user.unwrap_or_default(),
            ports: sorted(config.exposed_ports.unwrap_or_default()),
            volumes: some(config.volumes),
            command: [some(config.entrypoint), some(config.cmd)].concat(),
            has_healthcheck: config.healthcheck.and_then(|check| check.test).as_ref().is_some_and(is_check),
            labels: config.labels.unwrap_or_default().into_iter().take(MOST).collect(),
            registry_digests: some(found.repo_digests),
        }
    }
}

fn sorted(mut ports: Vec<String>) -> Vec<String> {
    let number = |port: &str| port.split(['/', '-']).next().and_then(|number| number.parse::<u32>().ok());
    ports.sort_by_cached_key(|port| (number(port).unwrap_or(u32::MAX), port.clone()));
    ports
}

#[cfg(test)]
mod tests {
    use super::sorted;

    #[test]
    fn low_ports_come_first() {
        let ports = ["x", "8080/tcp", "53/udp", "443/tcp", "53/tcp"].map(str::to_owned).to_vec();
        assert_eq!(sorted(ports), ["53/tcp", "53/udp", "443/tcp", "8080/tcp", "x"]);
    }
}
