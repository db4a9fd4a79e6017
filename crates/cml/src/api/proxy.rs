//! The proxy that the environment names for a server, if any.
//!
//! CML's own client honours `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals or not, and so does this program.
//! TLS passes through the proxy unchanged: certificates are verified as always, and the proxy sees no content.

use anyhow::{Result, ensure};
use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::net::TcpStream;
use tower_service::Service;

/// A proxy that opens tunnels (`CONNECT`).
#[derive(Clone)]
pub struct Proxy(Intercept);

impl Proxy {
    /// The proxy for `server` (`HOST:PORT`), if there is one. A proxy that is not plain HTTP is an error.
    pub fn for_server(server: &str) -> Result<Option<Self>> {
        Self::of(&Matcher::from_env(), server)
    }

    fn of(environment: &Matcher, server: &str) -> Result<Option<Self>> {
        let Some(proxy) = environment.intercept(&destination(server)?) else { return Ok(None) };
        let scheme = proxy.uri().scheme_str().unwrap_or("http");
        ensure!(
            scheme == "http",
            "the environment names a `{scheme}` proxy for {server}, but only http:// proxies can be used. \
             To connect without it: NO_PROXY={}",
            server.rsplit_once(':').map_or(server, |(host, _)| host)
        );
        Ok(Some(Self(proxy)))
    }

    /// Host and port, without a user or a password.
    pub fn name(&self) -> String {
        format!("{}:{}", self.0.uri().host().unwrap_or_default(), self.0.uri().port_u16().unwrap_or(80))
    }

    pub async fn tunnel_to(&self, server: &str) -> Result<TcpStream> {
        let mut tunnel = Tunnel::new(self.0.uri().clone(), HttpConnector::new());
        if let Some(authorization) = self.0.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let stream = tunnel.call(destination(server)?).await?;
        Ok(stream.into_inner())
    }
}

fn destination(server: &str) -> Result<Uri> {
    Ok(Uri::try_from(format!("https://{server}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_the_proxy_of_each_host() {
        let environment =
            Matcher::builder().https("http://me:s3cret@proxy:3128").no("10.0.0.0/8,.lab.example.org").build();
        let found = |server: &str| Proxy::of(&environment, server).unwrap();
        let proxy = found("cml.example.org:443").unwrap();
        assert_eq!(proxy.name(), "proxy:3128");
        assert!(proxy.0.basic_auth().is_some_and(|header| header.is_sensitive()), "the password is not shown");
        assert!(found("10.1.2.3:443").is_none() && found("cml.lab.example.org:443").is_none());
        assert!(Proxy::of(&Matcher::builder().build(), "cml:443").unwrap().is_none());
    }

    #[test]
    fn a_proxy_of_another_kind_is_refused_without_its_password() {
        let environment = Matcher::builder().all("socks5://me:s3cret@proxy:1080").build();
        let message = Proxy::of(&environment, "cml:443").err().unwrap().to_string();
        assert!(
            message.contains("`socks5`") && message.contains("NO_PROXY=cml") && !message.contains("s3cret"),
            "{message}"
        );
    }
}
