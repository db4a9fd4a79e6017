//! What an image archive contains, and whether its digests agree.
//!
//! Two layouts exist: Docker's own up to 24 (`<id>.json`, `<layer>/layer.tar`) and the OCI layout
//! since 25 (`blobs/sha256/…`). Both have `manifest.json`, which names configuration and layers.

use std::io::{Read, Write};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;

use crate::found::{Entries, LARGEST_CONFIG, Unpacked, stays_inside};
use crate::pass::{Entry, MOST_BYTES, Pass};
use digests::Digest;
use text::excerpt;

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
    /// The system that it runs on, such as `linux/amd64`, if it says so.
    pub platform: Option<String>,
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

/// What is read of an image's configuration.
/// <https://github.com/opencontainers/image-spec/blob/main/config.md>
#[derive(Deserialize)]
struct Configuration {
    architecture: Option<String>,
    os: Option<String>,
    rootfs: Option<RootFs>,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
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
            refuse_special(&entry)?;
            let mut watch = entries.watch(&entry);
            if entry.is_file && NAMING.contains(&entry.name.as_str()) {
                let text = edited(&mut pass, &entry, &edit)?;
                if entry.name == "manifest.json" {
                    manifest = Some(text);
                }
            } else {
                pass.keep(&entry, |piece| watch.see(piece))?;
            }
            let (found, is_folder, name) = (watch.end(), entry.is_folder, excerpt(&entry.name, SHOWN));
            ensure!(entries.add(entry.name, found) || is_folder, "the archive contains {name} more than once");
        }
        if let Some(link) = entries.way_through_a_link() {
            bail!("the archive has entries below {}, which is a link", excerpt(link, SHOWN));
        }
        let is_oci_layout = entries.has("oci-layout");
        // A copy may not have them.
        NAMING.iter().for_each(|name| entries.forget(name));
        let manifest = manifest.with_context(|| no_manifest(is_oci_layout))?;
        Self::of(&manifest, &entries, pass.written())
    }

    fn of(manifest: &[u8], entries: &Entries, size: u64) -> Result<Self> {
        let image = only_image(manifest)?;
        let (image_id, configuration) = configuration(&image, entries)?;
        check_layers(&image.layers, &configuration.rootfs.unwrap_or_default().diff_ids, entries)?;
        let platform = configuration.os.zip(configuration.architecture).map(|(os, cpu)| format!("{os}/{cpu}"));
        let (layers, tags) = (image.layers.len(), image.repo_tags.unwrap_or_default());
        Ok(Self { image_id, tags, layers, platform, size })
    }
}

/// `docker save` and `podman save` write files, folders, and symbolic links from one layer to another. Docker refuses
/// to load an archive with anything else, and an engine that unpacks it would create it on the host.
fn refuse_special(entry: &Entry) -> Result<()> {
    let shown = excerpt(&entry.name, SHOWN);
    if let Some(what) = entry.special {
        bail!("the archive's entry {shown} is {what}, and `docker save` never writes that: save the image again");
    }
    if let Some(target) = entry.link.as_ref().filter(|target| !stays_inside(&entry.name, target)) {
        let target = excerpt(target, SHOWN);
        bail!("the archive's entry {shown} is a link that leads out of the archive, to {target}: save the image again");
    }
    Ok(())
}

/// What is wrong with an archive that does not say which image is in it.
fn no_manifest(is_oci_layout: bool) -> &'static str {
    if is_oci_layout {
        "the archive has no manifest.json: it is a plain OCI layout, from which CML's Docker may load nothing. Save \
         the image with `docker save`, or with `podman save --format docker-archive`"
    } else {
        "the archive has no manifest.json, which says what image is in it: save the image with `docker save`"
    }
}

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
    let [image] =
        <[ManifestEntry; 1]>::try_from(parsed::<Vec<ManifestEntry>>(manifest)?).map_err(|list| match list.len() {
            0 => anyhow!("the archive's manifest.json names no image: save the image with `docker save`"),
            images => anyhow!("the archive contains {images} images; CML accepts only one"),
        })?;
    Ok(image)
}

/// Reads a manifest.json. Errors of the JSON reader may quote the whole of it.
pub(super) fn parsed<T: for<'a> Deserialize<'a>>(manifest: &[u8]) -> Result<T> {
    serde_json::from_slice(manifest)
        .map_err(|error| anyhow!("the archive's manifest.json: {}", excerpt(&error.to_string(), SHOWN)))
}

/// The image ID and the configuration.
fn configuration(image: &ManifestEntry, entries: &Entries) -> Result<(Digest, Configuration)> {
    let shown = format!("configuration {}", excerpt(&image.config, SHOWN));
    let file = entries.file(&image.config, &shown)?;
    check_name(&image.config, &shown, &file.digest)?;
    let text = file.text.as_ref().with_context(|| {
        format!("the archive's {shown} is no JSON object, or larger than the {LARGEST_CONFIG} bytes that are read")
    })?;
    let read = serde_json::from_slice(text)
        .map_err(|error| anyhow!("the archive's {shown}: {}", excerpt(&error.to_string(), SHOWN)))?;
    Ok((file.digest.clone(), read))
}

/// Fails unless the layers are those that the configuration names, whole. An engine that has them already does not look
/// at those of the archive, so loading it there proves nothing of them.
fn check_layers(layers: &[String], diff_ids: &[String], entries: &Entries) -> Result<()> {
    let (have, named) = (layers.len(), diff_ids.len());
    ensure!(
        have == named,
        "the archive has {}, but its configuration (rootfs.diff_ids) names {named}",
        text::plural(have, "layer")
    );
    for (layer, diff_id) in layers.iter().zip(diff_ids) {
        let shown = format!("layer {}", excerpt(layer, SHOWN));
        let file = entries.file(layer, &shown)?;
        check_name(layer, &shown, &file.digest)?;
        let content = match &file.unpacked {
            Unpacked::AsItIs => &file.digest,
            Unpacked::Gzip(digest) => digest,
            Unpacked::Zstd => bail!(
                "the archive's {shown} is packed with zstd, which not every engine can load, so that its content is \
                 not checked: save the image with `podman save --format docker-archive`, which packs no layers"
            ),
            Unpacked::Damaged => bail!("the archive is damaged: its {shown} cannot be unpacked"),
        };
        ensure!(
            Digest::parse(diff_id).as_ref() == Some(content),
            "the archive is damaged: its {shown} has the content {content}, but its configuration names {}",
            excerpt(diff_id, SHOWN)
        );
    }
    Ok(())
}

/// The name of a file may be a digest (`<digest>.json`, `blobs/sha256/<digest>`, `<digest>.tar`); then it must be the
/// right one.
fn check_name(name: &str, shown: &str, digest: &Digest) -> Result<()> {
    let file = name.rsplit('/').next().unwrap_or_default();
    let stem = file.strip_suffix(".json").or_else(|| file.strip_suffix(".tar")).unwrap_or(file);
    match Digest::parse(stem) {
        Some(named) if named != *digest => bail!("the archive is damaged: its {shown} has the digest {digest}"),
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod testing {
    //! Archives as an engine writes them, made by hand.

    use super::*;

    /// Builds an archive in the old layout.
    pub struct Export {
        config_name: Option<String>,
        layers: Vec<Vec<u8>>,
        leave_out_layers: bool,
        tag: String,
    }

    impl Export {
        pub fn new() -> Self {
            let tag = "tiny:1.0".to_owned();
            Self { config_name: None, layers: Vec::new(), leave_out_layers: false, tag }
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

        fn config(&self) -> String {
            let digests = self.layers.iter().map(|layer| format!("sha256:{}", Digest::of(layer)));
            let diff_ids: Vec<String> = digests.collect();
            serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": diff_ids}}).to_string()
        }

        pub fn image_id(&self) -> Digest {
            Digest::of(self.config())
        }

        pub fn bytes(&self) -> Vec<u8> {
            let config_name = self.config_name.clone().unwrap_or_else(|| format!("{}.json", self.image_id()));
            let names: Vec<String> = (0..self.layers.len()).map(|n| format!("{n}/layer.tar")).collect();
            let manifest = serde_json::json!([{"Config": config_name, "RepoTags": [self.tag], "Layers": names}]);
            let manifest = manifest.to_string();
            let config = self.config();
            let mut files = vec![(config_name.as_str(), config.as_bytes())];
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

    /// An archive of layers with these names and contents, whose configuration has these digests.
    fn archive(layers: &[(&str, &[u8])], diff_ids: &[Digest]) -> Result<Contents> {
        let diff_ids: Vec<String> = diff_ids.iter().map(|digest| format!("sha256:{digest}")).collect();
        let config = serde_json::json!({"rootfs": {"diff_ids": diff_ids}}).to_string();
        let names: Vec<&str> = layers.iter().map(|(name, _)| *name).collect();
        let manifest = serde_json::json!([{"Config": "c.json", "Layers": names}]).to_string();
        let others = [("c.json", config.as_bytes()), ("manifest.json", manifest.as_bytes())];
        read(&crate::pack(layers.iter().copied().chain(others)).unwrap())
    }

    #[test]
    fn a_layer_with_other_bytes_is_found_however_it_is_packed() {
        let (good, mut bad) = (layer(300_000), layer(300_000));
        bad[150_000..150_100].fill(0);
        let packed = |bytes: &[u8]| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(bytes).unwrap();
            gzip.finish().unwrap()
        };
        let diff_ids = [Digest::of(&good)];
        for (good, bad) in [(good.clone(), bad.clone()), (packed(&good), packed(&bad))] {
            assert!(archive(&[("0/layer.tar", &good)], &diff_ids).is_ok());
            let said = archive(&[("0/layer.tar", &bad)], &diff_ids).unwrap_err().to_string();
            assert!(said.starts_with("the archive is damaged: its layer 0/layer.tar has the content "), "{said}");
            // Where the name of a layer is its digest, that is compared as well.
            let blob = format!("blobs/sha256/{}", Digest::of(&good));
            assert!(archive(&[(&blob, &good)], &diff_ids).is_ok());
            let said = archive(&[(&blob, &bad)], &diff_ids).unwrap_err().to_string();
            assert!(said.contains("damaged") && said.contains("has the digest"), "{said}");
        }
        let cut = &packed(&good)[..1000];
        let said = archive(&[("0/layer.tar", cut)], &diff_ids).unwrap_err().to_string();
        assert_eq!(said, "the archive is damaged: its layer 0/layer.tar cannot be unpacked");
    }

    #[test]
    fn a_layer_whose_content_cannot_be_compared_is_refused() {
        let zstd = [b"\x28\xb5\x2f\xfd".as_slice(), &layer(100)].concat();
        let blob = format!("blobs/sha256/{}", Digest::of(&zstd));
        for name in ["0/layer.tar", &blob] {
            let said = archive(&[(name, &zstd)], &[Digest::of(layer(100))]).unwrap_err().to_string();
            assert!(said.contains("is packed with zstd"), "{said}");
        }
    }

    /// An archive of one layer, `b/layer.tar`, which has other entries as well.
    fn with_link(link: &str, target: &str, more: &[(&str, &[u8])], layers: &[&str]) -> Result<Contents> {
        let content = layer(700);
        let diff_ids = vec![format!("sha256:{}", Digest::of(&content)); layers.len()];
        let config = serde_json::json!({"rootfs": {"diff_ids": diff_ids}}).to_string();
        let manifest = serde_json::json!([{"Config": "c.json", "Layers": layers}]).to_string();
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, link, target).unwrap();
        let files = [("b/layer.tar", content.as_slice()), ("c.json", config.as_bytes())];
        for (name, bytes) in
            files.into_iter().chain([("manifest.json", manifest.as_bytes())]).chain(more.iter().copied())
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes).unwrap();
        }
        read(&tar.into_inner().unwrap())
    }

    #[test]
    fn links_lead_where_an_engine_would_follow_them() {
        let twice = ["b/layer.tar", "a/layer.tar"];
        assert!(with_link("a/layer.tar", "../b/layer.tar", &[], &twice).is_ok());
        let said = with_link("a/layer.tar", "b/layer.tar", &[], &twice).unwrap_err().to_string();
        assert!(said.contains("layer a/layer.tar that it does not contain"), "{said}");
        for target in ["../../b/layer.tar", "/b/layer.tar"] {
            let said = with_link("a/layer.tar", target, &[], &twice).unwrap_err().to_string();
            assert!(said.contains("a/layer.tar is a link that leads out of the archive"), "{target}: {said}");
        }
        // What is unpacked last would count.
        let other: [(&str, &[u8]); 1] = [("a/layer.tar", b"other")];
        let said = with_link("a", "b", &other, &["b/layer.tar"]).unwrap_err().to_string();
        assert_eq!(said, "the archive has entries below a, which is a link");
    }

    #[test]
    fn an_archive_of_no_image_is_refused_with_what_to_do() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        tar.append_data(&mut header, "manifest.json", b"[]".as_slice()).unwrap();
        let said = read(&tar.into_inner().unwrap()).unwrap_err().to_string();
        assert!(said.contains("names no image") && said.contains("docker save"), "{said}");
    }

    #[test]
    fn there_are_as_many_layers_as_the_configuration_names() {
        let (one, other) = (layer(700), layer(900));
        let digests = [Digest::of(&one), Digest::of(&other)];
        assert!(archive(&[("a", &one), ("b", &other)], &digests).is_ok());
        let said = archive(&[("a", &one)], &digests).unwrap_err().to_string();
        assert_eq!(said, "the archive has 1 layer, but its configuration (rootfs.diff_ids) names 2");
        assert!(archive(&[("a", &other), ("b", &one)], &digests).unwrap_err().to_string().contains("damaged"));
    }

    #[test]
    fn what_is_no_image_archive_is_refused() {
        let said = read(b"").unwrap_err().to_string();
        assert!(said.starts_with("the archive has no manifest.json") && said.contains("docker save"), "{said}");
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
