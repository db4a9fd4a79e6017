//! The few files of an image's system that somebody asks for, read from the layers of its archive.
//!
//! Which entries of an archive are layers is known only at its end, where `manifest.json` is. So every entry that is a
//! tar is looked into.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::read::MultiGzDecoder;

use crate::contents::only_image;
use crate::found::LARGEST_CONFIG;
use crate::pass::{Entry, MOST_BYTES, Pass};
use crate::reopen::open;

/// Everything that is kept of an image, together.
const MOST_KEPT: u64 = 64 << 20;
/// Files of one layer; a large Debian has a few hundred thousand.
const MOST_FILES: usize = 4_000_000;
/// Whiteouts of one layer; a real one has a few.
const MOST_WHITEOUTS: usize = 100_000;

const BLOCK: usize = 512;
/// The name of a file that hides another one of a lower layer.
/// <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Which files are wanted, by their path without a leading slash, and how many bytes each may have.
pub type Wanted = fn(path: &str) -> Option<u64>;

/// A wanted file of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    File(Vec<u8>),
    /// A symbolic link, with its target.
    Link(String),
    TooLarge,
}

/// The wanted files of an image, by their paths.
pub type Files = BTreeMap<String, Kept>;

/// What is read of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Its configuration, as it is.
    pub config: Vec<u8>,
    pub files: Files,
    /// How many layers could not be looked into, so that `files` may lack some.
    pub unread_layers: usize,
}

impl System {
    /// Reads an archive of one image, `.tar` or `.tar.gz`.
    ///
    /// # Errors
    /// If the file is no such archive.
    pub fn read(path: &Path, wanted: Wanted) -> Result<Self> {
        Self::of(open(path)?, wanted).with_context(|| format!("could not read the image in {}", path.display()))
    }

    fn of(archive: impl Read, wanted: Wanted) -> Result<Self> {
        let mut pass = Pass::new(archive, io::sink(), MOST_BYTES);
        let (mut layers, mut texts) = (Layers::new(wanted), HashMap::new());
        while let Some(entry) = pass.next_entry()? {
            if let Some(text) = pass.read_with(&entry, |content| layers.look_into(&entry, content))? {
                texts.insert(entry.name, text);
            }
        }
        let manifest = texts.get("manifest.json").context("the archive has no manifest.json")?;
        let image = only_image(manifest)?;
        let config = texts.remove(&image.config).context("the archive does not contain its image's configuration")?;
        let (files, unread_layers) = layers.merge(&image.layers);
        Ok(Self { config, files, unread_layers })
    }
}

/// What is read of an archive's layers, by the names of its entries.
struct Layers {
    wanted: Wanted,
    found: HashMap<String, Layer>,
    /// How many bytes may still be kept.
    left: u64,
}

enum Layer {
    Read {
        files: Files,
        whiteouts: Vec<String>,
    },
    /// Another entry, by its name: Docker's own layout has each layer once.
    Same(String),
    /// Packed in a way that is not read here, such as with zstd, or damaged.
    Unread,
}

impl Layers {
    fn new(wanted: Wanted) -> Self {
        Self { wanted, found: HashMap::new(), left: MOST_KEPT }
    }

    /// Looks into an entry of the archive. Returns its text if it is no layer, but may be JSON.
    fn look_into(&mut self, entry: &Entry, content: &mut dyn Read) -> Option<Vec<u8>> {
        if let Some(target) = &entry.link {
            // `../<id>/layer.tar`
            self.found.insert(entry.name.clone(), Layer::Same(target.trim_start_matches("../").to_owned()));
        }
        let mut head = Vec::with_capacity(BLOCK);
        if !entry.is_file || Read::take(&mut *content, BLOCK as u64).read_to_end(&mut head).is_err() {
            return None;
        }
        let is_gzip = head.starts_with(&[0x1f, 0x8b]);
        let is_zstd = head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        let is_empty = head.len() == BLOCK && head.iter().all(|byte| *byte == 0);
        let is_tar = is_empty || head.get(257..262) == Some(b"ustar");
        let is_json = matches!(head.trim_ascii_start().first(), Some(b'{' | b'[')) && entry.size <= LARGEST_CONFIG;
        let mut whole = io::Cursor::new(head).chain(content);
        if is_tar || is_gzip || is_zstd {
            let layer = match (is_tar, is_gzip) {
                (true, _) => self.read(whole),
                (_, true) => self.read(MultiGzDecoder::new(whole)),
                _ => Ok(Layer::Unread),
            };
            self.found.insert(entry.name.clone(), layer.unwrap_or(Layer::Unread));
            return None;
        }
        self.left = self.left.checked_sub(entry.size).filter(|_| is_json)?;
        let mut text = Vec::new();
        whole.read_to_end(&mut text).ok().map(|_| text)
    }

    /// # Errors
    /// If the layer is damaged. An image of which a layer is damaged has no files.
    fn read(&mut self, tar: impl Read) -> Result<Layer> {
        let (mut files, mut whiteouts) = (Files::new(), Vec::new());
        let mut pass = Pass::new(tar, io::sink(), MOST_BYTES).with_most_entries(MOST_FILES);
        while let Some(entry) = pass.next_entry()? {
            let kept = pass.read_with(&entry, |content| self.keep(&entry, content))?;
            if entry.name.rsplit('/').next().is_some_and(|file| file.starts_with(WHITEOUT)) {
                ensure!(whiteouts.len() < MOST_WHITEOUTS, "it has more than {MOST_WHITEOUTS} whiteouts");
                whiteouts.push(entry.name);
            } else if let Some(kept) = kept {
                files.insert(entry.name, kept);
            }
        }
        Ok(Layer::Read { files, whiteouts })
    }

    fn keep(&mut self, entry: &Entry, content: &mut dyn Read) -> Option<Kept> {
        let limit = (self.wanted)(&entry.name)?;
        if let Some(target) = &entry.link {
            self.left = self.left.checked_sub(target.len() as u64)?;
            return Some(Kept::Link(target.clone()));
        }
        if !entry.is_file {
            return None;
        }
        if entry.size > limit || entry.size > self.left {
            return Some(Kept::TooLarge);
        }
        self.left -= entry.size;
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).ok().map(|_| Kept::File(bytes))
    }

    /// The files of the image that has these layers, from the lowest to the highest; and how many layers could not be
    /// read.
    fn merge(self, layers: &[String]) -> (Files, usize) {
        let (mut merged, mut unread) = (Files::new(), 0);
        for name in layers {
            let found = match self.found.get(name) {
                Some(Layer::Same(other)) => self.found.get(other),
                found => found,
            };
            let Some(Layer::Read { files, whiteouts }) = found else {
                unread += 1;
                continue;
            };
            for whiteout in whiteouts {
                let at = whiteout.rfind('/').map_or(0, |slash| slash + 1);
                let (folder, name) = whiteout.split_at(at);
                if name == OPAQUE {
                    merged.retain(|path, _| !path.starts_with(folder));
                } else {
                    let hidden = format!("{folder}{}", &name[WHITEOUT.len()..]);
                    let inner = format!("{hidden}/");
                    merged.retain(|path, _| *path != hidden && !path.starts_with(&inner));
                }
            }
            merged.extend(files.iter().map(|(path, kept)| (path.clone(), kept.clone())));
        }
        (merged, unread)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn wanted(path: &str) -> Option<u64> {
        path.starts_with("etc/").then_some(10)
    }

    /// The files of an archive with these layers.
    fn merged(layers: &[&[u8]]) -> (Vec<(String, Kept)>, usize) {
        let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
        let manifest = serde_json::json!([{"Config": "c.json", "Layers": names}]).to_string();
        let layers = names.iter().map(String::as_str).zip(layers.iter().copied());
        let others = [("c.json", b"{}".as_slice()), ("manifest.json", manifest.as_bytes())];
        let archive = crate::pack(layers.chain(others)).unwrap();
        let system = System::of(archive.as_slice(), wanted).unwrap();
        assert_eq!(system.config, b"{}");
        (system.files.into_iter().collect(), system.unread_layers)
    }

    fn layer(files: &[(&str, &str)]) -> Vec<u8> {
        crate::pack(files.iter().map(|(name, text)| (*name, text.as_bytes()))).unwrap()
    }

    fn file(name: &str, text: &str) -> (String, Kept) {
        (name.to_owned(), Kept::File(text.as_bytes().to_owned()))
    }

    #[test]
    fn higher_layers_replace_and_hide_what_lower_ones_have() {
        let lower = layer(&[("./etc/a", "1"), ("etc/b", "1"), ("etc/c/d", "1"), ("etc/e/f", "1"), ("usr/a", "1")]);
        let higher = layer(&[("etc/b", "2"), ("etc/.wh.a", ""), ("etc/.wh.c", ""), ("etc/e/.wh..wh..opq", "")]);
        assert_eq!(merged(&[&lower, &higher]), (vec![file("etc/b", "2")], 0));
        assert_eq!(merged(&[&higher, &lower]).0.len(), 4);
        assert_eq!(merged(&[&lower, &layer(&[(".wh..wh..opq", "")])]).0, []);
    }

    #[test]
    fn packed_layers_are_read_or_counted() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&layer(&[("etc/a", "1")])).unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(merged(&[&gzip, b"\x28\xb5\x2f\xfd and more"]), (vec![file("etc/a", "1")], 1));
        assert_eq!(merged(&[&gzip[..gzip.len() / 2]]).1, 1);
    }

    #[test]
    fn large_files_are_not_kept() {
        let large = layer(&[("etc/a", "12345678901")]);
        assert_eq!(merged(&[&large]).0, [("etc/a".to_owned(), Kept::TooLarge)]);
    }
}
