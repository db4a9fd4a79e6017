//! What the build machine takes over from the person who makes it: keys, time zone, locale, where the repository is, and
//! how the server is called.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use cml::Address;
use text::printable;

/// The SSH public keys of these files, or else of all `~/.ssh/*.pub`.
///
/// # Errors
/// If a file that was named holds none, or holds something else, such as a private key.
pub fn keys(named: &[PathBuf]) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    if named.is_empty() {
        for path in own_key_files() {
            // Not every .pub there need be a key, nor be readable.
            keys.extend(read_keys(&path).unwrap_or_default());
        }
    }
    for path in named {
        let found = read_keys(path)?;
        ensure!(!found.is_empty(), "{} holds no SSH public key", path.display());
        keys.extend(found);
    }
    keys.dedup();
    Ok(keys)
}

fn own_key_files() -> Vec<PathBuf> {
    let folder = std::env::home_dir().map(|home| home.join(".ssh")).unwrap_or_default();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "pub")).collect();
    files.sort();
    files
}

fn read_keys(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| key(line).with_context(|| format!("{} is no file of SSH public keys", path.display()))).collect()
}

/// `TYPE BASE64 [COMMENT]`. The text is not repeated in an error: it may be a private key.
fn key(line: &str) -> Result<String> {
    let mut words = line.split_whitespace();
    let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let known = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-sha2-"].iter().any(|start| kind.starts_with(start));
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    ensure!(
        known && body.len() >= 32 && body.chars().all(base64) && !line.chars().any(char::is_control),
        "a line is no public key"
    );
    Ok(line.to_owned())
}

/// The time zone of this machine: `TZ`, `/etc/localtime`, `/etc/timezone`; else UTC.
///
/// # Errors
/// If the one that was asked for is none.
pub fn time_zone(asked: Option<&str>) -> Result<String> {
    if let Some(name) = asked {
        ensure!(is_time_zone(name), "`{}` is no time zone; one is `Asia/Tokyo`", printable(name));
        return Ok(name.to_owned());
    }
    let variable = std::env::var("TZ").ok().map(|text| text.trim_start_matches(':').to_owned());
    let link = || Some(std::fs::canonicalize("/etc/localtime").ok()?.to_str()?.split_once("/zoneinfo/")?.1.to_owned());
    let file = || Some(std::fs::read_to_string("/etc/timezone").ok()?.trim().to_owned());
    let found = variable.filter(|name| is_time_zone(name)).or_else(link).or_else(file);
    Ok(found.filter(|name| is_time_zone(name)).unwrap_or_else(|| "Etc/UTC".to_owned()))
}

fn is_time_zone(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+-/".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= 64 && name.chars().all(plain)
}

/// The locale of this machine: `LC_ALL`, else `LANG`; else `C.UTF-8`.
///
/// # Errors
/// If the one that was asked for is none.
pub fn locale(asked: Option<&str>) -> Result<String> {
    if let Some(name) = asked {
        ensure!(is_locale(name), "`{}` is no locale; one is `ja_JP.UTF-8`", printable(name));
        return Ok(name.to_owned());
    }
    let set = ["LC_ALL", "LANG"].iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    // Programs of today expect UTF-8.
    let set = set.filter(|name| is_locale(name) && !matches!(name.as_str(), "C" | "POSIX"));
    Ok(set.unwrap_or_else(|| "C.UTF-8".to_owned()))
}

fn is_locale(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.@".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= 64 && name.chars().all(plain)
}

/// Where the build machine clones this repository from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub url: String,
    /// The folder that the clone gets.
    pub folder: String,
}

/// An address of a repository as one that the build machine can use, which has no keys and no passwords.
///
/// # Errors
/// If there is none.
pub fn origin(text: &str) -> Result<Origin> {
    let text = text.trim();
    let show = || printable(text.rsplit_once('@').map_or(text, |(_, place)| place));
    let url = match text.split_once("://") {
        Some((scheme @ ("https" | "http"), rest)) => {
            let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
            // A user or a token before the host stays at home.
            format!("{scheme}://{}/{path}", place.rsplit_once('@').map_or(place, |(_, host)| host))
        }
        Some(("ssh", rest)) => {
            let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
            format!("https://{}/{path}", host.split(':').next().unwrap_or(host))
        }
        Some(("git", rest)) => format!("git://{rest}"),
        Some(_) => bail!("{} can't be cloned by the build machine; name a URL with --repository", show()),
        // As scp writes it.
        None => match text.split_once(':') {
            Some((place, path)) if !place.contains('/') && !path.is_empty() => {
                let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
                format!("https://{host}/{}", path.trim_start_matches('/'))
            }
            _ => bail!(
                "`{}` is a folder of this machine, which the build machine can't clone; name a URL with --repository",
                show()
            ),
        },
    };
    let plain = |c: char| c.is_ascii_graphic() && !"'\"\\`$<>|;&".contains(c);
    ensure!(url.chars().all(plain), "`{}` is no URL of a repository", show());
    let last = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let folder = last.strip_suffix(".git").unwrap_or(last);
    let name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    ensure!(
        !folder.is_empty() && !folder.starts_with(['.', '-']) && folder.chars().all(name),
        "`{}` is no URL of a repository",
        show()
    );
    Ok(Origin { folder: folder.to_owned(), url })
}

/// How the build machine calls the server: as the caller does, unless that means the caller's own machine.
///
/// # Errors
/// If it is one that is only the caller's.
pub fn server(asked: Option<&str>, address: &Address) -> Result<String> {
    let host = match asked {
        Some(text) => Address::parse(text)?.host,
        None => address.host.clone(),
    };
    let loops = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    ensure!(
        !loops,
        "`{host}` would be the build machine itself there; say how it reaches the server: --server-address HOST"
    );
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    ensure!(host.chars().all(plain), "`{}` is no name of a server", printable(&host));
    Ok(host)
}

/// Whom the build machine logs in as on the server: it stands in ssh's configuration there.
///
/// # Errors
/// If it is no user's name.
pub fn check_server_user(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    ensure!(
        name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && name.chars().all(plain),
        "`{}` is no name of a user (CML_SSH_USER)",
        printable(name)
    );
    Ok(())
}

/// What Ubuntu takes as a user's name.
///
/// # Errors
/// If it is none, or one that every Ubuntu has.
pub fn check_user(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    ensure!(
        fits && name.len() <= 32 && name.chars().all(plain),
        "`{}` is no name of a user: it has up to 32 of a-z, 0-9, `_` and `-`, with a letter first",
        printable(name)
    );
    ensure!(
        !matches!(name, "root" | "daemon" | "bin" | "sys" | "adm" | "sudo" | "docker" | "nobody" | "admin"),
        "`{name}` is a user or group of the system's own; choose another --user"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repositorys_address_becomes_one_that_needs_no_key_and_tells_no_secret() {
        for (given, url) in [
            ("git@example.org:team/cml-nodes.git", "https://example.org/team/cml-nodes.git"),
            ("ssh://git@example.org:2222/team/cml-nodes", "https://example.org/team/cml-nodes"),
            ("https://me:t0ken@example.org/team/cml-nodes.git", "https://example.org/team/cml-nodes.git"),
            ("https://example.org:8443/cml-nodes/", "https://example.org:8443/cml-nodes/"),
        ] {
            assert_eq!(origin(given).unwrap(), Origin { url: url.into(), folder: "cml-nodes".into() });
        }
        for wrong in
            ["/srv/cml-nodes", "../x", "file:///srv/x", "https://example.org/..", "https://example.org/a;b", ""]
        {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
        let said = origin("ftp://me:t0ken@example.org/x").unwrap_err().to_string();
        assert!(!said.contains("t0ken"), "{said}");
    }

    #[test]
    fn a_private_key_is_not_taken_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let (public, private) = (folder.path().join("id.pub"), folder.path().join("id"));
        let line = format!("ssh-ed25519 {} me: \"here\" # ü", "A".repeat(68));
        std::fs::write(&public, format!("# mine\n{line}\n")).unwrap();
        std::fs::write(&private, "-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret\n").unwrap();
        assert_eq!(keys(&[public]).unwrap(), [line]);
        let said = format!("{:#}", keys(&[private]).unwrap_err());
        assert!(said.contains("is no file of SSH public keys") && !said.contains("s3cret"), "{said}");
    }

    #[test]
    fn the_server_is_called_as_it_is_reached_from_there() {
        let server_of = |asked, text| server(asked, &Address::parse(text).unwrap());
        assert_eq!(server_of(None, "https://cml.example.org:8443").unwrap(), "cml.example.org");
        assert_eq!(server_of(Some("192.0.2.1"), "127.0.0.1:8443").unwrap(), "192.0.2.1");
        for local in ["127.0.0.1", "localhost", "[::1]:443"] {
            assert!(server_of(None, local).unwrap_err().to_string().contains("--server-address"), "{local}");
        }
        assert!(server_of(None, "a\u{e9}").is_err());
    }

    #[test]
    fn names_of_users_zones_and_locales_are_what_ubuntu_takes() {
        assert!(check_user("me-2").is_ok() && check_server_user("Lab.Admin").is_ok());
        assert!(check_server_user("").is_err() && check_server_user("a\nProxyCommand x").is_err());
        for wrong in ["", "root", "Me", "2me", "a b", "a\nb", &"x".repeat(33)] {
            assert!(check_user(wrong).is_err(), "{wrong}");
        }
        assert_eq!(time_zone(Some("America/Port-au-Prince")).unwrap(), "America/Port-au-Prince");
        assert!(time_zone(Some("../../etc/passwd")).is_err() && locale(Some("x y")).is_err());
        assert_eq!(locale(Some("ja_JP.UTF-8")).unwrap(), "ja_JP.UTF-8");
    }
}
