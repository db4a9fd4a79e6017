//! What an image was made from, apart from packages: the base and the sources. It is written when the image is built,
//! into the build context, from where the recipe takes it into the image, and onto the image as a label.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use digests::Digest;

/// The base and the sources of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origins {
    pub node: String,
    pub variant: String,
    pub version: String,
    /// None if the image begins with nothing (`scratch`).
    pub base: Option<Base>,
    /// By the names that the manifest gives them.
    pub sources: BTreeMap<String, Source>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    pub name: String,
    /// The base's layers, as OCI's ChainID: with one layer, that layer's digest. Unlike the digests of manifests it is
    /// the same on every engine.
    /// <https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid>
    pub digest: Option<String>,
    /// The base that it takes the place of, because that one's registry was out of reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<String>,
}

impl Base {
    /// The ChainID of these layers, given as `sha256:…` from the lowest to the highest.
    pub fn chain_id(layers: &[String]) -> Option<String> {
        let (first, rest) = layers.split_first()?;
        let chained = |chain: String, layer: &String| format!("sha256:{}", Digest::of(format!("{chain} {layer}")));
        Some(rest.iter().fold(first.clone(), chained))
    }
}

/// Where source code comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The package that the distribution's package manager fetched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The URL of a git repository; not known if the repository was one on the machine that built the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The name of an archive of source code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_layer_is_its_own_chain() {
        let layers = [format!("sha256:{}", Digest::of("a")), format!("sha256:{}", Digest::of("b"))];
        assert_eq!(Base::chain_id(&[]), None);
        assert_eq!(Base::chain_id(&layers[..1]).as_ref(), Some(&layers[0]));
        let both = format!("sha256:{}", Digest::of(format!("{} {}", layers[0], layers[1])));
        assert_eq!(Base::chain_id(&layers), Some(both));
    }
}
