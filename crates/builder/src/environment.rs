//! What the build machine takes over from the user's machine: keys, time zone, locale, the repository's address and the
//! server's name.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use cml::Address;
use text::printable;

const TIME_ZONE: &str = "[A-Za-z][A-Za-z0-9_+/-]{0,63}";
const LOCALE: &str = "[A-Za-z][A-Za-z0-9_.@-]{0,63}";

#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    pub keys: Vec<String>,
    pub time_zone: String,
    pub locale: String,
    pub repository: Origin,
    /// The CML server's host name or address, as the machine reaches it.
    pub server: String,
    /// The user that the machine logs in as on the server, by ssh.
    pub server_user: String,
}

/// The SSH public keys in `files`; without files, those in `~/.ssh/*.pub`. Refuses a given file that has no public key,
/// or contains something else, such as a private key.
pub fn keys(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut keys = Vec::new();
    if files.is_empty() {
        for path in own_key_files() {
            // A .pub file there need not be a key, or readable.
            keys.extend(read_keys(&path).unwrap_or_default());
        }
    }
    for path in files {
        let found = read_keys(path)?;
        ensure!(!found.is_empty(), "{} contains no SSH public key", path.display());
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
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| key(line).with_context(|| format!("{} is not a file of SSH public keys", path.display())))
        .collect()
}

/// A line `TYPE BASE64 [COMMENT]`. An error does not repeat it: it may be a private key.
fn key(line: &str) -> Result<String> {
    let is_key = is(line, r"(ssh|ecdsa-sha2|sk-ssh|sk-ecdsa-sha2)-\S* +[A-Za-z0-9+/=]{32,}( .*)?");
    ensure!(is_key && !line.chars().any(char::is_control), "a line is not a public key");
    Ok(line.to_owned())
}

/// The given time zone; else this machine's, by `TZ`, `/etc/localtime` or `/etc/timezone`; else UTC.
pub fn time_zone(given: Option<&str>) -> Result<String> {
    if let Some(name) = given {
        ensure!(is(name, TIME_ZONE), "`{}` is not a time zone; an example is `Asia/Tokyo`", printable(name));
        return Ok(name.to_owned());
    }
    let variable = std::env::var("TZ").ok().map(|text| text.trim_start_matches(':').to_owned());
    let link = || Some(std::fs::canonicalize("/etc/localtime").ok()?.to_str()?.split_once("/zoneinfo/")?.1.to_owned());
    let file = || Some(std::fs::read_to_string("/etc/timezone").ok()?.trim().to_owned());
    let found = variable.filter(|name| is(name, TIME_ZONE)).or_else(link).or_else(file);
    Ok(found.filter(|name| is(name, TIME_ZONE)).unwrap_or_else(|| "Etc/UTC".to_owned()))
}

/// The given locale; else this machine's, by `LC_ALL` or `LANG`; else `C.UTF-8`.
pub fn locale(given: Option<&str>) -> Result<String> {
    if let Some(name) = given {
        ensure!(is(name, LOCALE), "`{}` is not a locale; an example is `ja_JP.UTF-8`", printable(name));
        return Ok(name.to_owned());
    }
    let set = ["LC_ALL", "LANG"].iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    // Today's programs expect UTF-8.
    let set = set.filter(|name| is(name, LOCALE) && !matches!(name.as_str(), "C" | "POSIX"));
    Ok(set.unwrap_or_else(|| "C.UTF-8".to_owned()))
}

/// Whether all of `text` matches a regular expression.
fn is(text: &str, pattern: &str) -> bool {
    regex_lite::Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|pattern| pattern.is_match(text))
}

/// Where the build machine clones this repository from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    pub url: String,
    /// The folder of the clone.
    pub folder: String,
}

/// A repository's address, changed so that the build machine, which has no keys or passwords, can clone it.
pub fn origin(address: &str) -> Result<Origin> {
    let address = address.trim();
    // What stands before the host may be a secret.
    let shown = || printable(address.rsplit_once('@').map_or(address, |(_, rest)| rest));
    let url = public_url(address).with_context(|| {
        format!("the build machine cannot clone `{}`; give a URL that it can reach with --repository", shown())
    })?;
    let allowed = |c: char| c.is_ascii_graphic() && !"'\"\\`$<>|;&".contains(c);
    let last = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let folder = last.strip_suffix(".git").unwrap_or(last);
    let is_folder = is(folder, "[A-Za-z0-9_][A-Za-z0-9._-]*");
    ensure!(url.chars().all(allowed) && is_folder, "`{}` is not the URL of a repository", shown());
    Ok(Origin { folder: folder.to_owned(), url })
}

/// The URL without a user, password or token; by HTTPS instead of ssh.
fn public_url(address: &str) -> Result<String> {
    let without_user = |place: &str| place.rsplit_once('@').map_or(place, |(_, host)| host).to_owned();
    match address.split_once("://") {
        Some((scheme @ ("https" | "http"), rest)) => {
            let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
            Ok(format!("{scheme}://{}/{path}", without_user(place)))
        }
        Some(("ssh", rest)) => {
            let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = without_user(place);
            Ok(format!("https://{}/{path}", host.split(':').next().unwrap_or(&host)))
        }
        Some(("git", rest)) => Ok(format!("git://{rest}")),
        Some((scheme, _)) => bail!("`{}://` is not supported", printable(scheme)),
        // The form that scp and git take: [user@]host:path.
        None => match address.split_once(':') {
            Some((place, path)) if !place.contains('/') && !path.is_empty() => {
                Ok(format!("https://{}/{}", without_user(place), path.trim_start_matches('/')))
            }
            _ => bail!("it is a folder on this machine"),
        },
    }
}

/// The server's host name or address as the build machine reaches it: the given one, else that of `address`. Refuses
/// one that means the build machine itself there, such as `localhost`.
pub fn server(given: Option<&str>, address: &Address) -> Result<String> {
    let host = match given {
        Some(text) => Address::parse(text)?.host,
        None => address.host.clone(),
    };
    let is_loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    ensure!(
        !is_loopback,
        "for the build machine, `{host}` is the build machine itself; give the address by which it reaches the server \
         with --server-address HOST"
    );
    ensure!(is(&host, "[A-Za-z0-9._:-]*"), "`{}` is not the name of a server", printable(&host));
    Ok(host)
}

/// Checks the user's name on the server, which is written into the build machine's ssh configuration.
pub fn check_server_user(name: &str) -> Result<()> {
    ensure!(is(name, "[A-Za-z0-9_][A-Za-z0-9._-]*"), "`{}` is not a user name (CML_SSH_USER)", printable(name));
    Ok(())
}

/// Checks a user name as Ubuntu does; it must not be one that every Ubuntu has.
pub fn check_user(name: &str) -> Result<()> {
    ensure!(
        is(name, "[a-z_][a-z0-9_-]{0,31}"),
        "`{}` is not a valid user name: up to 32 of a-z, 0-9, `_` and `-`, starting with a letter or `_`",
        printable(name)
    );
    ensure!(
        !matches!(name, "root" | "daemon" | "bin" | "sys" | "adm" | "sudo" | "docker" | "nobody" | "admin"),
        "`{name}` is a user or group of the system; choose another --user"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_repository_loses_its_secrets_and_needs_no_key() {
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
        let message = format!("{:#}", origin("ftp://me:t0ken@example.org/x").unwrap_err());
        assert!(!message.contains("t0ken"), "{message}");
    }

    #[test]
    fn a_private_key_is_refused_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let (public, private) = (folder.path().join("id.pub"), folder.path().join("id"));
        let line = format!("ssh-ed25519 {} me: \"here\" # ü", "A".repeat(68));
        std::fs::write(&public, format!("# mine\n{line}\n")).unwrap();
        std::fs::write(&private, "-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret\n").unwrap();
        assert_eq!(keys(&[public]).unwrap(), [line]);
        let message = format!("{:#}", keys(&[private]).unwrap_err());
        assert!(message.contains("is not a file of SSH public keys") && !message.contains("s3cret"), "{message}");
    }

    #[test]
    fn the_server_has_the_name_by_which_the_build_machine_reaches_it() {
        let server_of = |asked, text| server(asked, &Address::parse(text).unwrap());
        assert_eq!(server_of(None, "https://cml.example.org:8443").unwrap(), "cml.example.org");
        assert_eq!(server_of(Some("192.0.2.1"), "127.0.0.1:8443").unwrap(), "192.0.2.1");
        for local in ["127.0.0.1", "localhost", "[::1]:443"] {
            assert!(server_of(None, local).unwrap_err().to_string().contains("--server-address"), "{local}");
        }
        assert!(server_of(None, "fe80::1%eth0").is_err(), "an interface of this machine");
    }

    #[test]
    fn users_time_zones_and_locales_are_checked_as_ubuntu_does() {
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
