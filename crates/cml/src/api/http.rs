//! HTTPS to a controller: one connection per request, and no wait without a limit.
//!
//! hyper and rustls come with the engine's client anyway. Connections are not kept open: an upload of minutes may lie
//! between two requests, and a new connection costs a few milliseconds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::api::proxy::Proxy;
use crate::api::trust::{PinningVerifier, Trust};
use crate::fingerprint::Fingerprint;
use crate::progress::Progress;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer that is read: all definitions of a large server are some megabytes.
const LARGEST_ANSWER: usize = 64 << 20;

/// Everything but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An HTTPS server.
pub struct Server {
    /// As messages name it.
    pub name: String,
    pub host: String,
    pub port: u16,
    /// `HOST:PORT`, as URLs write it.
    pub authority: String,
    /// The proxy on the way to it.
    pub proxy: Option<Proxy>,
    pub verifier: Arc<PinningVerifier>,
    pub idle_timeout: Duration,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub is_html: bool,
    /// `Retry-After`, if it is given in seconds.
    pub retry_after: Option<u64>,
}

/// Why there was no answer.
#[derive(Debug)]
pub enum RequestError {
    /// Its certificate is not accepted.
    Untrusted { fingerprint: Fingerprint, is_pinned_another: bool, why: String },
    /// There was no connection, or it ended too early: another try may succeed.
    Unreachable(String),
    /// The server was silent for too long, or the request could not be made because a file has changed.
    Failed(String),
}

/// What is sent, in pieces as they come, and counted.
pub struct RequestBody {
    pieces: mpsc::Receiver<anyhow::Result<Bytes>>,
    size: u64,
    left: u64,
    progress: Progress,
}

impl RequestBody {
    pub fn new(pieces: mpsc::Receiver<anyhow::Result<Bytes>>, size: u64, progress: &Progress) -> Self {
        Self { pieces, size, left: size, progress: progress.clone() }
    }

    pub fn text(text: &str) -> Self {
        let (sender, pieces) = mpsc::channel(1);
        // There is room for one piece.
        let _ = sender.try_send(Ok(Bytes::copy_from_slice(text.as_bytes())));
        Self::new(pieces, text.len() as u64, &Progress::default())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = anyhow::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<anyhow::Result<Frame<Bytes>>>> {
        let next = ready!(self.pieces.poll_recv(cx));
        if let Some(Ok(piece)) = &next {
            self.left = self.left.saturating_sub(piece.len() as u64);
            self.progress.add(piece.len() as u64);
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size)
    }
}

impl Server {
    /// Sends a request; returns the answer, whatever its status.
    pub async fn request(
        &self,
        head: hyper::http::request::Builder,
        body: RequestBody,
    ) -> Result<Answer, RequestError> {
        let progress = body.progress.clone();
        let stream = self.connect().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.failure(&error))?;
        let request = head.body(body).map_err(|error| RequestError::Failed(error.to_string()))?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|error| self.failure(&error))?;
            self.read(answer, &progress).await
        };
        // The connection is driven here, so that it ends with the request however that ends.
        let driven = async {
            let (mut exchange, mut connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
            let mut is_closed = false;
            loop {
                tokio::select! {
                    answer = &mut exchange => return answer,
                    _ = &mut connection, if !is_closed => is_closed = true,
                }
            }
        };
        self.until_stalled(&progress, driven).await
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, RequestError> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT.min(self.idle_timeout), self.connect_tcp());
        let stream = connecting.await.unwrap_or_else(|_| Err("it does not accept the connection".to_owned()));
        let stream = stream.map_err(|why| self.unreachable(&why))?;
        let _ = stream.set_nodelay(true);
        let name = ServerName::try_from(self.host.clone()).map_err(|error| self.unreachable(&error.to_string()))?;
        let config = self.verifier.client_config().map_err(|error| RequestError::Failed(format!("{error:#}")))?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        match tokio::time::timeout(self.idle_timeout, handshake).await {
            Ok(stream) => stream.map_err(|error| self.handshake_error(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    async fn connect_tcp(&self) -> Result<TcpStream, String> {
        let Some(proxy) = &self.proxy else {
            return TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| error.to_string());
        };
        let tunnel = proxy.tunnel_to(&self.authority).await;
        tunnel.map_err(|error| format!("through the proxy {} (HTTPS_PROXY): {}", proxy.name(), chain(error.as_ref())))
    }

    /// Why a TLS handshake failed: the certificate, or something else.
    fn handshake_error(&self, error: &std::io::Error) -> RequestError {
        let why = chain(error);
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let about_certificate = matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::General(_)));
        match self.verifier.seen().filter(|_| about_certificate) {
            Some(fingerprint) => {
                let is_pinned_another = matches!(self.verifier.trust(), Trust::Pinned(_));
                RequestError::Untrusted { fingerprint, is_pinned_another, why }
            }
            None => self.unreachable(&format!("no TLS connection: {why}")),
        }
    }

    fn unreachable(&self, why: &str) -> RequestError {
        RequestError::Unreachable(format!("cannot reach {}: {why}", self.name))
    }

    fn failure(&self, error: &hyper::Error) -> RequestError {
        // An error of our own body comes back as hyper's.
        if error.is_user() {
            return RequestError::Failed(chain(error));
        }
        RequestError::Unreachable(format!("the connection to {} was lost: {}", self.name, chain(error)))
    }

    fn silent(&self) -> RequestError {
        let seconds = self.idle_timeout.as_secs();
        RequestError::Failed(format!("{} has been silent for {seconds} s (--timeout)", self.name))
    }

    /// Does `work`, but gives up when no byte has moved for the idle timeout.
    async fn until_stalled<T>(
        &self,
        progress: &Progress,
        work: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        let mut work = std::pin::pin!(work);
        loop {
            let before = progress.bytes();
            match tokio::time::timeout(self.idle_timeout, &mut work).await {
                Ok(result) => return result,
                Err(_) if progress.bytes() == before => return Err(self.silent()),
                Err(_) => {}
            }
        }
    }

    async fn read(
        &self,
        answer: hyper::Response<hyper::body::Incoming>,
        progress: &Progress,
    ) -> Result<Answer, RequestError> {
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = answer.status().as_u16();
        let says_html = header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        let retry_after = header("retry-after").and_then(|text| text.trim().parse().ok());
        let (mut body, mut incoming) = (Vec::new(), answer.into_body());
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| self.failure(&error))?;
            if let Some(piece) = frame.data_ref() {
                progress.add(piece.len() as u64);
                body.extend_from_slice(piece);
            }
            if body.len() > LARGEST_ANSWER {
                let why = format!("the answer of {} has more than {LARGEST_ANSWER} bytes", self.name);
                return Err(RequestError::Failed(why));
            }
        }
        let start = body.trim_ascii_start().get(..5).unwrap_or_default();
        let is_html = says_html || start.eq_ignore_ascii_case(b"<html") || start.eq_ignore_ascii_case(b"<!doc");
        Ok(Answer { status, body, is_html, retry_after })
    }
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
    // rustls appends a link to its documentation.
    text.split(": https://").next().unwrap_or_default().to_owned()
}

/// A segment of a path, with everything encoded that has a meaning in a URL.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_of_a_path_are_encoded() {
        assert_eq!(segment("frr-10-4"), "frr-10-4");
        assert_eq!(segment("a b/../c?"), "a%20b%2F..%2Fc%3F");
    }
}
