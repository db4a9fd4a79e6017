//! The first request to an engine: which make and version is it? The headers of its answer to a ping tell, without the
//! seconds that `/version` takes Podman (`quirks.rs`).

use anyhow::{Context, Result};
use bollard::{ClientVersion, Docker};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::engine::abilities::{Abilities, Make};
use crate::engine::connect::endpoint::Endpoint;

/// The engine's abilities, and a client that speaks the version of the API that both know.
pub async fn identify(docker: Docker, endpoint: &Endpoint) -> Result<(Docker, Abilities)> {
    if let Some(path) = endpoint.host.strip_prefix("unix://")
        && let Some((abilities, api)) = ping(path).await?
    {
        let newest = bollard::API_DEFAULT_VERSION;
        return Ok((endpoint.client(if api < *newest { &api } else { newest })?, abilities));
    }
    let docker = docker.negotiate_version().await?;
    let answer = docker.version().await.context("asking the engine for its version")?;
    let is_podman = answer.components.unwrap_or_default().iter().any(|part| part.name == "Podman Engine");
    let make = if is_podman { Make::Podman } else { Make::Docker };
    Ok((docker, Abilities::new(make, answer.version.unwrap_or_default())))
}

/// Pings the engine at the socket `path`. `None` if the headers of its answer do not say all that is needed.
async fn ping(path: &str) -> Result<Option<(Abilities, ClientVersion)>> {
    let socket = UnixStream::connect(path).await.with_context(|| path.to_owned())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let request = Request::get("/_ping").header("host", "engine").body(Empty::<Bytes>::new())?;
    // The connection ends when its sender is dropped.
    let response = async move { sender.send_request(request).await };
    let (response, _) = tokio::join!(response, connection);
    Ok(read(response?.headers()))
}

/// What an engine can do, and the newest version of the API that it speaks:
/// `Server: Docker/20.10.24 (linux)`, `Server: Libpod/4.3.1 (linux)`, `Api-Version: 1.41`
fn read(headers: &HeaderMap) -> Option<(Abilities, ClientVersion)> {
    let value = |name: &str| headers.get(name)?.to_str().ok();
    let (name, version) = value("server")?.split_whitespace().next()?.split_once('/')?;
    let make = match name {
        "Docker" => Make::Docker,
        "Libpod" => Make::Podman,
        _ => return None,
    };
    let (major, minor) = value("api-version")?.split_once('.')?;
    let api = ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? };
    Some((Abilities::new(make, version.to_owned()), api))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(server: &'static str, api: &'static str) -> Option<(Abilities, ClientVersion)> {
        let mut head = HeaderMap::new();
        head.insert("server", server.parse().unwrap());
        head.insert("api-version", api.parse().unwrap());
        read(&head)
    }

    #[test]
    fn the_headers_of_an_answer_tell_make_and_versions() {
        let (docker, api) = answer("Docker/20.10.24+dfsg1 (linux)", "1.41").unwrap();
        assert_eq!(docker, Abilities::new(Make::Docker, "20.10.24+dfsg1".to_owned()));
        assert_eq!((api.major_version, api.minor_version), (1, 41));
        assert_eq!(answer("Libpod/4.3.1 (linux)", "1.41").unwrap().0.make, Make::Podman);
        assert!(answer("nginx/1.2", "1.41").is_none());
        assert!(answer("Docker/20.10.24 (linux)", "new").is_none());
    }
}
