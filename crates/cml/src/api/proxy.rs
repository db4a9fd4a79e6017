//! The way to a server: straight, or through the proxy that the environment names.
//!
//! CML's own client honours `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals or not, and so does this program. TLS goes
//! through the proxy untouched: certificates are judged as ever, and the proxy sees nothing of what is said.

use anyhow::{Result, ensure};
use hyper::Uri;
use hyper::http::HeaderValue;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::net::TcpStream;
use tower_service::Service;

/// A proxy that opens tunnels (`CONNECT`).
#[derive(Clone)]
pub struct Proxy {
    uri: Uri,
    authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The one on the way to this place, if there is one.
    ///
    /// # Errors
    /// If it is of a kind that this program can't use.
    pub fn on_the_way_to(place: &str) -> Result<Option<Self>> {
        Self::of(&Matcher::from_env(), place)
    }

    fn of(environment: &Matcher, place: &str) -> Result<Option<Self>> {
        let Some(found) = environment.intercept(&destination(place)?) else { return Ok(None) };
        let proxy = Self { uri: found.uri().clone(), authorization: found.basic_auth().cloned() };
        let scheme = proxy.uri.scheme_str().unwrap_or("http");
        ensure!(
            scheme == "http",
            "the environment names a proxy on the way to {place} that is spoken to by `{scheme}`; only http:// proxies can be used. \
             NO_PROXY={} goes without it",
            place.rsplit_once(':').map_or(place, |(host, _)| host)
        );
        Ok(Some(proxy))
    }

    /// Host and port, without a user or a password.
    pub fn name(&self) -> String {
        let (host, port) = (self.uri.host().unwrap_or_default(), self.uri.port_u16().unwrap_or(80));
        format!("{host}:{port}")
    }

    /// A connection to the place, through the proxy.
    ///
    /// # Errors
    /// In words, if the proxy does not open one.
    pub async fn tunnel_to(&self, place: &str) -> Result<TcpStream> {
        let mut tunnel = Tunnel::new(self.uri.clone(), HttpConnector::new());
        if let Some(authorization) = &self.authorization {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let stream = tunnel.call(destination(place)?).await?;
        Ok(stream.into_inner())
    }
}

fn destination(place: &str) -> Result<Uri> {
    Ok(Uri::try_from(format!("https://{place}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_is_the_one_that_the_environment_names_for_that_host() {
        let environment =
            Matcher::builder().https("http://me:s3cret@proxy:3128").no("10.0.0.0/8,.lab.example.org").build();
        let found = |place: &str| Proxy::of(&environment, place).unwrap();
        let proxy = found("cml.example.org:443").unwrap();
        assert_eq!(proxy.name(), "proxy:3128");
        assert!(proxy.authorization.is_some_and(|header| header.is_sensitive()), "it is not shown");
        assert!(found("10.1.2.3:443").is_none() && found("cml.lab.example.org:443").is_none());
        assert!(Proxy::of(&Matcher::builder().build(), "cml:443").unwrap().is_none());
    }

    #[test]
    fn a_proxy_of_another_kind_is_refused_without_its_password() {
        let environment = Matcher::builder().all("socks5://me:s3cret@proxy:1080").build();
        let said = Proxy::of(&environment, "cml:443").err().unwrap().to_string();
        assert!(said.contains("`socks5`") && said.contains("NO_PROXY=cml") && !said.contains("s3cret"), "{said}");
    }
}
