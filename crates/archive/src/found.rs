//! What is remembered of the entries of an archive, until its manifest says which of them are layers.

use std::collections::HashMap;
use std::io::{self, Write};

use anyhow::{Result, bail};
use digests::{Digest, HashingWriter};
use flate2::write::MultiGzDecoder;

use crate::pass::{Entry, MOST_BYTES};

/// Configurations have a few kilobytes.
pub const LARGEST_CONFIG: u64 = 4 << 20;
/// Of all texts that may be a configuration. In Docker's own layout each layer has one more.
const MOST_TEXT: u64 = 32 << 20;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// An entry that has been read.
pub enum Found {
    File(File),
    /// Where a symbolic link leads.
    Link(String),
    Other,
}

pub struct File {
    pub digest: Digest,
    pub unpacked: Unpacked,
    /// The content, if it may be a configuration.
    pub text: Option<Vec<u8>>,
}

/// The digest of a layer's content, which is the same however it is packed.
pub enum Unpacked {
    /// It is not packed.
    AsItIs,
    Gzip(Digest),
    /// It is packed with zstd, which is not unpacked here.
    Zstd,
    /// It is packed with gzip, and damaged; or it is far too large.
    Damaged,
}

/// All entries, by name.
pub struct Entries {
    by_name: HashMap<String, Found>,
    /// Bytes of texts that may still be kept.
    text: u64,
    /// Bytes that may still be unpacked.
    unpacked: u64,
}

impl Entries {
    pub fn new() -> Self {
        Self { by_name: HashMap::new(), text: MOST_TEXT, unpacked: MOST_BYTES }
    }

    /// Whether there was no entry of that name.
    pub fn add(&mut self, name: String, found: Found) -> bool {
        self.by_name.insert(name, found).is_none()
    }

    pub fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub fn forget(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// The file of that name. Docker's own layout has a layer that occurs twice as a link, `../<id>/layer.tar`.
    ///
    /// # Errors
    /// If there is none; `what` says what it would be.
    pub fn file(&self, name: &str, what: &str) -> Result<&File> {
        let found = match self.by_name.get(name) {
            Some(Found::Link(target)) => target_of(name, target).and_then(|name| self.by_name.get(&name)),
            found => found,
        };
        match found {
            Some(Found::File(file)) => Ok(file),
            Some(_) => bail!("the archive's {what} is no file"),
            None => bail!("the archive names a {what} that it does not contain"),
        }
    }

    /// The name of a link below which another entry lies: it would be unpacked elsewhere, over a file that was judged.
    pub fn way_through_a_link(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
        names.sort_unstable();
        let links = self.by_name.iter().filter(|(_, found)| matches!(found, Found::Link(_)));
        let is_way = |link: &&str| {
            let below = format!("{link}/");
            names.get(names.partition_point(|name| *name < below.as_str())).is_some_and(|name| name.starts_with(&below))
        };
        links.map(|(name, _)| name.as_str()).find(is_way)
    }

    /// Begins to read an entry.
    pub fn watch(&mut self, entry: &Entry) -> Watch<'_> {
        Watch { kind: Kind::of(entry), hash: HashingWriter::new(io::sink()), text: None, gzip: None, entries: self }
    }
}

/// Whether a link of that name leads to a place in the archive.
pub fn stays_inside(link: &str, target: &str) -> bool {
    target_of(link, target).is_some()
}

/// The name of the entry that a link leads to, if it stays in the archive.
fn target_of(link: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            // Of an absolute path, too.
            "" => return None,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

enum Kind {
    /// Nothing has been read of it.
    NewFile {
        size: u64,
    },
    Plain,
    Gzip,
    Zstd,
    Link(String),
    Other,
}

impl Kind {
    fn of(entry: &Entry) -> Self {
        match &entry.link {
            Some(target) => Self::Link(target.clone()),
            None if entry.is_file => Self::NewFile { size: entry.size },
            None => Self::Other,
        }
    }
}

/// An entry while it is read.
pub struct Watch<'e> {
    entries: &'e mut Entries,
    kind: Kind,
    hash: HashingWriter<io::Sink>,
    text: Option<Vec<u8>>,
    /// None once it has failed.
    gzip: Option<MultiGzDecoder<Bounded>>,
}

impl Watch<'_> {
    /// The next piece of its content, of which only the last one is small.
    pub fn see(&mut self, piece: &[u8]) {
        if let Kind::NewFile { size } = self.kind {
            self.begin(size, piece);
        }
        // A sink takes everything.
        let _ = self.hash.write_all(piece);
        self.text.iter_mut().for_each(|text| text.extend_from_slice(piece));
        if self.gzip.as_mut().is_some_and(|gzip| gzip.write_all(piece).is_err()) {
            self.gzip = None;
        }
    }

    fn begin(&mut self, size: u64, piece: &[u8]) {
        self.kind = Kind::Plain;
        if piece.starts_with(GZIP) {
            self.kind = Kind::Gzip;
            let bounded = Bounded { hash: HashingWriter::new(io::sink()), left: self.entries.unpacked };
            self.gzip = Some(MultiGzDecoder::new(bounded));
        } else if piece.starts_with(ZSTD) {
            self.kind = Kind::Zstd;
        } else if size <= LARGEST_CONFIG.min(self.entries.text) && piece.trim_ascii_start().starts_with(b"{") {
            self.entries.text -= size;
            self.text = Some(Vec::new());
        }
    }

    /// What was found.
    pub fn end(self) -> Found {
        let unpacked = match self.kind {
            Kind::Link(target) => return Found::Link(target),
            Kind::Other => return Found::Other,
            Kind::NewFile { .. } | Kind::Plain => Unpacked::AsItIs,
            Kind::Zstd => Unpacked::Zstd,
            Kind::Gzip => match self.gzip.and_then(|gzip| gzip.finish().ok()) {
                Some(bounded) => {
                    self.entries.unpacked = bounded.left;
                    Unpacked::Gzip(bounded.hash.finish().1)
                }
                None => Unpacked::Damaged,
            },
        };
        Found::File(File { digest: self.hash.finish().1, unpacked, text: self.text })
    }
}

/// Computes a digest of at most so many bytes.
struct Bounded {
    hash: HashingWriter<io::Sink>,
    left: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        self.hash.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
