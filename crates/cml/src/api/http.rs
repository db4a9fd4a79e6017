//! HTTPS to a controller: one connection per request, no wait without a limit, and no answer without a bound.
//!
//! hyper and rustls come with the engine's client anyway. Connections are not kept open: an upload of minutes may lie
//! between two requests, and a new connection costs a few milliseconds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use indicatif::ProgressBar;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::api::proxy::Proxy;
use crate::api::trust::PinningVerifier;
use crate::{Address, Fingerprint};

const PORT: u16 = 443;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How much is read of an answer that is not a success. Only the reason for it is looked for there.
const LARGEST_REFUSAL: usize = 16 << 10;

/// Everything but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub struct Server {
    pub address: Address,
    pub proxy: Option<Proxy>,
    pub verifier: Arc<PinningVerifier>,
    pub idle_timeout: Duration,
}

/// What a request asks for. It decides how large the answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A token, a confirmation, what a server says about itself.
    Little,
    /// A list of labs, images or files, the nodes of a lab, or their states.
    List,
    /// A node or image definition.
    Definition,
    /// What a console has shown.
    Log,
}

impl Expected {
    /// The largest answer, in bytes.
    pub fn most(self) -> usize {
        match self {
            Self::Little => 256 << 10,
            // A thousand labs or images, with a few kilobytes each.
            Self::List => 8 << 20,
            // As of a file with a definition.
            Self::Definition => definitions::yaml::LARGEST,
            // Two thousand lines.
            Self::Log => 4 << 20,
        }
    }
}

pub struct Answer {
    pub status: u16,
    pub body: Bytes,
    pub is_html: bool,
    /// `Retry-After`, if it is given in seconds.
    pub retry_after: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("{server} now shows another certificate, {fingerprint}: {why}")]
    Untrusted { server: String, fingerprint: Fingerprint, why: String },
    /// There was no connection, or it ended too early: another try may succeed.
    #[error("{0}")]
    Unreachable(String),
    /// The server was silent for too long or sent too much, or a file has changed so that it could not be sent.
    #[error("{0}")]
    Failed(String),
}

pub type RequestBody = UnsyncBoxBody<Bytes, anyhow::Error>;

pub fn text(text: &str) -> RequestBody {
    Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(|never| match never {}).boxed_unsync()
}

/// Pieces as they come, counted by `progress`.
pub fn pieces(mut pieces: mpsc::Receiver<anyhow::Result<Bytes>>, progress: &ProgressBar) -> RequestBody {
    let progress = progress.clone();
    let pieces = stream::poll_fn(move |task| pieces.poll_recv(task));
    let counted = pieces.inspect_ok(move |piece| progress.inc(piece.len() as u64));
    StreamBody::new(counted.map_ok(Frame::data)).boxed_unsync()
}

impl Server {
    /// Sends a request; returns the answer, whatever its status.
    pub async fn request(
        &self,
        head: hyper::http::request::Builder,
        body: RequestBody,
        expected: Expected,
        progress: &ProgressBar,
    ) -> Result<Answer, RequestError> {
        let stream = self.connect().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.failure(&error))?;
        let request = head.body(body).map_err(|error| RequestError::Failed(error.to_string()))?;
        // Dropped, and with it the connection, when the request ends, however it ends.
        let mut connections = JoinSet::new();
        connections.spawn(connection);
        let sending = async { sender.send_request(request).await.map_err(|error| self.failure(&error)) };
        let answer = self.until_stalled(progress, sending).await?;
        // A server that sends a byte now and then is never silent, but has no more time than a silent one.
        let reading = tokio::time::timeout(self.idle_timeout, self.read(answer, expected));
        reading.await.unwrap_or_else(|_| Err(self.too_slow()))
    }

    async fn connect(&self) -> Result<TlsStream<TcpStream>, RequestError> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT.min(self.idle_timeout), self.connect_tcp());
        let stream = connecting.await.unwrap_or_else(|_| Err("it does not accept the connection".to_owned()));
        let stream = stream.map_err(|why| self.unreachable(&why))?;
        let _ = stream.set_nodelay(true);
        // The interface behind `%` is this machine's, and in no certificate.
        let host = self.address.host.split('%').next().unwrap_or_default();
        let name = ServerName::try_from(host.to_owned()).map_err(|error| self.unreachable(&error.to_string()))?;
        let config = self.verifier.client_config().map_err(|error| RequestError::Failed(format!("{error:#}")))?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        match tokio::time::timeout(self.idle_timeout, handshake).await {
            Ok(stream) => stream.map_err(|error| self.handshake_error(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    async fn connect_tcp(&self) -> Result<TcpStream, String> {
        let Some(proxy) = &self.proxy else {
            return TcpStream::connect((self.address.host.as_str(), port(&self.address)))
                .await
                .map_err(|error| error.to_string());
        };
        let tunnel = proxy.tunnel_to(&authority(&self.address)).await;
        tunnel.map_err(|error| format!("through the proxy {} (HTTPS_PROXY): {}", proxy.name(), chain(error.as_ref())))
    }

    /// Why a TLS handshake failed: the certificate, or something else.
    fn handshake_error(&self, error: &std::io::Error) -> RequestError {
        let why = chain(error);
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let about_certificate = matches!(tls, Some(rustls::Error::InvalidCertificate(_) | rustls::Error::General(_)));
        match self.verifier.seen().filter(|_| about_certificate) {
            Some(fingerprint) => RequestError::Untrusted { server: self.address.to_string(), fingerprint, why },
            None => self.unreachable(&format!("no TLS connection: {why}")),
        }
    }

    fn unreachable(&self, why: &str) -> RequestError {
        RequestError::Unreachable(format!("cannot reach {}: {why}", self.address))
    }

    fn failure(&self, error: &hyper::Error) -> RequestError {
        // An error of our own body comes back as hyper's.
        if error.is_user() {
            return RequestError::Failed(chain(error));
        }
        RequestError::Unreachable(format!("the connection to {} was lost: {}", self.address, chain(error)))
    }

    fn silent(&self) -> RequestError {
        let seconds = self.idle_timeout.as_secs();
        RequestError::Failed(format!("{} has been silent for {seconds} s (--timeout)", self.address))
    }

    fn too_slow(&self) -> RequestError {
        let seconds = self.idle_timeout.as_secs();
        RequestError::Failed(format!("{} has not completed its answer within {seconds} s (--timeout)", self.address))
    }

    /// Does `work`, but gives up when nothing was sent for the idle timeout.
    async fn until_stalled<T>(
        &self,
        progress: &ProgressBar,
        work: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        let mut work = std::pin::pin!(work);
        loop {
            let before = progress.position();
            match tokio::time::timeout(self.idle_timeout, &mut work).await {
                Ok(result) => return result,
                Err(_) if progress.position() == before => return Err(self.silent()),
                Err(_) => {}
            }
        }
    }

    async fn read(
        &self,
        answer: hyper::Response<hyper::body::Incoming>,
        expected: Expected,
    ) -> Result<Answer, RequestError> {
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let status = answer.status().as_u16();
        let says_html = header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        let retry_after = header("retry-after").and_then(|text| text.trim().parse().ok());
        let is_success = answer.status().is_success();
        let most = if is_success { expected.most() } else { LARGEST_REFUSAL };
        let (body, is_whole) = self.read_body(answer.into_body(), most).await?;
        let start = body.trim_ascii_start().get(..5).unwrap_or_default();
        let is_html = says_html || start.eq_ignore_ascii_case(b"<html") || start.eq_ignore_ascii_case(b"<!doc");
        if !is_whole && is_success && !is_html {
            let most = text::size(most as u64);
            return Err(RequestError::Failed(format!("the answer of {} has more than {most}", self.address)));
        }
        Ok(Answer { status, body, is_html, retry_after })
    }

    /// The first `most` bytes of a body, and whether that is all of it. No more is read.
    async fn read_body(&self, mut body: hyper::body::Incoming, most: usize) -> Result<(Bytes, bool), RequestError> {
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.failure(&error))?;
            let piece = frame.data_ref().map_or(&[][..], |piece| piece);
            let fitting = piece.len().min(most - read.len());
            read.extend_from_slice(&piece[..fitting]);
            if fitting < piece.len() {
                return Ok((read.into(), false));
            }
        }
        Ok((read.into(), true))
    }
}

fn port(address: &Address) -> u16 {
    address.port.unwrap_or(PORT)
}

/// `HOST:PORT`, by which a server's certificate is remembered. Capitals make no other server.
pub fn authority(address: &Address) -> String {
    format!("{}:{}", address.url_host().to_ascii_lowercase(), port(address))
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
    fn the_certificate_of_a_server_is_found_however_its_name_is_written() {
        for text in ["CML.example.org", "https://me@cml.Example.org:443/lab"] {
            assert_eq!(authority(&Address::parse(text).unwrap()), "cml.example.org:443");
        }
    }

    #[test]
    fn segments_of_a_path_are_encoded() {
        assert_eq!(segment("frr-10-4"), "frr-10-4");
        assert_eq!(segment("a b/../c?"), "a%20b%2F..%2Fc%3F");
    }
}
