//! Image references. Podman writes them in full, Docker in short.

use std::io::{self, Cursor, Read};

use serde_json::Value;

const BLOCK: usize = 512;
/// The files that name images have a few hundred bytes.
const LARGEST: u64 = 1 << 20;

/// The short form of a reference: `docker.io/library/frr:1` and `localhost/frr:1` are `frr:1`.
pub fn shortened(name: &str) -> &str {
    let rest = name.strip_prefix("docker.io/").or_else(|| name.strip_prefix("localhost/")).unwrap_or(name);
    if name.starts_with("docker.io/") { rest.strip_prefix("library/").unwrap_or(rest) } else { rest }
}

/// Reads an image archive, with its references shortened. Everything else is passed on byte by byte.
pub struct ShortReferences<R> {
    export: R,
    /// What is read next, before the rest of the export.
    ready: Cursor<Vec<u8>>,
    /// The bytes left of the current entry, with its padding, which are passed on unchanged.
    entry: u64,
    ended: bool,
}

impl<R: Read> ShortReferences<R> {
    pub fn new(export: R) -> Self {
        Self { export, ready: Cursor::default(), entry: 0, ended: false }
    }

    /// Reads the next header, and the entry too if it names images.
    fn next_entry(&mut self) -> io::Result<()> {
        let mut block = Vec::with_capacity(BLOCK);
        (&mut self.export).take(BLOCK as u64).read_to_end(&mut block)?;
        let header = <[u8; BLOCK]>::try_from(block.as_slice()).ok();
        let Some(header) = header.filter(|header| header.iter().any(|byte| *byte != 0)) else {
            // The end of the archive. Whether it is damaged is for the reader to find out.
            self.ended = true;
            self.ready = Cursor::new(block);
            return Ok(());
        };
        let mut header = tar::Header::from_byte_slice(&header).clone();
        let size = header.entry_size()?;
        let padded = size.next_multiple_of(BLOCK as u64);
        let name = String::from_utf8_lossy(&header.path_bytes()).trim_start_matches("./").to_owned();
        if !["manifest.json", "repositories"].contains(&name.as_str()) || size > LARGEST {
            self.entry = padded;
            self.ready = Cursor::new(block);
            return Ok(());
        }
        let mut text = Vec::new();
        (&mut self.export).take(padded).read_to_end(&mut text)?;
        if text.len() as u64 != padded {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(mut named) = with_short_references(&name, &text[..size as usize]) {
            header.set_size(named.len() as u64);
            header.set_cksum();
            named.resize(named.len().next_multiple_of(BLOCK), 0);
            (block, text) = (header.as_bytes().to_vec(), named);
        }
        block.append(&mut text);
        self.ready = Cursor::new(block);
        Ok(())
    }
}

impl<R: Read> Read for ShortReferences<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.ready.read(buf)?;
            if n > 0 || buf.is_empty() {
                return Ok(n);
            }
            if self.ended {
                return self.export.read(buf);
            }
            if self.entry > 0 {
                let n = (&mut self.export).take(self.entry).read(buf)?;
                self.entry -= n as u64;
                return Ok(n);
            }
            self.next_entry()?;
        }
    }
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

    fn read(bytes: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        ShortReferences::new(bytes).read_to_end(&mut read).unwrap();
        read
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
        assert!(read(&export) == export);
        assert!(read(&[]).is_empty());
        assert!(read(&export[..700]) == export[..700]);
    }

    #[test]
    fn only_the_names_of_a_podman_archive_change() {
        let export = Export::new().layer(&layer(5000)).tagged("docker.io/library/tiny:1.0");
        let (before, after) = (export.bytes(), read(&export.bytes()));
        let (was, is) = (Contents::read(&mut &before[..]).unwrap(), Contents::read(&mut &after[..]).unwrap());
        assert_eq!((was.tags, is.tags), (vec!["docker.io/library/tiny:1.0".to_owned()], vec!["tiny:1.0".to_owned()]));
        assert_eq!((was.image_id, was.layers), (is.image_id, is.layers));
        let names = br#"{"docker.io/library/tiny":{"1.0":"418777"}}"#;
        assert_eq!(with_short_references("repositories", names).unwrap(), br#"{"tiny":{"1.0":"418777"}}"#);
    }

    #[test]
    fn an_archive_that_ends_within_its_manifest_is_refused() {
        let export = Export::new().tagged("localhost/tiny:1").bytes();
        let at = export.windows(8).rposition(|window| window == b"RepoTags").unwrap();
        assert!(ShortReferences::new(&export[..at]).read_to_end(&mut Vec::new()).is_err());
    }
}
