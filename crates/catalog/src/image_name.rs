//! Names of images: what a manifest may call the image that it makes.

/// The names of the program's own images and of the bases that it bootstraps.
const OWN: &str = "cml-nodes/";

/// Whether Docker accepts `image` as NAME:TAG, without a registry's host.
pub(crate) fn is_tag(image: &str) -> bool {
    image.split_once(':').is_some_and(|(name, tag)| is_path(name) && is_plain_tag(tag))
}

/// Whether engines accept `image` as `[HOST[:PORT]/]NAME[:TAG][@DIGEST]`, the name of an image anywhere.
/// <https://github.com/distribution/reference/blob/main/reference.go>
pub fn is_reference(image: &str) -> bool {
    let (named, digest) = image.split_once('@').map_or((image, None), |(named, digest)| (named, Some(digest)));
    let (name, tag) = match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (named, None),
    };
    let path = match name.split_once('/') {
        Some((host, path)) if host == "localhost" || host.contains(['.', ':']) => is_host(host).then_some(path),
        _ => Some(name),
    };
    let is_digest = |digest: &str| digest.starts_with("sha256:") && digests::Digest::parse(digest).is_some();
    path.is_some_and(is_path) && tag.is_none_or(is_plain_tag) && digest.is_none_or(is_digest)
}

/// A host's name or address, with a port or without.
fn is_host(host: &str) -> bool {
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "0"));
    let is_name = |c: char| c.is_ascii_alphanumeric() || ".-[]:".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
    begins && name.chars().all(is_name) && port.parse::<u16>().is_ok()
}

/// The name of a repository: parts of a-z and 0-9, in which `.`, `_`, `__` or any number of `-` may separate words.
fn is_path(path: &str) -> bool {
    let in_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|b| b == b'-');
    let is_part =
        |part: &str| part.starts_with(in_word) && part.ends_with(in_word) && part.split(in_word).all(is_separator);
    path.len() <= 255 && path.split('/').all(is_part)
}

fn is_plain_tag(tag: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=128).contains(&tag.len()) && tag.bytes().all(is_plain) && !tag.starts_with(['.', '-'])
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
    fn a_name_that_docker_refuses_is_none() {
        let long = format!("{}:1", "x".repeat(256));
        for image in ["a-:1", "-a:1", "a..b:1", "a___b:1", "a._b:1", "a//b:1", "/a:1", "A:1", "a:", "a:.1", "a", &long]
        {
            assert!(!is_tag(image), "{image}");
        }
        for image in ["a--b:1", "a__b.c/d-e:1.0_x"] {
            assert!(is_tag(image), "{image}");
        }
    }

    #[test]
    fn a_reference_may_have_a_host_a_tag_and_a_digest() {
        let digest = format!("nginx:1@sha256:{}", "5".repeat(64));
        let id = format!("sha256:{}", "5".repeat(64));
        for image in ["nginx", "nginx:1.27", "Registry.example:5000/a/b:1", "localhost/a", "[::1]:5000/a", &digest, &id]
        {
            assert!(is_reference(image), "{image}");
        }
        for image in ["", "Nginx:1", "a b", "http://a/b", "a@sha256:55", "a:b:c", "a-", "r.example:x/a", "./a", "a/"] {
            assert!(!is_reference(image), "{image}");
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
