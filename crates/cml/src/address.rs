//! The address of a server, as users write it: `cml.example.org`, `admin@10.0.0.5:1122`,
//! `https://cml.example.org/lab/`, `ssh://admin@[2001:db8::1]:22/srv/tmp`.

use std::fmt;

use anyhow::{Context, Result, bail};
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    Api,
    Ssh,
}

/// A server's address. What it leaves out is decided by the way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub scheme: Option<Scheme>,
    pub user: Option<String>,
    /// A name or an address, without brackets.
    pub host: String,
    pub port: Option<u16>,
    /// For the API the path before `/api/v0`, for ssh the folder that files are copied to.
    pub path: Option<String>,
}

impl Address {
    /// Reads an address. One with a password is refused: every user of the machine can see arguments.
    pub fn parse(text: &str) -> Result<Self> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("https", rest)) => (Some(Scheme::Api), rest),
            Some(("ssh" | "sftp", rest)) => (Some(Scheme::Ssh), rest),
            Some(("http", _)) => bail!("`{}`: CML is reached by https only", hidden(text)),
            Some((other, _)) => bail!("`{other}://` is neither https:// nor ssh://"),
            None => (None, text),
        };
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(format!("/{path}")).filter(|path| path != "/")),
            None => (rest, None),
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                bail!(
                    "`{}` contains a password, which every user of this machine can read there; \
                     put it in VIRL2_PASS or .virlrc",
                    hidden(text)
                )
            }
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority),
        };
        let (host, port) = host_and_port(place).with_context(|| format!("`{text}` is not a server address"))?;
        // ssh would read a leading dash as an option.
        let plain = |text: &str| {
            !text.is_empty() && !text.starts_with('-') && !text.contains(|c: char| c.is_whitespace() || c.is_control())
        };
        anyhow::ensure!(plain(host) && user.as_deref().is_none_or(plain), "`{text}` is not a server address");
        Ok(Self { scheme, user, host: host.to_owned(), port, path })
    }

    /// The same server by another way in. Port, path and user belong to the way in that the address was written for.
    #[must_use]
    pub fn by(&self, way: Scheme) -> Self {
        if self.scheme.is_none_or(|own| own == way) {
            return self.clone();
        }
        Self { scheme: Some(way), user: None, host: self.host.clone(), port: None, path: None }
    }

    /// The host as URLs write it.
    pub fn url_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

/// As messages name the server: without a user or path.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url_host())?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn host_and_port(place: &str) -> Result<(&str, Option<u16>)> {
    let port = |text: &str| {
        let port = text.parse().ok().filter(|port| *port > 0);
        port.with_context(|| format!("`{text}` is not a port: expected a whole number from 1 to 65535"))
    };
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').context("missing `]`")?;
        return Ok((host, rest.strip_prefix(':').map(port).transpose()?));
    }
    match place.split_once(':') {
        // More than one colon: an IPv6 address without brackets, which has no port.
        Some((_, rest)) if rest.contains(':') => Ok((place, None)),
        Some((host, rest)) => Ok((host, Some(port(rest)?))),
        None => Ok((place, None)),
    }
}

/// An address without user and password.
fn hidden(text: &str) -> String {
    text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, place)| format!("…@{place}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Option<Scheme>, Option<String>, String, Option<u16>, Option<String>) {
        let address = Address::parse(text).unwrap();
        (address.scheme, address.user, address.host, address.port, address.path)
    }

    #[test]
    fn addresses_are_read_as_ssh_and_urls_write_them() {
        assert_eq!(parts("cml"), (None, None, "cml".into(), None, None));
        assert_eq!(parts("admin@10.0.0.5:1122"), (None, Some("admin".into()), "10.0.0.5".into(), Some(1122), None));
        assert_eq!(parts("https://cml/lab/"), (Some(Scheme::Api), None, "cml".into(), None, Some("/lab/".into())));
        let long = parts("ssh://me@[2001:db8::1]:22/srv/tmp");
        assert_eq!(
            long,
            (Some(Scheme::Ssh), Some("me".into()), "2001:db8::1".into(), Some(22), Some("/srv/tmp".into()))
        );
        assert_eq!(parts("2001:db8::1").2, "2001:db8::1");
    }

    #[test]
    fn port_user_and_path_belong_to_the_way_in_they_were_written_for() {
        let api = Address::parse("https://me@cml:8443/lab").unwrap();
        assert_eq!(api.by(Scheme::Api), api);
        assert_eq!(api.by(Scheme::Ssh), Address::parse("ssh://cml").unwrap());
        let open = Address::parse("me@cml:1122").unwrap();
        assert_eq!(open.by(Scheme::Ssh), open);
    }

    #[test]
    fn an_invalid_address_is_refused() {
        for wrong in [
            "", "-oProxyCommand=x", "me@-x", "cml:port", "cml:0", "cml:99999", "[::1", "http://cml", "ftp://cml", "a b",
        ] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let message = format!("{:#}", Address::parse("https://admin:s3cret@cml").unwrap_err());
        assert!(message.contains("contains a password") && !message.contains("s3cret"), "{message}");
    }
}
