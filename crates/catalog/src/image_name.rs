//! Names of images: what a manifest may call the image that it makes.

/// The names of the program's own images and of the bases that it bootstraps.
const OWN: &str = "cml-nodes/";

/// Whether Docker accepts `image` as NAME:TAG, without a registry's host.
pub(crate) fn is_tag(image: &str) -> bool {
    let name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'/');
    let tag = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    image.split_once(':').is_some_and(|(left, right)| {
        !left.is_empty()
            && left.bytes().all(name)
            && (1..=128).contains(&right.len())
            && right.bytes().all(tag)
            && !right.starts_with(['.', '-'])
    })
}

/// Whether only the program itself gives images this name.
pub fn is_own(image: &str) -> bool {
    image.starts_with(OWN)
}

/// Why a node's image cannot have this name, whatever else there is.
pub(crate) fn refusal(image: &str) -> Option<&'static str> {
    if plain(image) != image {
        return Some("which has a part that engines leave out; begin with the name itself");
    }
    // Engines look for the image with that ID.
    let is_id = image.starts_with("sha256:");
    is_id.then_some("which is the ID of an image, not a name")
}

/// The name of an image as engines compare it: without the default registry, with a tag, without a digest.
pub(crate) fn plain(image: &str) -> String {
    let mut name = image.split('@').next().unwrap_or_default();
    while let Some(rest) =
        ["docker.io/", "index.docker.io/", "localhost/", "library/"].iter().find_map(|part| name.strip_prefix(part))
    {
        name = rest;
    }
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if has_tag { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_engines_understand_as_others_are_refused() {
        for image in ["docker.io/frr:1", "index.docker.io/library/frr:1", "localhost/frr:1", "library/frr:1"] {
            assert!(refusal(image).is_some(), "{image}");
        }
        assert!(refusal(&format!("sha256:{}", "0".repeat(64))).is_some());
        for image in ["frr:1", "mine/frr:1", "registry.example/frr:1"] {
            assert_eq!(refusal(image), None, "{image}");
        }
    }

    #[test]
    fn one_image_has_one_plain_name() {
        for image in ["debian", "debian:latest", "docker.io/library/debian", "library/debian:latest@sha256:0"] {
            assert_eq!(plain(image), "debian:latest", "{image}");
        }
        assert_eq!(plain("registry.example:5000/debian"), "registry.example:5000/debian:latest");
    }
}
