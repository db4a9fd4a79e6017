//! What an image archive contains, and whether its digests agree.
//!
//! Two layouts exist: Docker's own up to 24 (`<id>.json`, `<layer>/layer.tar`) and the OCI layout
//! since 25 (`blobs/sha256/…`). Both have `manifest.json`, which names configuration and layers.

use std::collections::HashMap;
use std::io::{Read, Write};

use anyhow::{Result, anyhow, bail, ensure};
use serde::Deserialize;

use crate::pass::{Entry, MOST_BYTES, Pass};
use digests::Digest;
use text::excerpt;

/// Configurations have a few kilobytes.
pub(super) const LARGEST_CONFIG: u64 = 4 << 20;

/// The files of an archive that name its images. Only the first one counts here; the others repeat that for other
/// versions of engines.
pub(super) const NAMING: [&str; 4] = ["manifest.json", "repositories", "index.json", "oci-layout"];

/// They have a few hundred bytes per layer.
const LARGEST_NAMING: u64 = 1 << 20;

/// How much of a text from an archive is shown.
const SHOWN: usize = 200;

/// The facts of an archive that holds one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The image ID that CML compares: the digest of the configuration, computed. [docs/cml.md 3]
    pub image_id: Digest,
    pub tags: Vec<String>,
    pub layers: usize,
    /// Bytes of the uncompressed archive.
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ManifestEntry {
    pub config: String,
    repo_tags: Option<Vec<String>>,
    pub layers: Vec<String>,
}

/// What becomes of a file that names images, in the copy of an archive.
pub(super) enum Edit {
    Keep,
    LeaveOut,
    Replace(Vec<u8>),
}

impl Contents {
    /// Reads an archive to its very end. Refuses one that does not contain what it names.
    pub(super) fn read(from: impl Read) -> Result<Self> {
        Self::copy(from, std::io::sink(), |_, _| Ok(Edit::Keep))
    }

    /// The same, and copies it with some of its [`NAMING`] files edited. Returns the contents of the copy.
    pub(super) fn copy(from: impl Read, to: impl Write, edit: impl Fn(&str, &[u8]) -> Result<Edit>) -> Result<Self> {
        let mut pass = Pass::new(from, to, MOST_BYTES);
        let (mut manifest, mut entries) = (None, Entries::new());
        while let Some(entry) = pass.next_entry()? {
            let digest = if entry.is_file && NAMING.contains(&entry.name.as_str()) {
                let text = edited(&mut pass, &entry, &edit)?;
                if entry.name == "manifest.json" {
                    manifest = Some(text);
                }
                None
            } else {
                pass.keep(&entry, LARGEST_CONFIG)?
            };
            let (is_folder, name) = (entry.is_folder, excerpt(&entry.name, SHOWN));
            let before = entries.insert(entry.name, digest);
            ensure!(before.is_none() || is_folder, "the archive contains {name} more than once");
        }
        // A copy may not have them.
        entries.retain(|name, _| !NAMING.contains(&name.as_str()));
        let manifest = manifest.ok_or_else(|| anyhow!("the archive has no manifest.json"))?;
        Self::of(&manifest, &entries, pass.written())
    }

    fn of(manifest: &[u8], entries: &Entries, size: u64) -> Result<Self> {
        let image = only_image(manifest)?;
        let image_id = config_digest(&image, entries)?;
        if let Some(missing) = image.layers.iter().find(|layer| !entries.contains_key(*layer)) {
            bail!("the archive names a layer {} that it does not contain", excerpt(missing, SHOWN));
        }
        Ok(Self { image_id, layers: image.layers.len(), tags: image.repo_tags.unwrap_or_default(), size })
    }
}

/// The digest of every small file, by name. Of large ones (layers) and other entries, only that they exist.
type Entries = HashMap<String, Option<Digest>>;

/// Passes on a file that names images, edited. Returns its new text.
fn edited<R: Read, W: Write>(
    pass: &mut Pass<R, W>,
    entry: &Entry,
    edit: impl Fn(&str, &[u8]) -> Result<Edit>,
) -> Result<Vec<u8>> {
    let Entry { name, size, .. } = entry;
    ensure!(
        *size <= LARGEST_NAMING,
        "the archive's {name} has {size} bytes, more than the {LARGEST_NAMING} that are read"
    );
    let mut text = pass.content(entry)?;
    match edit(name, &text)? {
        Edit::Keep => {}
        Edit::LeaveOut => return Ok(text),
        Edit::Replace(other) => text = other,
    }
    pass.put(entry, &text)?;
    Ok(text)
}

/// The entry of the one image in a manifest.json.
pub(super) fn only_image(manifest: &[u8]) -> Result<ManifestEntry> {
    let [image] = <[ManifestEntry; 1]>::try_from(parsed::<Vec<ManifestEntry>>(manifest)?)
        .map_err(|list| anyhow!("the archive contains {} images; CML accepts only one", list.len()))?;
    Ok(image)
}

/// Reads a manifest.json. Errors of the JSON reader may quote the whole of it.
pub(super) fn parsed<T: for<'a> Deserialize<'a>>(manifest: &[u8]) -> Result<T> {
    serde_json::from_slice(manifest)
        .map_err(|error| anyhow!("the archive's manifest.json: {}", excerpt(&error.to_string(), SHOWN)))
}

fn config_digest(image: &ManifestEntry, entries: &Entries) -> Result<Digest> {
    let config = excerpt(&image.config, SHOWN);
    let digest = match entries.get(&image.config) {
        Some(Some(digest)) => digest,
        Some(None) => bail!("the archive's configuration {config} is no file, or larger than {LARGEST_CONFIG} bytes"),
        None => bail!("the archive names a configuration {config} that it does not contain"),
    };
    // The name is a digest in both layouts; it must be the right one.
    let named = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    match Digest::parse(named) {
        Some(named) if named != *digest => {
            bail!("the archive is damaged: its configuration {config} has the digest {digest}")
        }
        _ => Ok(digest.clone()),
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Archives as an engine writes them, made by hand.

    use super::*;

    /// Builds an archive in the old layout.
    pub struct Export {
        config: String,
        config_name: Option<String>,
        layers: Vec<Vec<u8>>,
        leave_out_layers: bool,
        tag: String,
    }

    impl Export {
        pub fn new() -> Self {
            let config = r#"{"architecture":"amd64","os":"linux"}"#.to_owned();
            let tag = "tiny:1.0".to_owned();
            Self { config, config_name: None, layers: Vec::new(), leave_out_layers: false, tag }
        }

        pub fn layer(mut self, bytes: &[u8]) -> Self {
            self.layers.push(bytes.to_owned());
            self
        }

        pub fn config_called(mut self, name: &str) -> Self {
            self.config_name = Some(name.to_owned());
            self
        }

        pub fn without_layers(mut self) -> Self {
            self.leave_out_layers = true;
            self
        }

        pub fn tagged(mut self, tag: &str) -> Self {
            tag.clone_into(&mut self.tag);
            self
        }

        pub fn image_id(&self) -> Digest {
            Digest::of(&self.config)
        }

        pub fn bytes(&self) -> Vec<u8> {
            let config_name = self.config_name.clone().unwrap_or_else(|| format!("{}.json", self.image_id()));
            let names: Vec<String> = (0..self.layers.len()).map(|n| format!("{n}/layer.tar")).collect();
            let manifest = serde_json::json!([{"Config": config_name, "RepoTags": [self.tag], "Layers": names}]);
            let manifest = manifest.to_string();
            let mut files = vec![(config_name.as_str(), self.config.as_bytes())];
            if !self.leave_out_layers {
                files.extend(names.iter().map(String::as_str).zip(self.layers.iter().map(Vec::as_slice)));
            }
            files.push(("manifest.json", manifest.as_bytes()));
            crate::pack(files).unwrap()
        }
    }

    /// Bytes that compress somewhat, always the same.
    pub fn layer(size: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 29) as u8
        };
        (0..size).map(next).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Export, layer};
    use super::*;

    fn read(bytes: &[u8]) -> Result<Contents> {
        Contents::read(&mut &bytes[..])
    }

    #[test]
    fn the_image_id_is_the_digest_of_the_configuration() {
        let export = Export::new().layer(&layer(100));
        let contents = read(&export.bytes()).unwrap();
        assert_eq!(contents.image_id, export.image_id());
        assert_eq!((contents.tags, contents.layers), (vec!["tiny:1.0".to_owned()], 1));
        assert_eq!(contents.size, export.bytes().len() as u64);
    }

    #[test]
    fn a_configuration_that_is_not_what_its_name_says_is_refused() {
        let export = Export::new().config_called(&format!("blobs/sha256/{}", "0".repeat(64)));
        let said = read(&export.bytes()).unwrap_err().to_string();
        assert!(said.contains("damaged"), "{said}");
    }

    #[test]
    fn a_missing_layer_is_named() {
        let said = read(&Export::new().layer(&layer(9)).without_layers().bytes()).unwrap_err().to_string();
        assert!(said.contains("0/layer.tar that it does not contain"), "{said}");
    }

    #[test]
    fn what_is_no_image_archive_is_refused() {
        assert_eq!(read(b"").unwrap_err().to_string(), "the archive has no manifest.json");
        assert_eq!(read(&[b'x'; 2048]).unwrap_err().to_string(), "it is not a tar file, or it is damaged");
    }

    #[test]
    fn control_characters_of_an_archive_are_not_printed() {
        let said = |bytes: &[u8]| format!("{:#}", read(bytes).unwrap_err());
        assert!(!said(&b"\x1b[31m\x07\n".repeat(512)).contains(char::is_control));
        let manifest = r#"[{"Config": "\u001b[31m", "Layers": []}]"#;
        let config = said(&crate::pack([("manifest.json", manifest.as_bytes())]).unwrap());
        assert_eq!(config, "the archive names a configuration \u{fffd}[31m that it does not contain");
    }
}
