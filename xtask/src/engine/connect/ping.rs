//! The first question to an engine on a socket of this machine. The answer's head tells all that is asked here; an engine's
//! `/version` takes Podman seconds, since it asks the package manager about its parts each time.

use anyhow::{Context, Result};
use bollard::ClientVersion;
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::engine::abilities::Make;

/// What an engine says of itself.
pub struct Answer {
    pub make: Make,
    pub version: String,
    /// The newest version of the API that it speaks.
    pub api: ClientVersion,
}

/// Asks the engine at the socket `path`. `None` if it answers, but not with all of that.
///
/// # Errors
/// If it does not answer.
pub async fn ask(path: &str) -> Result<Option<Answer>> {
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
fn read(head: &HeaderMap) -> Option<Answer> {
    let value = |name: &str| head.get(name)?.to_str().ok();
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
    fn the_head_of_an_answer_tells_make_and_versions() {
        let docker = answer("Docker/20.10.24+dfsg1 (linux)", "1.41").unwrap();
        assert_eq!((docker.make, docker.version.as_str()), (Make::Docker, "20.10.24+dfsg1"));
        assert_eq!((docker.api.major_version, docker.api.minor_version), (1, 41));
        assert_eq!(answer("Libpod/4.3.1 (linux)", "1.41").unwrap().make, Make::Podman);
        assert!(answer("nginx/1.2", "1.41").is_none());
        assert!(answer("Docker/20.10.24 (linux)", "new").is_none());
    }
}
