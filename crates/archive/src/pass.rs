//! Passes a tar file on, entry by entry, with bounded memory.
//!
//! The tar crate reads long names and extended headers whole, of any length, and chains of sparse headers without end.
//! So this module reads the headers, by means of that crate's types, and refuses what no image archive has.

use std::io::{self, Read, Write};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tar::{EntryType, Header, PaxExtensions};

const BLOCK: usize = 512;
/// An archive of one image has a few dozen entries.
const MOST_ENTRIES: usize = 10_000;
/// The longest path that Linux knows. Those of an image archive have less than 100 bytes.
const LONGEST_NAME: usize = 4096;
/// A header that extends another one holds a name, a size, or times.
const LARGEST_EXTENSION: u64 = 64 << 10;
/// The largest unpacked archive, so that a small file cannot keep this program busy for ever.
pub const MOST_BYTES: u64 = 32 << 30;
/// How much of an entry is in memory at a time.
const PIECE: usize = 1 << 17;

const DAMAGED: &str = "it is not a tar file, or it is damaged";

/// The error of a writer, as opposed to those of the archive.
#[derive(Debug, thiserror::Error)]
#[error("writing the archive")]
pub struct WriteFailed(#[source] io::Error);

/// One pass over a tar file. Each entry is to be passed on, replaced, or left out before the next one is asked for.
pub struct Pass<R, W> {
    from: Source<R>,
    to: Sink<W>,
    entries: usize,
    most_entries: usize,
    piece: Vec<u8>,
}

/// An entry whose content has not been read yet.
pub struct Entry {
    /// Without `/` or `./` at its beginning, and without `/` at its end.
    pub name: String,
    pub is_file: bool,
    pub is_folder: bool,
    /// Where a symbolic link leads.
    pub link: Option<String>,
    /// What it is, if it is neither a file, a folder nor a symbolic link.
    pub special: Option<&'static str>,
    /// Bytes of its content.
    pub size: u64,
    /// Its header, and the ones before it that extend it.
    headers: Vec<u8>,
}

impl Entry {
    fn padding(&self) -> usize {
        (self.size.wrapping_neg() % BLOCK as u64) as usize
    }
}

impl<R: Read, W: Write> Pass<R, W> {
    pub fn new(from: R, to: W, most_bytes: u64) -> Self {
        let (from, to) = (Source { reader: from, left: most_bytes, most_bytes }, Sink { writer: to, written: 0 });
        Self { from, to, entries: 0, most_entries: MOST_ENTRIES, piece: vec![0; PIECE] }
    }

    /// For a tar file that is no image archive.
    pub fn with_most_entries(self, most_entries: usize) -> Self {
        Self { most_entries, ..self }
    }

    /// The next entry. After the last one, what follows it is passed on, up to the end of the file.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut extended = Extended::default();
        loop {
            let mut block = [0; BLOCK];
            let read = self.from.read_all(&mut block)?;
            if read == 0 || block == [0; BLOCK] {
                ensure!(extended.headers.is_empty(), DAMAGED);
                self.to.write(&block[..read])?;
                self.pass_rest()?;
                return Ok(None);
            }
            if self.entries == 0
                && let Some(packed) = packed_with(&block[..read])
            {
                bail!("it is packed with {packed}; CML takes `.tar`, and `.tar.gz`, which is packed with gzip once");
            }
            if self.entries == 0
                && let Some(what) = text_instead(&block[..read])
            {
                bail!("{what}");
            }
            ensure!(read == BLOCK, breaks_off());
            let header = Header::from_byte_slice(&block);
            ensure!(is_intact(header), DAMAGED);
            extended.headers.extend_from_slice(&block);
            let Some(extension) = extended.slot(header.entry_type()) else {
                self.entries += 1;
                let most = self.most_entries;
                ensure!(self.entries <= most, "it has more than {most} entries, which no image has");
                return entry(header, extended).map(Some);
            };
            ensure!(extension.is_none(), "it has two extended headers of one kind for the same entry");
            let size = header.entry_size().map_err(|_| anyhow!(DAMAGED))?;
            ensure!(
                size <= LARGEST_EXTENSION,
                "it has an extended header (a long name, for example) of {size} bytes; at most {LARGEST_EXTENSION} are \
                 read"
            );
            let mut content = self.from.exactly(size.next_multiple_of(BLOCK as u64))?;
            extended.headers.extend_from_slice(&content);
            content.truncate(size as usize);
            *extended.slot(header.entry_type()).context(DAMAGED)? = Some(content);
        }
    }

    /// Passes an entry on as it is. `see` gets its content, in pieces of which only the last one is small.
    pub fn keep(&mut self, entry: &Entry, mut see: impl FnMut(&[u8])) -> Result<()> {
        self.to.write(&entry.headers)?;
        let mut left = entry.size;
        while left > 0 {
            let size = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
            let piece = &mut self.piece[..size];
            ensure!(self.from.read_all(piece)? == size, breaks_off());
            see(piece);
            self.to.write(piece)?;
            left -= size as u64;
        }
        let padding = self.from.exactly(entry.padding() as u64)?;
        self.to.write(&padding)
    }

    /// Lets `read` read the content of an entry, as far as it wants, and passes nothing on.
    pub fn read_with<T>(&mut self, entry: &Entry, read: impl FnOnce(&mut dyn Read) -> T) -> Result<T> {
        let mut content = Content { from: &mut self.from, left: entry.size, failed: None };
        let result = read(&mut content);
        let (mut left, failed) = (content.left, content.failed);
        failed.map_or(Ok(()), Err)?;
        while left > 0 {
            left -= self.from.piece(&mut self.piece, left)?.len() as u64;
        }
        self.from.exactly(entry.padding() as u64)?;
        Ok(result)
    }

    /// The content of an entry of which the caller knows that it is small.
    pub fn content(&mut self, entry: &Entry) -> Result<Vec<u8>> {
        let mut content = self.from.exactly(entry.size + entry.padding() as u64)?;
        content.truncate(entry.size as usize);
        Ok(content)
    }

    /// Writes an entry whose content was read.
    pub fn put(&mut self, entry: &Entry, content: &[u8]) -> Result<()> {
        let size = content.len() as u64;
        if size == entry.size {
            self.to.write(&entry.headers)?;
        } else {
            // Without the headers that extend it: they may state the size that it had.
            let mut header = Header::from_byte_slice(last_block(&entry.headers)?).clone();
            header.set_path(&entry.name).context(DAMAGED)?;
            header.set_size(size);
            header.set_cksum();
            self.to.write(header.as_bytes())?;
        }
        self.to.write(content)?;
        self.to.write(&vec![0; content.len().next_multiple_of(BLOCK) - content.len()])
    }

    /// The bytes that were passed on.
    pub fn written(&self) -> u64 {
        self.to.written
    }

    fn pass_rest(&mut self) -> Result<()> {
        loop {
            match self.from.read(&mut self.piece)? {
                0 => return Ok(()),
                n => self.to.write(&self.piece[..n])?,
            }
        }
    }
}

/// The headers before an entry's own.
#[derive(Default)]
struct Extended {
    headers: Vec<u8>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Vec<u8>>,
}

impl Extended {
    /// Where the content of a header of this kind belongs, if it extends the next one.
    fn slot(&mut self, kind: EntryType) -> Option<&mut Option<Vec<u8>>> {
        match kind {
            EntryType::GNULongName => Some(&mut self.long_name),
            EntryType::GNULongLink => Some(&mut self.long_link),
            EntryType::XHeader => Some(&mut self.pax),
            _ => None,
        }
    }
}

fn entry(header: &Header, extended: Extended) -> Result<Entry> {
    let mut size = header.entry_size().map_err(|_| anyhow!(DAMAGED))?;
    let mut name = header.path_bytes().into_owned();
    let mut link = header.link_name_bytes().map(std::borrow::Cow::into_owned);
    let mut is_sparse = header.entry_type() == EntryType::GNUSparse;
    for record in PaxExtensions::new(extended.pax.as_deref().unwrap_or_default()) {
        let record = record.map_err(|_| anyhow!(DAMAGED))?;
        match record.key_bytes() {
            b"path" => name = record.value_bytes().to_owned(),
            b"linkpath" => link = Some(record.value_bytes().to_owned()),
            b"size" => size = record.value().ok().and_then(|value| value.parse().ok()).context(DAMAGED)?,
            key => is_sparse |= key.starts_with(b"GNU.sparse."),
        }
    }
    if let Some(long) = extended.long_name {
        name = long.split(|byte| *byte == 0).next().unwrap_or_default().to_owned();
    }
    if let Some(long) = extended.long_link {
        link = Some(long.split(|byte| *byte == 0).next().unwrap_or_default().to_owned());
    }
    let kind = header.entry_type();
    let link = link.filter(|_| kind.is_symlink()).map(|link| String::from_utf8_lossy(&link).into_owned());
    let (is_folder, shown) = (kind.is_dir() || name.ends_with(b"/"), shown(&name));
    ensure!(name.len() <= LONGEST_NAME, "it has an entry whose name has more than {LONGEST_NAME} bytes, {shown}");
    let name = clean(&name).with_context(|| format!("it has an entry that would lie outside of it, {shown}"))?;
    ensure!(!is_sparse, "its entry {shown} is a sparse file, which no image archive contains");
    ensure!(size <= MOST_BYTES, "its entry {shown} claims to have {size} bytes, more than any image has");
    let has_content = !(kind.is_dir() || kind.is_symlink() || special(kind).is_some());
    ensure!(size == 0 || has_content, "its entry {shown} is no file, but has a content");
    let is_file = kind.is_file() && !is_folder;
    let special = match kind {
        EntryType::Symlink if link.is_none() => Some("a link without a target"),
        EntryType::Regular | EntryType::Directory | EntryType::Symlink | EntryType::XGlobalHeader => None,
        kind => special(kind).or(Some("of a kind that engines do not save")),
    };
    Ok(Entry { name, is_file, is_folder, link, special, size, headers: extended.headers })
}

/// What an entry is that is neither a file, a folder nor a symbolic link, and has no content of its own.
fn special(kind: EntryType) -> Option<&'static str> {
    match kind {
        EntryType::Link => Some("a hard link"),
        EntryType::Char | EntryType::Block => Some("a device"),
        EntryType::Fifo => Some("a named pipe"),
        _ => None,
    }
}

/// A name as it is after unpacking. `None` if it leads out of the folder.
fn clean(name: &[u8]) -> Option<String> {
    let name = String::from_utf8_lossy(name);
    let parts = || name.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts().all(|part| part != "..").then(|| parts().collect::<Vec<_>>().join("/"))
}

/// The beginning of a name, for a message.
fn shown(name: &[u8]) -> String {
    text::excerpt(&String::from_utf8_lossy(&name[..name.len().min(LONGEST_NAME)]), 100)
}

fn is_intact(header: &Header) -> bool {
    let mut again = header.clone();
    again.set_cksum();
    matches!((header.cksum(), again.cksum()), (Ok(stated), Ok(computed)) if stated == computed)
}

/// The program that a file was packed with, if it is not a tar file; gzip's first layer has been taken off.
fn packed_with(head: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 6] = [
        (&[0x1f, 0x8b], "gzip twice"),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        (b"BZh", "bzip2"),
        (b"PK\x03\x04", "zip"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    ];
    KNOWN.iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, program)| *program)
}

/// What a text is that was downloaded in place of an archive.
fn text_instead(head: &[u8]) -> Option<&'static str> {
    // [git-lfs: docs/spec.md, The Pointer]
    if head.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Some("it is a pointer of Git LFS, not the archive itself: run `git lfs pull`");
    }
    let lower = head.trim_ascii_start().to_ascii_lowercase();
    let is_page = [&b"<!doctype html"[..], b"<html"].iter().any(|start| lower.starts_with(start));
    is_page.then_some("it is a web page (HTML), not an archive: download the archive itself, perhaps after a login")
}

fn last_block(headers: &[u8]) -> Result<&[u8]> {
    headers.rchunks(BLOCK).next().context(DAMAGED)
}

fn breaks_off() -> anyhow::Error {
    anyhow!("it breaks off; the file is not complete")
}

struct Source<R> {
    reader: R,
    /// How many more bytes may be read.
    left: u64,
    most_bytes: u64,
}

impl<R: Read> Source<R> {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        let n = loop {
            match self.reader.read(to) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(unreadable)?,
            }
        };
        let left = self.left.checked_sub(n as u64);
        let most = self.most_bytes;
        self.left =
            left.with_context(|| format!("it unpacks to more than {}, larger than any image", text::size(most)))?;
        Ok(n)
    }

    /// Fills the whole of `to`, unless the file ends before.
    fn read_all(&mut self, to: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < to.len() {
            match self.read(&mut to[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        Ok(filled)
    }

    /// The next bytes of the file. Only for sizes that were checked.
    fn exactly(&mut self, size: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; size as usize];
        ensure!(self.read_all(&mut bytes)? == bytes.len(), breaks_off());
        Ok(bytes)
    }

    /// Some bytes, at most `most` and at least one.
    fn piece<'a>(&mut self, buffer: &'a mut [u8], most: u64) -> Result<&'a [u8]> {
        let size = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        match self.read(&mut buffer[..size])? {
            0 => bail!(breaks_off()),
            n => Ok(&buffer[..n]),
        }
    }
}

/// The content of an entry, as a reader.
struct Content<'a, R> {
    from: &'a mut Source<R>,
    left: u64,
    /// The error of the archive, as opposed to those of its content.
    failed: Option<anyhow::Error>,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let most = to.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let failed = match self.from.read(&mut to[..most]) {
            Ok(0) => breaks_off(),
            Ok(n) => {
                self.left -= n as u64;
                return Ok(n);
            }
            Err(error) => error,
        };
        self.failed = Some(failed);
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// What an error of the reader means to the user.
fn unreadable(error: io::Error) -> anyhow::Error {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match error.kind() {
        UnexpectedEof => breaks_off(),
        InvalidData | InvalidInput if error.raw_os_error().is_none() => {
            anyhow::Error::from(error).context("its compression (gzip) is damaged")
        }
        _ => anyhow::Error::from(error).context("reading the image archive"),
    }
}

struct Sink<W> {
    writer: W,
    written: u64,
}

impl<W: Write> Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(WriteFailed)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: EntryType, name: &str, content: &[u8]) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path(name).unwrap();
        header.set_size(content.len() as u64);
        header.set_cksum();
        let mut entry = [header.as_bytes(), content].concat();
        entry.resize(entry.len().next_multiple_of(BLOCK), 0);
        entry
    }

    fn pax(name: &str, size: u64) -> Vec<u8> {
        let records: [(&str, &[u8]); 2] = [("path", name.as_bytes()), ("size", &size.to_string().into_bytes())];
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_pax_extensions(records).unwrap();
        std::mem::take(tar.get_mut())
    }

    type Found = (String, u64, Vec<u8>);

    /// Passes everything on. Returns name, size and content of each entry, and the copy.
    fn pass(tar: &[u8], most_bytes: u64) -> Result<(Vec<Found>, Vec<u8>)> {
        let (mut copy, mut entries) = (Vec::new(), Vec::new());
        let mut pass = Pass::new(tar, &mut copy, most_bytes);
        while let Some(entry) = pass.next_entry()? {
            let mut content = Vec::new();
            pass.keep(&entry, |piece| content.extend_from_slice(piece))?;
            entries.push((entry.name, entry.size, content));
        }
        assert_eq!(pass.written(), copy.len() as u64);
        Ok((entries, copy))
    }

    #[test]
    fn long_names_and_sizes_in_extended_headers_count_and_every_byte_is_passed_on() {
        let long = "a/".repeat(200) + "layer.tar";
        let mut with_size = entry(EntryType::Regular, "short", b"");
        with_size.extend([b'x'; BLOCK]);
        let tar = [
            entry(EntryType::XGlobalHeader, "global", b"12 comment=\n"),
            entry(EntryType::GNULongName, "././@LongLink", format!("{long}\0").as_bytes()),
            entry(EntryType::Regular, "short", b"layer"),
            pax("blobs/x", 5),
            with_size,
            vec![0; 2 * BLOCK],
            b"more".to_vec(),
        ]
        .concat();
        let (entries, copy) = pass(&tar, MOST_BYTES).unwrap();
        assert!(copy == tar);
        let global = ("global".to_owned(), 12, b"12 comment=\n".to_vec());
        let blob = ("blobs/x".to_owned(), 5, b"xxxxx".to_vec());
        assert_eq!(entries, [global, (long, 5, b"layer".to_vec()), blob]);
    }

    #[test]
    fn a_file_that_is_replaced_has_its_own_size() {
        let tar = [pax("./manifest.json", 1), entry(EntryType::Regular, "short", b"1")].concat();
        let mut copy = Vec::new();
        let mut replacing = Pass::new(tar.as_slice(), &mut copy, MOST_BYTES);
        let manifest = replacing.next_entry().unwrap().unwrap();
        assert_eq!(replacing.content(&manifest).unwrap(), b"1");
        replacing.put(&manifest, b"longer").unwrap();
        assert!(replacing.next_entry().unwrap().is_none());
        let (entries, _) = pass(&copy, MOST_BYTES).unwrap();
        assert_eq!(entries, [("manifest.json".to_owned(), 6, b"longer".to_vec())]);
    }

    #[test]
    fn another_packing_is_named() {
        for (head, program) in [(&b"\xfd7zXZ\0"[..], "xz"), (b"PK\x03\x04", "zip"), (b"\x1f\x8b\x08", "gzip twice")] {
            let mut file = head.to_vec();
            for size in [head.len(), 4 * BLOCK] {
                file.resize(size, 7);
                let said = pass(&file, MOST_BYTES).unwrap_err().to_string();
                assert!(said.starts_with(&format!("it is packed with {program}; CML takes ")), "{said}");
            }
        }
    }

    #[test]
    fn what_was_downloaded_in_place_of_an_archive_is_named() {
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
        for (text, said) in
            [(pointer, "git lfs pull"), ("\n<!DOCTYPE html><html>", "a web page"), ("<HTML>", "a web page")]
        {
            for size in [text.len(), 4 * BLOCK] {
                let mut file = text.as_bytes().to_vec();
                file.resize(size, b' ');
                let error = pass(&file, MOST_BYTES).unwrap_err().to_string();
                assert!(error.contains(said), "{error}");
            }
        }
    }

    #[test]
    fn reading_ends_at_a_limit() {
        let tar = [entry(EntryType::Regular, "a", b"1"), vec![0; 8 * BLOCK]].concat();
        assert!(pass(&tar, tar.len() as u64).is_ok());
        let said = pass(&tar, tar.len() as u64 - 1).unwrap_err().to_string();
        assert_eq!(said, "it unpacks to more than 5.1 kB, larger than any image");
    }
}
