//! Opening archives, and copying them for an engine to load.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::contents::{Contents, Edit, parsed};
use files::Tree;

/// Opens an archive, compressed with gzip or not.
///
/// # Errors
/// If it is not a regular file, or is reached through a link within a checkout.
pub fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    let (tree, inner) = Tree::around(path)?;
    let file = BufReader::with_capacity(1 << 17, tree.open(inner)?);
    unpacked(file).with_context(|| format!("could not read {}", path.display()))
}

/// The bytes of an archive, which may be compressed with gzip.
pub fn unpacked(mut file: impl BufRead + Send + 'static) -> std::io::Result<Box<dyn Read + Send>> {
    let is_gzip = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if is_gzip { Box::new(flate2::bufread::MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// Copies an archive, but gives its image the tag `tag` and no other: a tag in it may be that of an
/// image which the engine has already, and that would lose it.
pub fn retag(from: impl Read, tag: &str, mut to: impl Write) -> Result<()> {
    Contents::copy(from, &mut to, |file, text| match file {
        "manifest.json" => Ok(Edit::Replace(retagged(text, tag)?)),
        // They name the image once more, for other versions of the engine.
        _ => Ok(Edit::LeaveOut),
    })?;
    Ok(to.flush()?)
}

fn retagged(text: &[u8], tag: &str) -> Result<Vec<u8>> {
    let mut manifest: serde_json::Value = parsed(text)?;
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
