//! From the engine's asynchronous stream to a blocking reader, with bounded memory.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

/// Pieces on the way. The engine sends some ten kilobytes at a time.
const DEPTH: usize = 64;

/// The end that is fed. Dropped without [`Feeder::end`], the reader sees a broken export, never a
/// short one.
pub struct Feeder(mpsc::Sender<io::Result<Bytes>>);

/// The end that is read.
pub struct Reader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    ended: bool,
}

/// A pipe between a task and a thread.
pub fn pipe() -> (Feeder, Reader) {
    let (feeder, pieces) = mpsc::channel(DEPTH);
    (Feeder(feeder), Reader { pieces, current: Bytes::new(), ended: false })
}

impl Feeder {
    /// Hands over a piece, or the error that ends the export. False if nobody reads any more.
    pub async fn feed(&self, piece: io::Result<Bytes>) -> bool {
        // An empty piece means the end.
        let empty = piece.as_ref().is_ok_and(Bytes::is_empty);
        empty || self.0.send(piece).await.is_ok()
    }

    /// The export is whole.
    pub async fn end(self) {
        let _ = self.0.send(Ok(Bytes::new())).await;
    }
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the export was given up")),
            }
            self.ended = self.current.is_empty();
        }
        let n = self.current.len().min(buf.len());
        self.current.copy_to_slice(&mut buf[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_pieces_arrive_in_order() {
        let (feeder, mut reader) = pipe();
        let reading = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).map(|_| text)
        });
        for piece in ["a", "", "bc"] {
            assert!(feeder.feed(Ok(Bytes::from(piece))).await);
        }
        feeder.end().await;
        assert_eq!(reading.await.unwrap().unwrap(), "abc");
    }

    #[tokio::test]
    async fn a_feeder_that_goes_away_breaks_the_export() {
        let (feeder, mut reader) = pipe();
        assert!(feeder.feed(Ok(Bytes::from("a"))).await);
        drop(feeder);
        let read = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new())).await.unwrap();
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
