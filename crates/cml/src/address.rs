//! The address of a server, as users write it: `cml.example.org`, `admin@10.0.0.5:1122`,
//! `https://cml.example.org/lab/`, `ssh://admin@[2001:db8::1]:22/srv/tmp`.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use text::printable_line;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    Api,
    Ssh,
}

/// What stands where an address should be; the words for the user, without a password. Wrong usage.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongAddress(pub String);

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
    ///
    /// # Errors
    ///
    /// If it is not an address, or has a part that others read differently. The error repeats no password.
    pub fn parse(text: &str) -> Result<Self, WrongAddress> {
        Self::read(text).map_err(|error| WrongAddress(format!("{error:#}")))
    }

    fn read(text: &str) -> Result<Self> {
        let (scheme, rest) = scheme(text)?;
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(format!("/{path}")).filter(|path| path != "/")),
            None => (rest, None),
        };
        ensure!(
            !has_password(authority, path.as_deref()),
            "`{}` contains a password, which every user of this machine can read there; \
             put it in VIRL2_PASS or .virlrc",
            hidden(text)
        );
        ensure!(
            scheme == Some(Scheme::Ssh) || !rest.contains(['?', '#']),
            "`{}` is not a server address: leave out what begins with `?` or `#`",
            hidden(text)
        );
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority),
        };
        let wrong = || format!("`{}` is not a server address", hidden(text));
        let (host, port) = host_and_port(place).with_context(wrong)?;
        check_host(host, place, scheme).with_context(wrong)?;
        ensure!(is_host(host) && path.as_deref().is_none_or(|path| is_path(path, scheme)), wrong());
        user.as_deref().map_or(Ok(()), check_user).with_context(wrong)?;
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

/// The way in that an address names, in whatever case, and the rest of it.
fn scheme(text: &str) -> Result<(Option<Scheme>, &str)> {
    if let Some((scheme, rest)) = text.split_once("://") {
        return match scheme.to_ascii_lowercase().as_str() {
            "https" => Ok((Some(Scheme::Api), rest)),
            "ssh" | "sftp" => Ok((Some(Scheme::Ssh), rest)),
            "http" => bail!("`{}`: CML is reached by https only", hidden(text)),
            _ => bail!("`{}://` is neither https:// nor ssh://", hidden(scheme)),
        };
    }
    let lower = text.to_ascii_lowercase();
    for scheme in ["https", "http", "ssh", "sftp"] {
        // A name with a port, such as `ssh:22`, is none of these.
        let rest = lower.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("//").or(rest.strip_prefix(":/")));
        if rest.is_some() {
            bail!("`{}` is not a server address: `{scheme}` needs `://` after it", hidden(text));
        }
    }
    Ok((None, text))
}

/// Fails for a host that looks like one, and that no connection would be made to.
fn check_host(host: &str, place: &str, scheme: Option<Scheme>) -> Result<()> {
    ensure!(
        host.is_ascii(),
        "a name with other letters than those of ASCII is written as DNS has it, such as `xn--bcher-kva.example` for \
         `b\u{fc}cher.example`"
    );
    if host.contains(':') || place.starts_with('[') {
        // Behind `%` is an interface of this machine.
        let address = host.split_once('%').map_or(host, |(address, _)| address);
        ensure!(address.parse::<std::net::Ipv6Addr>().is_ok(), "it has several colons, but is not an IPv6 address");
        ensure!(
            scheme.is_none() || place.starts_with('['),
            "in a URL an IPv6 address stands in brackets, as in https://[::1]:443"
        );
    }
    Ok(())
}

fn host_and_port(place: &str) -> Result<(&str, Option<u16>)> {
    let port = |text: &str| {
        let port = text.parse().ok().filter(|port| *port > 0);
        // What else stands there may be a password.
        let shown = if text.bytes().all(|byte| byte.is_ascii_digit()) { text } else { "…" };
        port.with_context(|| format!("`{shown}` is not a port: expected a whole number from 1 to 65535"))
    };
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').context("missing `]`")?;
        ensure!(rest.is_empty() || rest.starts_with(':'), "expected nothing or a port after `]`");
        return Ok((host, rest.strip_prefix(':').map(port).transpose()?));
    }
    match place.split_once(':') {
        // More than one colon: an IPv6 address without brackets, which has no port.
        Some((_, rest)) if rest.contains(':') => Ok((place, None)),
        Some((host, rest)) => Ok((host, Some(port(rest)?))),
        None => Ok((place, None)),
    }
}

/// Whether there is a password: `user:password@host`. One with a slash ends up in the path.
fn has_password(authority: &str, path: Option<&str>) -> bool {
    match authority.rsplit_once('@') {
        Some((user, _)) => user.contains(':'),
        None => authority.contains(':') && path.is_some_and(|path| path.contains('@')),
    }
}

/// ssh would read a leading dash as an option. Other characters end the host where a browser reads a URL.
fn is_host(text: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain)
}

/// Fails for a name that ssh would refuse, or that it or a shell would take for something else. The error does not
/// repeat it: it may hold a secret.
pub fn check_user(name: &str) -> Result<()> {
    let is_special = |c: char| c.is_whitespace() || c.is_control() || "'\"`$\\;&<>|(){}*?#!".contains(c);
    ensure!(
        !name.is_empty() && !name.starts_with('-') && !name.contains(is_special),
        "a user's name has no blanks and nothing that is special in a shell, and does not begin with `-`"
    );
    Ok(())
}

/// A path of a URL has no query; a folder on a server may have any name.
fn is_path(text: &str, scheme: Option<Scheme>) -> bool {
    let is_strange = |c: char| c.is_control() || (scheme != Some(Scheme::Ssh) && matches!(c, '?' | '#'));
    !text.contains(is_strange)
}

/// An address without user and password, as text that is safe for a terminal.
fn hidden(text: &str) -> String {
    printable_line(&text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, place)| format!("…@{place}")))
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
    fn a_scheme_counts_in_any_case_and_an_ipv6_address_without_brackets() {
        assert_eq!(parts("HTTPS://Cml:8443").0, Some(Scheme::Api));
        assert_eq!(parts("Ssh://me@cml").0, Some(Scheme::Ssh));
        assert_eq!(parts("::1"), (None, None, "::1".into(), None, None));
        assert_eq!(parts("me@fe80::1%eth0").2, "fe80::1%eth0");
        assert_eq!(parts("https:8443"), (None, None, "https".into(), Some(8443), None));
    }

    #[test]
    fn what_looks_like_an_address_and_is_none_is_refused_with_the_reason() {
        for (wrong, why) in [
            ("https//cml", "`https` needs `://` after it"),
            ("HTTPS:/cml", "`https` needs `://` after it"),
            ("ssh//me@cml", "`ssh` needs `://` after it"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("https://b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("cml:1122:33", "not an IPv6 address"),
            ("ssh://[cml]", "not an IPv6 address"),
            ("https://::1", "in brackets"),
            ("https://::1:8443", "in brackets"),
        ] {
            let message = Address::parse(wrong).unwrap_err().to_string();
            assert!(message.contains("is not a server address") && message.contains(why), "{wrong}: {message}");
        }
        assert!(!Address::parse("https//me:s3cret@cml").unwrap_err().to_string().contains("s3cret"));
    }

    #[test]
    fn an_invalid_address_is_refused() {
        for wrong in [
            "", "-oProxyCommand=x", "me@-x", "cml:port", "cml:0", "cml:99999", "[::1", "http://cml", "ftp://cml",
            "a b", "https://cml#@evil", "https://evil\\@cml?x=", "cml?x", "https://cml/a?b", "https://cml/a\u{1b}[2J",
            "c\u{1b}ml",
        ] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_shell_or_ssh_would_take_for_something_else_is_refused() {
        for wrong in [
            "ssh://-l@cml", "ssh://@cml", "ssh://a;b@cml", "ssh://$(id)@cml", "ssh://a b@cml", "ssh://a`b@cml",
            "ssh://a\\b@cml", "ssh://cml;id", "ssh://c ml", "ssh://$HOME", "ssh://c`id`ml", "ssh://c|ml", "ssh://c'ml",
            "ssh://[::1]x:22", "ssh://[-v]", "ssh://cml/a\nb", "ssh://cml/a\u{1b}[31m", "cml\0", "ssh://cml/\u{85}x",
        ] {
            let message = format!("{:#}", Address::parse(wrong).unwrap_err());
            assert!(message.contains("is not a server address"), "{message}");
            assert!(!message.contains(char::is_control), "{message:?}");
        }
        for right in ["ssh://me@cml/x;id;", "ssh://cml/a b/it's $HOME/\"-rf\"/\u{fc}", "m\u{fc}ller@cml.example"] {
            assert!(Address::parse(right).is_ok(), "{right}");
        }
        assert_eq!(Address::parse("fe80::1%eth0").unwrap().host, "fe80::1%eth0");
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        for text in [
            "https://admin:s3cret@cml",
            "admin:s3cret@cml:1122",
            "ssh://admin:s3cret@cml/srv",
            "https://admin:s3cret/x@cml",
            "https://admin:12/s3cret@cml",
            "https://admin:s3cret@@cml",
        ] {
            let message = format!("{:#}", Address::parse(text).unwrap_err());
            assert!(message.contains("contains a password") && !message.contains("s3cret"), "{text}: {message}");
        }
        for text in ["http://admin:s3cret@cml", "ftp://admin:s3cret@cml", "admin:s3cret@cml://"] {
            let message = format!("{:#}", Address::parse(text).unwrap_err());
            assert!(!message.contains("s3cret"), "{text}: {message}");
        }
    }

    #[test]
    fn an_error_is_safe_for_a_terminal() {
        let message = format!("{:#}", Address::parse("c\u{1b}[2Jml").unwrap_err());
        assert!(!message.contains('\u{1b}'), "{message}");
    }
}
