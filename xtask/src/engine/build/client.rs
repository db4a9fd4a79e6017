//! The client that sends builds to the engine, and what both kinds of builds read in its answers.

use bollard::Docker;
use bollard::models::{BuildInfo, BuildInfoAux};

use crate::engine::handle::Engine;

/// A client for builds. Podman accepts more than Docker's API has: that stages which do not need each other are built
/// side by side, and that its own version is not put onto the image as a label. In a chroot it builds only through its
/// own API, which accepts and answers the same.
pub fn client(engine: &Engine) -> Docker {
    let docker = engine.docker().clone();
    if engine.abilities.has_buildkit() {
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
}
