//! An image that a node takes as it is, instead of building one: which, and where it can be had.

use serde::{Deserialize, Deserializer, de};

use crate::names::{InnerPath, line, quote};
use digests::Digest;

/// What a manifest says of an image that is taken as it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Prebuilt {
    /// The image ID: the SHA-256 of its configuration, which names the digests of all its layers. It is what CML
    /// compares, and the same wherever the image comes from. [docs/cml.md 3]
    pub image_id: Digest,
    pub from: From,
}

/// Where an image can be had that the engine does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// It was made on some engine, and has no other place.
    Engine,
    Registry(Reference),
    /// What `docker save` wrote, relative to the repository's folder.
    Archive(InnerPath),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(deserialize_with = "image_id")]
    image_id: Digest,
    registry: Option<Reference>,
    archive: Option<InnerPath>,
}

impl TryFrom<Raw> for Prebuilt {
    type Error = String;

    fn try_from(Raw { image_id, registry, archive }: Raw) -> Result<Self, String> {
        let from = match (registry, archive) {
            (None, None) => From::Engine,
            (Some(reference), None) => From::Registry(reference),
            (None, Some(path)) => From::Archive(path),
            (Some(_), Some(_)) => return Err("`prebuilt` has `registry` and `archive`: name one of them".to_owned()),
        };
        Ok(Self { image_id, from })
    }
}

/// An image in a registry, by the digest of its manifest: `registry.example/nginx:1.27@sha256:…`. The tag is for
/// people; engines fetch by the digest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Reference(String);

impl Reference {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name to fetch it by: without the tag.
    pub fn pinned(&self) -> String {
        let (name, digest) = self.0.split_once('@').unwrap_or((&self.0, ""));
        format!("{}@{digest}", without_tag(name))
    }
}

impl TryFrom<String> for Reference {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        line(&text)?;
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:".contains(&b))
                && !name.contains("..")
                && !name.contains(":/")
        };
        let is_digest = |digest: &str| digest.starts_with("sha256:") && Digest::parse(digest).is_some();
        match text.split_once('@') {
            Some((name, digest)) if is_name(name) && is_digest(digest) => Ok(Self(text)),
            _ => Err(format!(
                "`{}` is not an image pinned by its registry's digest: NAME:TAG@sha256:… (64 hex digits)",
                quote(&text)
            )),
        }
    }
}

/// `registry.example:5000/nginx:1.27` → `registry.example:5000/nginx`
pub fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => name,
    }
}

fn image_id<'de, D: Deserializer<'de>>(from: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(from)?;
    let id = Digest::parse(&text).filter(|_| text.starts_with("sha256:"));
    id.ok_or_else(|| de::Error::custom(format!("`{}` is not an image ID: sha256: and 64 hex digits", quote(&text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "5555555555555555555555555555555555555555555555555555555555555555";

    fn read(text: &str) -> Result<Prebuilt, String> {
        serde_yaml::from_str(&text.replace("HEX", HEX)).map_err(|error| error.to_string())
    }

    #[test]
    fn an_image_is_named_by_its_id_and_the_place_where_it_can_be_had() {
        let prebuilt = read("image_id: sha256:HEX").unwrap();
        assert_eq!((prebuilt.image_id.hex(), prebuilt.from), (HEX, From::Engine));
        let prebuilt = read("{image_id: 'sha256:HEX', registry: 'r.example:5000/a/b:1@sha256:HEX'}").unwrap();
        let From::Registry(reference) = prebuilt.from else { panic!("{prebuilt:?}") };
        assert_eq!(reference.pinned(), format!("r.example:5000/a/b@sha256:{HEX}"));
        let prebuilt = read("{image_id: 'sha256:HEX', archive: images/a.tar.gz}").unwrap();
        assert!(matches!(prebuilt.from, From::Archive(path) if path.as_str() == "images/a.tar.gz"));
    }

    #[test]
    fn what_is_not_pinned_or_leads_elsewhere_is_refused() {
        for (text, why) in [
            ("image_id: HEX", "is not an image ID"),
            ("image_id: 'sha256:55'", "is not an image ID"),
            ("{image_id: 'sha256:HEX', registry: 'nginx:1'}", "is not an image pinned by its registry's digest"),
            ("{image_id: 'sha256:HEX', registry: 'oci:/tmp@sha256:HEX'}", "is not an image pinned"),
            ("{image_id: 'sha256:HEX', registry: '../x@sha256:HEX'}", "is not an image pinned"),
            ("{image_id: 'sha256:HEX', archive: /etc/shadow}", "is not a path inside"),
            ("{image_id: 'sha256:HEX', archive: ../x.tar}", "is not a path inside"),
            ("{image_id: 'sha256:HEX', archive: a, registry: 'a@sha256:HEX'}", "name one of them"),
            ("{image_id: 'sha256:HEX', file: a}", "unknown field"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
