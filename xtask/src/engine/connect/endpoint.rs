//! Where an engine may be: as the docker CLI finds it (`DOCKER_HOST`, then the current context, then the default
//! socket), and where a Podman service may answer.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bollard::{ClientVersion, Docker};
use serde_json::Value;

use digests::Digest;

/// Seconds that one request may take before its first answer: a large image's export is prepared for minutes.
const REQUEST_SECONDS: u64 = 1800;

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// The variable by which Podman's own command line is pointed at a service.
pub const CONTAINER_HOST: &str = "CONTAINER_HOST";

/// An engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `unix://`, `tcp://`, `ssh://` and so on.
    pub host: String,
    /// Folder with `ca.pem`, `cert.pem` and `key.pem`.
    pub tls: Option<PathBuf>,
    /// Where the address comes from, for messages.
    pub reason: String,
}

impl Endpoint {
    /// An address that does not come from the docker CLI's configuration.
    pub fn at(host: String, reason: impl Into<String>) -> Self {
        Self { host, tls: None, reason: reason.into() }
    }

    /// The endpoint that the docker CLI would use in this process's environment.
    pub fn discover() -> Result<Self> {
        Self::from_environment(&variable, &std::env::home_dir().unwrap_or_default())
    }

    fn from_environment(variable: &dyn Fn(&str) -> Option<String>, home: &Path) -> Result<Self> {
        let config = variable("DOCKER_CONFIG").map_or_else(|| home.join(".docker"), PathBuf::from);
        if let Some(host) = variable("DOCKER_HOST") {
            let verified = variable("DOCKER_TLS_VERIFY").or_else(|| variable("DOCKER_TLS")).is_some();
            let tls = verified.then(|| variable("DOCKER_CERT_PATH").map_or(config, PathBuf::from));
            return Ok(Self { host, tls, reason: "DOCKER_HOST".to_owned() });
        }
        let context = match variable("DOCKER_CONTEXT") {
            Some(name) => Some(name),
            None => current_context(&config)?,
        };
        match context.filter(|name| name != "default") {
            Some(name) => Self::of_context(&config, &name),
            None => Ok(Self { host: DEFAULT_HOST.to_owned(), tls: None, reason: "the default".to_owned() }),
        }
    }

    /// Contexts are stored under the SHA-256 of their name. (docker/cli, `cli/context/store`)
    fn of_context(config: &Path, name: &str) -> Result<Self> {
        let key = Digest::of(name);
        let path = config.join("contexts/meta").join(key.hex()).join("meta.json");
        let reason = format!("the docker context `{name}`");
        let text = std::fs::read(&path).with_context(|| format!("{reason} has no {}", path.display()))?;
        let meta: Value = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
        let host = meta["Endpoints"]["docker"]["Host"].as_str();
        let host = host.with_context(|| format!("{reason} names no engine ({})", path.display()))?.to_owned();
        let tls = config.join("contexts/tls").join(key.hex()).join("docker");
        Ok(Self { host, tls: tls.is_dir().then_some(tls), reason })
    }

    /// A client for this address that speaks this version of the API. Nothing is sent yet.
    pub fn client(&self, version: &ClientVersion) -> Result<Docker> {
        let scheme = self.host.split("://").next().unwrap_or_default();
        let client = match (scheme, &self.tls) {
            ("unix" | "npipe", _) => Docker::connect_with_socket(&self.host, REQUEST_SECONDS, version),
            ("ssh", _) => Docker::connect_with_ssh(&self.host, REQUEST_SECONDS, version, None),
            ("tcp" | "https", Some(tls)) => {
                // Fails if a provider is installed already, which does as well.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let [key, certificate, authority] = self.tls_files(tls)?;
                Docker::connect_with_ssl(&self.host, &key, &certificate, &authority, REQUEST_SECONDS, version)
            }
            ("tcp" | "http", None) => Docker::connect_with_http(&self.host, REQUEST_SECONDS, version),
            _ => bail!("{} is not the address of an engine (from {})", self.host, self.reason),
        };
        client
            .with_context(|| format!("the address of the engine at {} (from {}) is not valid", self.host, self.reason))
    }

    /// The key, the certificate and the engine's CA certificate; checked here, since bollard's errors say less.
    fn tls_files(&self, folder: &Path) -> Result<[PathBuf; 3]> {
        let files = ["key.pem", "cert.pem", "ca.pem"].map(|name| folder.join(name));
        for file in &files {
            std::fs::File::open(file).with_context(|| {
                format!("the engine at {} (from {}) needs {}", self.host, self.reason, file.display())
            })?;
        }
        Ok(files)
    }

    /// Whether it is the default socket of this machine, whose engine `setup` may start.
    pub fn is_default(&self) -> bool {
        self.host == DEFAULT_HOST
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn current_context(config: &Path) -> Result<Option<String>> {
    let path = config.join("config.json");
    let Ok(text) = std::fs::read(&path) else { return Ok(None) };
    let config: Value = serde_json::from_slice(&text).with_context(|| format!("{} is not valid", path.display()))?;
    Ok(config["currentContext"].as_str().map(str::to_owned))
}

/// The addresses where a Podman service may answer, the likeliest first. [podman-system-service(1)]
pub fn of_podman() -> Vec<Endpoint> {
    if let Some(host) = variable(CONTAINER_HOST) {
        return vec![Endpoint::at(host, CONTAINER_HOST)];
    }
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let sockets = [
        (session.map(|folder| folder.join("podman/podman.sock")), "the user's Podman"),
        (Some(PathBuf::from("/run/podman/podman.sock")), "the system's Podman"),
        (machine_socket(), "podman machine"),
    ];
    let there = sockets.into_iter().filter_map(|(path, reason)| Some((path.filter(|path| path.exists())?, reason)));
    there.map(|(path, reason)| Endpoint::at(format!("unix://{}", path.display()), reason)).collect()
}

/// The socket of `podman machine`, where Linux runs in a virtual machine.
fn machine_socket() -> Option<PathBuf> {
    if cfg!(target_os = "linux") || which::which("podman").is_err() {
        return None;
    }
    let format = "{{.ConnectionInfo.PodmanSocket.Path}}";
    let printed =
        duct::cmd!("podman", "machine", "inspect", "--format", format).stdin_null().stderr_null().read().ok()?;
    Some(PathBuf::from(printed.lines().next()?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(home: &Path, variables: &[(&str, &str)]) -> Result<Endpoint> {
        let variable =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Endpoint::from_environment(&variable, home)
    }

    fn home_with_context() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let key = Digest::of("lab");
        let meta = home.path().join(".docker/contexts/meta").join(key.hex());
        std::fs::create_dir_all(&meta).unwrap();
        std::fs::create_dir_all(home.path().join(".docker/contexts/tls").join(key.hex()).join("docker")).unwrap();
        std::fs::write(meta.join("meta.json"), r#"{"Name":"lab","Endpoints":{"docker":{"Host":"tcp://lab:2376"}}}"#)
            .unwrap();
        std::fs::write(home.path().join(".docker/config.json"), r#"{"currentContext":"lab"}"#).unwrap();
        home
    }

    #[test]
    fn without_anything_the_default_socket_is_meant() {
        let home = tempfile::tempdir().unwrap();
        assert!(found(home.path(), &[]).unwrap().is_default());
    }

    #[test]
    fn the_current_context_is_followed_with_its_tls_files() {
        let home = home_with_context();
        let endpoint = found(home.path(), &[]).unwrap();
        assert_eq!(endpoint.host, "tcp://lab:2376");
        assert!(endpoint.tls.is_some());
        assert!(found(home.path(), &[("DOCKER_CONTEXT", "default")]).unwrap().is_default());
    }

    #[test]
    fn docker_host_wins_over_the_context() {
        let home = home_with_context();
        let endpoint = found(home.path(), &[("DOCKER_HOST", "ssh://me@lab")]).unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.tls), ("ssh://me@lab", None));
    }

    #[test]
    fn a_context_that_is_not_there_is_named() {
        let home = tempfile::tempdir().unwrap();
        let said = found(home.path(), &[("DOCKER_CONTEXT", "gone")]).unwrap_err().to_string();
        assert!(said.contains("docker context `gone` has no "), "{said}");
    }
}
