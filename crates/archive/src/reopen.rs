//! Opening archives, and copying them for an engine to load.

use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::contents::damaged;

/// A `manifest.json` has a few hundred bytes per layer.
const LARGEST_MANIFEST: u64 = 1 << 20;

/// The largest size of an unpacked archive, so that a small file cannot keep this program busy for ever.
const LARGEST: u64 = 32 << 30;

/// Opens an archive, compressed with gzip or not. Reading ends at a limit.
pub fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    let mut file = File::open(path).with_context(|| format!("could not read {}", path.display()))?;
    let mut magic = [0; 2];
    let is_gzip = file.read_exact(&mut magic).is_ok() && magic == [0x1f, 0x8b];
    file.rewind().with_context(|| format!("could not read {}", path.display()))?;
    let file = BufReader::with_capacity(1 << 17, file);
    Ok(if is_gzip {
        Box::new(flate2::bufread::MultiGzDecoder::new(file).take(LARGEST))
    } else {
        Box::new(file.take(LARGEST))
    })
}

/// Copies an archive, but gives its image the tag `tag` and no other: a tag in it may be that of an
/// image which the engine has already, and that would lose it.
pub fn retag(from: impl Read, tag: &str, to: impl Write) -> Result<()> {
    let (mut from, mut to) = (tar::Archive::new(from), tar::Builder::new(to));
    let mut tagged = false;
    for entry in from.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        match name.as_str() {
            // They name the image once more, for other versions of the engine.
            "repositories" | "index.json" | "oci-layout" => {}
            "manifest.json" => {
                let manifest = retagged(&mut entry, tag)?;
                let mut header = entry.header().clone();
                header.set_size(manifest.len() as u64);
                to.append_data(&mut header, "manifest.json", manifest.as_slice())?;
                tagged = true;
            }
            _ => copy_entry(&mut entry, &mut to)?,
        }
    }
    anyhow::ensure!(tagged, "not an image archive: it has no manifest.json");
    to.into_inner()?.flush()?;
    Ok(())
}

fn copy_entry(entry: &mut tar::Entry<'_, impl Read>, to: &mut tar::Builder<impl Write>) -> Result<()> {
    let mut header = entry.header().clone();
    let path = entry.path().context("reading the archive")?.into_owned();
    if let Some(target) = entry.link_name().context("reading the archive")? {
        let target = target.into_owned();
        to.append_link(&mut header, path, target)?;
        return Ok(());
    }
    to.append_data(&mut header, path, entry).map_err(damaged)
}

fn retagged(entry: &mut impl Read, tag: &str) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    entry.take(LARGEST_MANIFEST).read_to_end(&mut text).context("reading the archive")?;
    let mut manifest: serde_json::Value = serde_json::from_slice(&text).context("the archive's manifest.json")?;
    match manifest.as_array_mut().map(Vec::as_mut_slice) {
        Some([image]) if image.is_object() => image["RepoTags"] = serde_json::json!([tag]),
        _ => bail!("the archive's manifest.json does not list exactly one image"),
    }
    Ok(serde_json::to_vec(&manifest)?)
}

#[cfg(test)]
mod tests {
    use super::super::contents::Contents;
    use super::super::contents::testing::{Export, layer};
    use super::*;

    #[test]
    fn only_the_tag_is_another() {
        let export = Export::new().layer(&layer(5000));
        let mut copy = Vec::new();
        retag(export.bytes().as_slice(), "mine:1", &mut copy).unwrap();
        let contents = Contents::read(&mut copy.as_slice()).unwrap();
        assert_eq!(contents.tags, ["mine:1"]);
        assert_eq!((contents.image_id, contents.layers), (export.image_id(), 1));
    }

    #[test]
    fn what_is_no_image_archive_is_refused() {
        assert!(retag([b'x'; 1024].as_slice(), "mine:1", Vec::new()).is_err());
        let said = retag([0; 1024].as_slice(), "mine:1", Vec::new()).unwrap_err().to_string();
        assert!(said.contains("no manifest.json"), "{said}");
    }
}
