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
use hyper::Request;
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
    Unreachable(String),
    /// Its certificate is not accepted.
    Untrusted {
        fingerprint: Fingerprint,
        is_pinned_another: bool,
        why: String,
    },
    /// The connection ended too early.
    ConnectionLost(String),
    /// No byte was sent or received for so long.
    Stalled(Duration),
    /// The request itself could not be made, for example because a file has changed.
    Request(String),
}

/// What is sent: a text, or pieces as they come.
pub enum RequestBody {
    Text(Option<Bytes>),
    Pieces { pieces: mpsc::Receiver<anyhow::Result<Bytes>>, size: u64, left: u64 },
}

impl RequestBody {
    pub fn empty() -> Self {
        Self::Text(None)
    }

    pub fn text(text: impl Into<Bytes>) -> Self {
        Self::Text(Some(text.into()))
    }
}

struct CountedBody {
    body: RequestBody,
    progress: Progress,
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = anyhow::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Option<anyhow::Result<Frame<Bytes>>>> {
        let next = match &mut self.body {
            RequestBody::Text(text) => text.take().map(Ok),
            RequestBody::Pieces { pieces, left, .. } => {
                let next = ready!(pieces.poll_recv(cx));
                if let Some(Ok(piece)) = &next {
                    *left = left.saturating_sub(piece.len() as u64);
                }
                next
            }
        };
        if let Some(Ok(piece)) = &next {
            self.progress.add(piece.len() as u64);
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.body, RequestBody::Text(None) | RequestBody::Pieces { left: 0, .. })
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            RequestBody::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            RequestBody::Pieces { size, .. } => SizeHint::with_exact(*size),
        }
    }
}

impl Server {
    /// Sends a request; returns the answer, whatever its status.
    pub async fn request(
        &self,
        head: hyper::http::request::Builder,
        body: RequestBody,
        progress: &Progress,
    ) -> Result<Answer, RequestError> {
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| RequestError::ConnectionLost(chain(&error)))?;
        let body = CountedBody { body, progress: progress.clone() };
        let request: Request<CountedBody> =
            head.body(body).map_err(|error| RequestError::Request(error.to_string()))?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|error| request_error(&error))?;
            read(answer, progress).await
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
        self.until_stalled(progress, driven).await
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, RequestError> {
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT.min(self.idle_timeout), self.connect_tcp()).await {
            Ok(connected) => connected?,
            Err(_) => return Err(RequestError::Unreachable("it does not accept the connection".to_owned())),
        };
        let _ = stream.set_nodelay(true);
        let name =
            ServerName::try_from(self.host.clone()).map_err(|error| RequestError::Unreachable(error.to_string()))?;
        let config = self.verifier.client_config().map_err(|error| RequestError::Request(format!("{error:#}")))?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        match tokio::time::timeout(self.idle_timeout, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(self.handshake_error(&error)),
            Err(_) => Err(RequestError::Stalled(self.idle_timeout)),
        }
    }

    async fn connect_tcp(&self) -> Result<TcpStream, RequestError> {
        match &self.proxy {
            None => TcpStream::connect((self.host.as_str(), self.port))
                .await
                .map_err(|error| RequestError::Unreachable(error.to_string())),
            Some(proxy) => proxy.tunnel_to(&self.authority).await.map_err(|error| {
                let (name, why) = (proxy.name(), chain(error.as_ref()));
                RequestError::Unreachable(format!("through the proxy {name} (HTTPS_PROXY): {why}"))
            }),
        }
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
            None => RequestError::Unreachable(format!("no TLS connection: {why}")),
        }
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
                Err(_) if progress.bytes() == before => return Err(RequestError::Stalled(self.idle_timeout)),
                Err(_) => {}
            }
        }
    }
}

async fn read(answer: hyper::Response<hyper::body::Incoming>, progress: &Progress) -> Result<Answer, RequestError> {
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = answer.status().as_u16();
    let says_html = header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    let retry_after = header("retry-after").and_then(|text| text.trim().parse().ok());
    let (mut body, mut incoming) = (Vec::new(), answer.into_body());
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| request_error(&error))?;
        if let Some(piece) = frame.data_ref() {
            progress.add(piece.len() as u64);
            body.extend_from_slice(piece);
        }
        if body.len() > LARGEST_ANSWER {
            return Err(RequestError::ConnectionLost(format!("its answer has more than {LARGEST_ANSWER} bytes")));
        }
    }
    let start = body.trim_ascii_start().get(..5).unwrap_or_default();
    let is_html = says_html || start.eq_ignore_ascii_case(b"<html") || start.eq_ignore_ascii_case(b"<!doc");
    Ok(Answer { status, body, is_html, retry_after })
}

fn request_error(error: &hyper::Error) -> RequestError {
    // An error of our own body comes back as hyper's.
    if error.is_user() { RequestError::Request(chain(error)) } else { RequestError::ConnectionLost(chain(error)) }
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
