//! SHA-256 digests as container tools write them: 64 lower-case hex digits, sometimes after `sha256:`.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(String);

impl Digest {
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    /// The digest of a file, read in pieces.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        Self::of_reader(&mut std::fs::File::open(path)?)
    }

    /// The digest of all that a reader yields.
    pub fn of_reader(reader: &mut impl Read) -> io::Result<Self> {
        of_reader(reader)
    }

    /// Reads 64 hex digits, with or without `sha256:` before them.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let whole = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        whole.then(|| Self(hex.to_ascii_lowercase()))
    }

    pub fn hex(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, as the docker CLI shortens them.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    fn finish(hash: Sha256) -> Self {
        Self(hex::encode(hash.finalize()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not 64 hex digits"))
    }
}

/// Passes everything on to `W`, and computes its digest and length on the way.
pub struct HashingWriter<W> {
    inner: W,
    hash: Sha256,
    /// Bytes seen so far.
    pub written: u64,
}

impl<W: Write> HashingWriter<W> {
    pub fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), written: 0 }
    }

    /// The inner writer, and the digest of everything written to it.
    pub fn finish(self) -> (W, Digest) {
        (self.inner, Digest::finish(self.hash))
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hash.update(&buf[..n]);
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

pub fn of_reader(reader: &mut impl Read) -> io::Result<Digest> {
    let mut hashing = HashingWriter::new(io::sink());
    io::copy(reader, &mut hashing)?;
    Ok(hashing.finish().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digests_are_those_of_sha256() {
        assert_eq!(Digest::of("abc").hex(), OF_ABC);
        assert_eq!(of_reader(&mut "abc".as_bytes()).unwrap().hex(), OF_ABC);
    }

    #[test]
    fn only_whole_digests_are_read() {
        assert_eq!(Digest::parse(&format!("sha256:{OF_ABC}")), Digest::parse(OF_ABC));
        assert!(Digest::parse(&OF_ABC[1..]).is_none());
        assert!(Digest::parse(&OF_ABC.replace('b', "x")).is_none());
    }
}
