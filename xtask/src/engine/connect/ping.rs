//! The first request to an engine: which make and version is it? The headers of its answer to a ping tell, and
//! `/version` takes Podman seconds, since it asks the package manager about its parts each time.

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

/// What an engine says about itself.
struct Answer {
    make: Make,
    version: String,
    /// The newest version of the API that it speaks.
    api: ClientVersion,
}

/// The engine's abilities, and a client that speaks the version of the API that both know.
pub async fn identify(docker: Docker, endpoint: &Endpoint) -> Result<(Docker, Abilities)> {
    if let Some(path) = endpoint.host.strip_prefix("unix://")
        && let Some(answer) = ping(path).await?
    {
        let newest = bollard::API_DEFAULT_VERSION;
        let api = if answer.api < *newest { &answer.api } else { newest };
        return Ok((endpoint.client(api)?, Abilities::new(answer.make, answer.version)));
    }
    let docker = docker.negotiate_version().await?;
    let answer = docker.version().await.context("asking the engine for its version")?;
    let is_podman = answer.components.unwrap_or_default().iter().any(|part| part.name == "Podman Engine");
    let make = if is_podman { Make::Podman } else { Make::Docker };
    Ok((docker, Abilities::new(make, answer.version.unwrap_or_default())))
}

/// Pings the engine at the socket `path`. `None` if the headers of its answer do not say all that is needed.
async fn ping(path: &str) -> Result<Option<Answer>> {
    let socket = UnixStream::connect(path).await.with_context(|| path.to_owned())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let request = Request::get("/_ping").header("host", "engine").body(Empty::<Bytes>::new())?;
    let (response, _) = tokio::join!(
        async {
            let response = sender.send_request(request).await;
            drop(sender);
            response
        },
        connection
    );
    Ok(read(response?.headers()))
}

/// `Server: Docker/20.10.24 (linux)`, `Server: Libpod/4.3.1 (linux)`, `Api-Version: 1.41`
fn read(headers: &HeaderMap) -> Option<Answer> {
    let value = |name: &str| headers.get(name)?.to_str().ok();
    let (name, version) = value("server")?.split_whitespace().next()?.split_once('/')?;
    let make = match name {
        "Docker" => Make::Docker,
        "Libpod" => Make::Podman,
        _ => return None,
    };
    let (major, minor) = value("api-version")?.split_once('.')?;
    let api = ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? };
    Some(Answer { make, version: version.to_owned(), api })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(server: &'static str, api: &'static str) -> Option<Answer> {
        let mut head = HeaderMap::new();
        head.insert("server", server.parse().unwrap());
        head.insert("api-version", api.parse().unwrap());
        read(&head)
    }

    #[test]
    fn the_headers_of_an_answer_tell_make_and_versions() {
        let docker = answer("Docker/20.10.24+dfsg1 (linux)", "1.41").unwrap();
        assert_eq!((docker.make, docker.version.as_str()), (Make::Docker, "20.10.24+dfsg1"));
        assert_eq!((docker.api.major_version, docker.api.minor_version), (1, 41));
        assert_eq!(answer("Libpod/4.3.1 (linux)", "1.41").unwrap().make, Make::Podman);
        assert!(answer("nginx/1.2", "1.41").is_none());
        assert!(answer("Docker/20.10.24 (linux)", "new").is_none());
    }
}
