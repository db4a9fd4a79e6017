//! Requests for builds: what both kinds of builds send and read, and builds of a few lines on top of an image that is
//! there already. Engines that build with Buildah need these for labels, and for checks where no container runs.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use futures_util::StreamExt;

use crate::engine::errors::{is_disturbed, retry_while};
use crate::engine::handle::Engine;

/// A client for builds. Podman accepts more than Docker's API has: that stages which do not need each other are built
/// side by side, and that its own version is not put onto the image as a label. In a chroot it builds only through its
/// own API, which accepts and answers the same.
pub fn client(engine: &Engine) -> Docker {
    let docker = engine.docker.clone();
    if engine.abilities.has_buildkit {
        return docker;
    }
    let in_chroot = engine.abilities.runs_containers.is_err();
    docker.with_request_modifier(move |mut request| {
        if let Ok(uri) = podman_uri(&request.uri().to_string(), in_chroot).parse() {
            *request.uri_mut() = uri;
        }
        request
    })
}

fn podman_uri(docker_uri: &str, in_chroot: bool) -> String {
    let uri = format!("{docker_uri}&jobs=0&identitylabel=false");
    match uri.split_once("/build?") {
        Some((host, query)) if in_chroot => {
            // …/v1.41 → …/v4.0.0/libpod
            let host = host.rsplit_once("/v").map_or(host, |(host, _version)| host);
            let format = "application%2Fvnd.docker.distribution.manifest.v2%2Bjson";
            format!("{host}/v4.0.0/libpod/build?{query}&isolation=chroot&layers=true&outputformat={format}")
        }
        _ => uri,
    }
}

/// The engine's ID of what was built, if this message has one. The last such message counts: steps may print what looks
/// like an ID, and Podman's own API reports it as a line only.
pub fn id_in(message: &BuildInfo) -> Option<String> {
    if let Some(BuildInfoAux::Default(image)) = &message.aux {
        return image.id.clone();
    }
    let id = message.stream.as_deref()?.strip_suffix('\n')?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// Build arguments for the environment's proxies, in both spellings. BuildKit keeps them out of cache keys and images.
pub fn proxy_args() -> BTreeMap<String, String> {
    proxies(|name| std::env::var(name).ok())
}

fn proxies(variable: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for name in ["http_proxy", "https_proxy", "no_proxy", "all_proxy"] {
        let upper = name.to_ascii_uppercase();
        if let Some(value) = variable(name).or_else(|| variable(&upper)).filter(|value| !value.is_empty()) {
            args.insert(name.to_owned(), value.clone());
            args.insert(upper, value);
        }
    }
    args
}

/// How a small build ended.
pub struct Outcome {
    /// The engine's ID of the image, if one was made.
    pub id: Option<String>,
    /// What the engine and the steps printed, message by message.
    pub output: Vec<String>,
    pub error: Option<String>,
}

/// Builds `dockerfile` without the cache and the network, and tags the result if there is a `tag`. A failed step is an
/// outcome, not an error.
pub async fn small_build(engine: &Engine, dockerfile: &str, platform: &str, tag: Option<&str>) -> Result<Outcome> {
    let disturbed = |ended: &Result<Outcome>| match ended {
        Ok(Outcome { error: Some(error), .. }) => is_disturbed(error),
        _ => false,
    };
    retry_while(disturbed, || small_build_once(engine, dockerfile, platform, tag)).await
}

async fn small_build_once(engine: &Engine, dockerfile: &str, platform: &str, tag: Option<&str>) -> Result<Outcome> {
    let options = BuildImageOptions {
        version: BuilderVersion::BuilderV1,
        dockerfile: "Dockerfile".to_owned(),
        platform: platform.to_owned(),
        t: tag.map(str::to_owned),
        nocache: true,
        rm: true,
        forcerm: true,
        networkmode: Some("none".to_owned()),
        ..BuildImageOptions::default()
    };
    let docker = client(engine);
    let body = bollard::body_full(archive::pack([("Dockerfile", dockerfile.as_bytes())])?.into());
    let mut answers = std::pin::pin!(docker.build_image(options, None, Some(body)));
    let mut outcome = Outcome { id: None, output: Vec::new(), error: None };
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(message) => {
                outcome.id = id_in(&message).or(outcome.id);
                outcome.output.extend(message.stream);
            }
            Err(EngineError::DockerStreamError { error }) => outcome.error = Some(error),
            Err(error) => return Err(error).context("the connection to the engine was lost"),
        }
    }
    Ok(outcome)
}

/// A word of a Dockerfile that stands for exactly this text.
pub fn quoted(text: &str) -> String {
    let escaped = |c| matches!(c, '"' | '\\' | '$').then_some('\\').into_iter().chain([c]);
    format!("\"{}\"", text.chars().flat_map(escaped).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_in_a_chroot_go_to_podmans_own_api() {
        let uri = "http://2f72756e/v1.41/build?dockerfile=Dockerfile";
        assert_eq!(podman_uri(uri, false), format!("{uri}&jobs=0&identitylabel=false"));
        let own = podman_uri(uri, true);
        assert!(own.starts_with("http://2f72756e/v4.0.0/libpod/build?dockerfile=Dockerfile&jobs=0"), "{own}");
        assert!(own.contains("&isolation=chroot&"), "{own}");
    }

    #[test]
    fn the_id_is_found_in_a_line_too() {
        let message = |text: &str| BuildInfo { stream: Some(text.to_owned()), ..BuildInfo::default() };
        let id = "5".repeat(64);
        assert_eq!(id_in(&message(&format!("{id}\n"))), Some(id));
        assert_eq!(id_in(&message("--> 5369e809fb0\n")), None);
    }

    #[test]
    fn either_spelling_reaches_the_build_in_both() {
        let args = proxies(|name| (name == "HTTPS_PROXY").then(|| "http://proxy:3128".to_owned()));
        assert_eq!(args.keys().collect::<Vec<_>>(), ["HTTPS_PROXY", "https_proxy"]);
        assert!(proxies(|_| Some(String::new())).is_empty());
    }

    #[test]
    fn words_keep_their_meaning() {
        assert_eq!(quoted(r#"a "b" $HOME \ c"#), r#""a \"b\" \$HOME \\ c""#);
    }
}
