//! Image references. Podman writes them in full, Docker in short.

use anyhow::Result;
use serde_json::Value;

use crate::contents::Edit;

/// The short form of a reference: `docker.io/library/frr:1` and `localhost/frr:1` are `frr:1`.
pub fn shortened(name: &str) -> &str {
    let rest = name.strip_prefix("docker.io/").or_else(|| name.strip_prefix("localhost/")).unwrap_or(name);
    if name.starts_with("docker.io/") { rest.strip_prefix("library/").unwrap_or(rest) } else { rest }
}

/// Shortens the references in a file that names images.
pub fn shorten(file: &str, text: &[u8]) -> Result<Edit> {
    Ok(with_short_references(file, text).map_or(Edit::Keep, Edit::Replace))
}

/// The file with shortened references, or nothing if there is nothing to shorten.
fn with_short_references(file: &str, text: &[u8]) -> Option<Vec<u8>> {
    let before: Value = serde_json::from_slice(text).ok()?;
    let mut after = before.clone();
    if file == "manifest.json" {
        let images = after.as_array_mut()?.iter_mut();
        let tags = images.filter_map(|image| image.get_mut("RepoTags")?.as_array_mut());
        for tag in tags.flatten() {
            *tag = shortened(tag.as_str()?).into();
        }
    } else if file != "repositories" {
        return None;
    } else {
        let names = std::mem::take(after.as_object_mut()?);
        after = names.into_iter().map(|(name, tags)| (shortened(&name).to_owned(), tags)).collect();
    }
    (before != after).then(|| after.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::contents::Contents;
    use super::super::contents::testing::{Export, layer};
    use super::*;

    fn copy(bytes: &[u8]) -> (Contents, Vec<u8>) {
        let mut copy = Vec::new();
        (Contents::copy(bytes, &mut copy, shorten).unwrap(), copy)
    }

    #[test]
    fn references_are_shortened_as_docker_shows_them() {
        for full in ["docker.io/library/frr:1", "docker.io/frr:1", "localhost/frr:1", "frr:1"] {
            assert_eq!(shortened(full), "frr:1");
        }
        assert_eq!(shortened("docker.io/frrouting/frr:1"), "frrouting/frr:1");
        assert_eq!(shortened("quay.io/library/frr:1"), "quay.io/library/frr:1");
        assert_eq!(shortened("localhost/library/frr:1"), "library/frr:1");
    }

    #[test]
    fn an_archive_with_short_references_stays_as_it_is() {
        let export = Export::new().layer(&layer(5000)).bytes();
        assert!(copy(&export).1 == export);
    }

    #[test]
    fn only_the_names_of_a_podman_archive_change() {
        let export = Export::new().layer(&layer(5000)).tagged("docker.io/library/tiny:1.0");
        let (is, after) = copy(&export.bytes());
        let was = Contents::read(export.bytes().as_slice()).unwrap();
        assert_eq!(is, Contents::read(after.as_slice()).unwrap());
        assert_eq!((was.tags, is.tags), (vec!["docker.io/library/tiny:1.0".to_owned()], vec!["tiny:1.0".to_owned()]));
        assert_eq!((was.image_id, was.layers), (is.image_id, is.layers));
        let names = br#"{"docker.io/library/tiny":{"1.0":"418777"}}"#;
        assert_eq!(with_short_references("repositories", names).unwrap(), br#"{"tiny":{"1.0":"418777"}}"#);
    }
}
