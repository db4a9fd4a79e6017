//! The archive's file: read piece by piece while it is sent, and verified to be still the one that was saved.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use digests::Digest;
use files::Tree;

const PIECE: usize = 256 << 10;

#[derive(Clone, Debug)]
pub struct ArchiveFile {
    pub path: PathBuf,
    /// The name that the image definition gives it.
    pub name: String,
    pub size: u64,
    pub digest: Digest,
}

impl ArchiveFile {
    /// Streams the file from the offset `from` on, with `head` before and `tail` after it, read on a thread of its own.
    /// `hash` has seen the bytes before `from`. If the whole file is not the saved one, the stream ends with an error
    /// before its last piece: a receiver never holds a complete wrong file.
    pub fn stream(&self, from: u64, mut hash: Sha256, head: Bytes, tail: Bytes) -> mpsc::Receiver<Result<Bytes>> {
        let (sender, pieces) = mpsc::channel(4);
        let archive = self.clone();
        std::thread::spawn(move || {
            // The receiver is gone if the transfer has failed already; then there is nobody to send to.
            let send = |piece: Bytes| piece.is_empty() || sender.blocking_send(Ok(piece)).is_ok();
            if !send(head) {
                return;
            }
            match archive.read(from, &mut hash, send) {
                Ok(()) => {
                    send(tail);
                }
                Err(error) => drop(sender.blocking_send(Err(error))),
            }
        });
        pieces
    }

    /// Gives pieces to `take` until it returns false. The last piece is withheld until the digest is verified.
    fn read(&self, from: u64, hash: &mut Sha256, mut take: impl FnMut(Bytes) -> bool) -> Result<()> {
        let mut file = self.open()?;
        file.seek(SeekFrom::Start(from))?;
        let (mut file, mut held) = (file.take(self.size - from), Bytes::new());
        loop {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece)?;
            piece.truncate(read);
            hash.update(&piece);
            if read == 0 {
                self.check(hash)?;
                take(held);
                return Ok(());
            }
            if !take(std::mem::replace(&mut held, piece.into())) {
                return Ok(());
            }
        }
    }

    pub fn hash_start(&self, length: u64) -> Result<Sha256> {
        let (mut file, mut hash, mut piece) = (self.open()?.take(length), Sha256::new(), vec![0; PIECE]);
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(hash),
                read => hash.update(&piece[..read]),
            }
        }
    }

    pub fn check(&self, hash: &Sha256) -> Result<()> {
        ensure!(hex(hash) == self.digest.hex(), self.changed());
        Ok(())
    }

    fn open(&self) -> Result<File> {
        let (tree, path) = Tree::around(&self.path)?;
        let file = tree.open(path)?;
        ensure!(file.metadata()?.len() == self.size, self.changed());
        Ok(file)
    }

    fn changed(&self) -> anyhow::Error {
        anyhow!("{} has changed since it was saved; run this again", self.path.display())
    }
}

pub fn hex(hash: &Sha256) -> String {
    hex::encode(hash.clone().finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_has_changed_is_not_given_out_completely() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "changed").unwrap();
        let archive = ArchiveFile {
            path: file.path().to_owned(),
            name: "a.tar.gz".into(),
            size: 7,
            digest: Digest::of("another"),
        };
        let mut taken = 0;
        let read = archive.read(0, &mut Sha256::new(), |piece| {
            taken += piece.len();
            true
        });
        let error = read.unwrap_err().to_string();
        assert!(error.contains("has changed since it was saved"), "{error}");
        assert_eq!(taken, 0);
        let longer = ArchiveFile { size: 8, ..archive };
        assert!(longer.read(0, &mut Sha256::new(), |_| true).is_err());
    }

    #[test]
    fn a_stream_goes_on_where_an_earlier_one_ended() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "archive").unwrap();
        let (path, digest) = (file.path().to_owned(), Digest::of("archive"));
        let archive = ArchiveFile { path, name: "a.tar.gz".into(), size: 7, digest };
        let mut pieces = archive.stream(4, archive.hash_start(4).unwrap(), "<".into(), ">".into());
        let mut received = Vec::new();
        while let Some(piece) = pieces.blocking_recv() {
            received.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(received, b"<ive>");
    }
}
