//! HTTPS as a controller is spoken to: one connection a request, nobody waited for without end.
//!
//! hyper and rustls come with the engine's client anyway. Connections are not kept: an upload of minutes
//! may lie between two requests, and a fresh one costs a few milliseconds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body, Frame, SizeHint};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use crate::api::proxy::Proxy;
use crate::api::trust::{Judge, Trust};
use crate::fingerprint::Fingerprint;
use crate::progress::Progress;

/// How long a server may take to take up a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The largest answer that is read: all definitions of a large server have some megabytes.
const LARGEST: usize = 64 << 20;

/// A server that speaks HTTPS.
pub struct Server {
    pub host: String,
    /// `HOST:PORT`, as URLs write it.
    pub place: String,
    pub port: u16,
    /// What stands between us and it.
    pub proxy: Option<Proxy>,
    pub judge: Arc<Judge>,
    pub patience: Duration,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub is_html: bool,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
}

/// Why there was no answer.
#[derive(Debug)]
pub enum Failure {
    Unreachable(String),
    /// Its certificate is not good enough.
    Untrusted {
        fingerprint: Fingerprint,
        changed: bool,
        why: String,
    },
    /// The connection ended too early.
    Cut(String),
    /// Nothing was sent or taken for so long.
    Stalled(Duration),
    /// The request's own body could not be made.
    Ours(String),
}

/// What is sent: a text, or pieces as they come.
pub enum Sending {
    Text(Option<Bytes>),
    Pieces { pieces: mpsc::Receiver<std::io::Result<Bytes>>, size: u64, left: u64 },
}

impl Sending {
    pub fn nothing() -> Self {
        Self::Text(None)
    }

    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::Text(Some(text.into()))
    }
}

struct Counted {
    sending: Sending,
    progress: Progress,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let next = match &mut self.sending {
            Sending::Text(text) => text.take().map(Ok),
            Sending::Pieces { pieces, left, .. } => match std::task::ready!(pieces.poll_recv(cx)) {
                Some(Ok(piece)) => {
                    *left = left.saturating_sub(piece.len() as u64);
                    Some(Ok(piece))
                }
                other => other,
            },
        };
        if let Some(Ok(piece)) = &next {
            self.progress.add(piece.len() as u64);
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.sending, Sending::Text(None) | Sending::Pieces { left: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.sending {
            Sending::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Sending::Pieces { size, .. } => SizeHint::with_exact(*size),
        }
    }
}

impl Server {
    /// # Errors
    /// If there is no answer; any status is one.
    pub async fn request(
        &self,
        head: hyper::http::request::Builder,
        sending: Sending,
        progress: &Progress,
    ) -> Result<Answer, Failure> {
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::Cut(chain(&error)))?;
        let body = Counted { sending, progress: progress.clone() };
        let request: Request<Counted> = head.body(body).map_err(|error| Failure::Ours(error.to_string()))?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|error| failure_of(&error))?;
            read(answer, progress).await
        };
        // The connection is driven here, and ends with the request, whatever becomes of it.
        let (exchange, mut connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
        let driven = async {
            let mut exchange = exchange;
            let mut over = false;
            loop {
                tokio::select! {
                    answer = &mut exchange => return answer,
                    _ = &mut connection, if !over => over = true,
                }
            }
        };
        self.while_it_moves(progress, driven).await
    }

    async fn connect(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
        let stream = match tokio::time::timeout(CONNECT_TIME.min(self.patience), self.reach()).await {
            Ok(reached) => reached?,
            Err(_) => return Err(Failure::Unreachable("it does not take up connections".to_owned())),
        };
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(self.host.clone()).map_err(|error| Failure::Unreachable(error.to_string()))?;
        let config = self.judge.client_config().map_err(|error| Failure::Ours(format!("{error:#}")))?;
        let greeting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        match tokio::time::timeout(self.patience, greeting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.judged(&error)),
            Err(_) => Err(Failure::Stalled(self.patience)),
        }
    }

    /// A connection to it, straight or through the proxy.
    async fn reach(&self) -> Result<TcpStream, Failure> {
        match &self.proxy {
            None => TcpStream::connect((self.host.as_str(), self.port))
                .await
                .map_err(|error| Failure::Unreachable(error.to_string())),
            Some(proxy) => proxy.tunnel_to(&self.place).await.map_err(|error| {
                Failure::Unreachable(format!("by the proxy {} (HTTPS_PROXY): {}", proxy.name(), chain(error.as_ref())))
            }),
        }
    }

    /// Why a TLS greeting failed: the certificate, or something else.
    fn judged(&self, error: &std::io::Error) -> Failure {
        let why = chain(error);
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let about_certificate = matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::General(_)));
        match self.judge.seen().filter(|_| about_certificate) {
            Some(fingerprint) => {
                Failure::Untrusted { fingerprint, changed: matches!(self.judge.trust(), Trust::Pinned(_)), why }
            }
            None => Failure::Unreachable(format!("no TLS connection: {why}")),
        }
    }

    /// Gives up when nothing has moved for as long as patience lasts.
    async fn while_it_moves<T>(
        &self,
        progress: &Progress,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        loop {
            let before = progress.bytes();
            match tokio::time::timeout(self.patience, &mut work).await {
                Ok(done) => return done,
                Err(_) if progress.bytes() == before => return Err(Failure::Stalled(self.patience)),
                Err(_) => {}
            }
        }
    }
}

async fn read(answer: hyper::Response<hyper::body::Incoming>, progress: &Progress) -> Result<Answer, Failure> {
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = answer.status().as_u16();
    let says_html = header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    let retry_after = header("retry-after").and_then(|text| text.trim().parse().ok());
    let (mut body, mut incoming) = (Vec::new(), answer.into_body());
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| failure_of(&error))?;
        if let Some(piece) = frame.data_ref() {
            progress.add(piece.len() as u64);
            body.extend_from_slice(piece);
        }
        if body.len() > LARGEST {
            return Err(Failure::Cut(format!("its answer has more than {LARGEST} bytes")));
        }
    }
    let is_html = says_html
        || body
            .trim_ascii_start()
            .get(..5)
            .is_some_and(|head| head.eq_ignore_ascii_case(b"<html") || head.eq_ignore_ascii_case(b"<!doc"));
    Ok(Answer { status, body, is_html, retry_after })
}

fn failure_of(error: &hyper::Error) -> Failure {
    // Our own body's error comes back as hyper's.
    if error.is_user() { Failure::Ours(chain(error)) } else { Failure::Cut(chain(error)) }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    // rustls adds where to read on.
    text.split(": https://").next().unwrap_or_default().to_owned()
}

/// A piece of a path, with everything escaped that means something in a URL.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_path_are_escaped() {
        assert_eq!(escape("frr-10-4"), "frr-10-4");
        assert_eq!(escape("a b/../c?"), "a%20b%2F..%2Fc%3F");
    }
}
