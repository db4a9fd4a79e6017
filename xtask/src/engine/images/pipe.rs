//! Between the engine's asynchronous streams and blocking readers and writers, with bounded memory.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes};
use futures_util::Stream;
use tokio::sync::mpsc;

/// Pieces on the way. The engine sends some ten kilobytes at a time.
const DEPTH: usize = 64;

/// The end that a task feeds, or a thread writes to. If it is dropped before its end is declared, the other end sees an
/// error, never less than all. An empty piece means the end.
pub struct Feeder(mpsc::Sender<Bytes>);

/// The end that a thread reads, or a task by way of a stream.
pub struct Reader {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
    ended: bool,
}

/// A pipe between a task and a thread.
pub fn pipe() -> (Feeder, Reader) {
    let (feeder, pieces) = mpsc::channel(DEPTH);
    (Feeder(feeder), Reader { pieces, current: Bytes::new(), ended: false })
}

impl Feeder {
    /// Hands over a piece. False if the reader is gone.
    pub async fn feed(&self, piece: Bytes) -> bool {
        piece.is_empty() || self.0.send(piece).await.is_ok()
    }

    /// Declares that everything was fed.
    pub async fn end(self) {
        let _ = self.0.send(Bytes::new()).await;
    }

    /// The same, for a thread.
    pub fn end_blocking(self) {
        let _ = self.0.blocking_send(Bytes::new());
    }
}

impl Write for Feeder {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if !buf.is_empty() {
            let sent = self.0.blocking_send(Bytes::copy_from_slice(buf));
            sent.map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader of the export has ended"))?;
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !self.ended {
            self.current = self.pieces.blocking_recv().ok_or_else(cancelled)?;
            self.ended = self.current.is_empty();
        }
        let n = self.current.len().min(buf.len());
        self.current.copy_to_slice(&mut buf[..n]);
        Ok(n)
    }
}

impl Reader {
    pub fn into_stream(mut self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        futures_util::stream::poll_fn(move |context| {
            self.pieces.poll_recv(context).map(|piece| match piece {
                Some(piece) if piece.is_empty() => None,
                piece => Some(piece.ok_or_else(cancelled)),
            })
        })
    }
}

fn cancelled() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the export was cancelled")
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
            assert!(feeder.feed(Bytes::from(piece)).await);
        }
        feeder.end().await;
        assert_eq!(reading.await.unwrap().unwrap(), "abc");
    }

    #[tokio::test]
    async fn a_feeder_that_goes_away_breaks_the_export() {
        let (feeder, mut reader) = pipe();
        assert!(feeder.feed(Bytes::from("a")).await);
        drop(feeder);
        let read = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new())).await.unwrap();
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_a_thread_writes_is_streamed_and_a_break_is_told() {
        use futures_util::TryStreamExt;
        let (mut whole, reader) = pipe();
        let writing = tokio::task::spawn_blocking(move || {
            whole.write_all(b"abc").unwrap();
            whole.end_blocking();
        });
        let pieces: Vec<Bytes> = reader.into_stream().try_collect().await.unwrap();
        assert_eq!(pieces.concat(), b"abc");
        writing.await.unwrap();

        let (broken, reader) = pipe();
        let writing = tokio::task::spawn_blocking(move || drop(broken));
        assert!(reader.into_stream().try_collect::<Vec<Bytes>>().await.is_err());
        writing.await.unwrap();
    }
}
