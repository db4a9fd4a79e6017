//! Which URLs of git repositories are accepted. Credentials are not: every user of the machine can read them in git's
//! arguments.

use std::net::IpAddr;

/// Why such a URL is refused, and what to do.
pub const NO_CREDENTIALS: &str = "a git URL must not contain a password or token, which every user of this machine \
                                  could read while git runs; leave out what stands before `@`: git asks its \
                                  credential helper, or reads ~/.netrc";

/// Whether a URL contains a password or a token. By https, the name of a user may be a token too.
pub fn has_credentials(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| scheme.starts_with("http") || user.contains(':'))
}

/// Why a manifest must not name such a repository, and what to do.
pub const NOT_REMOTE: &str = "a manifest names a git repository on a server, by https://, ssh:// or HOST:PATH; what \
                              this machine has is chosen by who builds: --source PATH#REF";

/// Whether a URL names a repository on a server. A manifest may be a stranger's, and its build has a network: it must
/// not decide which repositories of this machine the build gets. [git-fetch(1): GIT URLS]
pub fn is_remote(url: &str) -> bool {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.split('/').next().unwrap_or_default();
            ["https", "ssh"].contains(&scheme) && is_elsewhere(authority)
        }
        // `ext::COMMAND` would be a command, `C:PATH` is a host here.
        None => url.split_once(':').is_some_and(|(host, path)| is_elsewhere(host) && !path.starts_with(':')),
    }
}

/// Whether `[USER@]HOST[:PORT]` is a host, and not this machine by a name or address that says so.
fn is_elsewhere(authority: &str) -> bool {
    // Nothing that git or curl would read as an option, decode or cut off.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | ':' | '[' | ']');
    if authority.starts_with('-') || !authority.chars().all(plain) {
        return false;
    }
    let host = authority.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.parse().is_ok_and(|address| !is_here(IpAddr::V6(address)));
    }
    let host = host.split(':').next().unwrap_or_default().trim_end_matches('.');
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.starts_with(|c: char| c.is_ascii_digit()) {
        // The system also takes 127.1, 0x7f000001 and 2130706433 for addresses.
        return host.parse().is_ok_and(|address| !is_here(IpAddr::V4(address)));
    }
    let is_here = last == "localhost" || ["localhost.localdomain", "ip6-localhost", "ip6-loopback"].contains(&host);
    !host.is_empty() && !host.starts_with('-') && !is_here
}

fn is_here(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.octets()[0] == 0,
        // Also the old way to write an IPv4 address, `::127.0.0.1`.
        IpAddr::V6(address) => address.segments()[..6] == [0; 6],
    }
}

/// `ssh://user@host/…` → `ssh://host/…`: origins appear in labels and messages.
pub fn without_credentials(origin: &str) -> String {
    match origin.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or(host);
            format!("{scheme}://{host}/{path}")
        }
        None => origin.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_of_this_machine_are_told_from_those_of_servers() {
        for url in [
            "https://host/a.git",
            "https://host.example:8443/a",
            "https://192.0.2.1/a",
            "ssh://git@host:22/a",
            "ssh://git@[2001:db8::1]:22/a",
            "git@host:a.git",
            "host:/srv/a.git",
        ] {
            assert!(is_remote(url), "{url}");
        }
        for url in [
            "file:///srv/a",
            "/srv/a",
            "../a",
            "a",
            "./a:b",
            "ext::sh -c id",
            "ssh://-oProxyCommand=id/a",
            "-u:a",
            "",
            "https:///a",
            "FILE:///srv/a",
            "http://host/a",
            "git://host/a",
            "https://localhost/a",
            "https://LOCALHOST.:8443/a",
            "ssh://git@a.localhost:22/a",
            "https://127.0.0.1/a",
            "https://127.1.2.3:80/a",
            "https://127.1/a",
            "https://2130706433/a",
            "https://0x7f000001/a",
            "https://0.0.0.0/a",
            "https://[::1]:443/a",
            "ssh://git@[::]/a",
            "https://[::ffff:127.0.0.1]/a",
            "https://[::127.0.0.1]/a",
            "https://%6cocalhost/a",
            "https://host\\@localhost/a",
            "https://localhost?/a",
            "git@localhost:a",
            "127.0.0.1:a",
            "[::1]:a",
            "git@-oProxyCommand=id:a",
        ] {
            assert!(!is_remote(url), "{url}");
        }
    }

    #[test]
    fn credentials_are_found_and_left_out() {
        for url in ["https://me:secret@host/a.git", "https://token@host/a.git", "ssh://me:secret@host:22/a.git"] {
            assert!(has_credentials(url), "{url}");
            let shown = without_credentials(url);
            assert!(shown.contains("://host") && !shown.contains("secret") && !shown.contains("token"), "{shown}");
        }
        for url in ["https://host/a.git", "https://host/a@b:c", "ssh://git@host/a.git", "git@host:a.git", "file:///a@b"]
        {
            assert!(!has_credentials(url), "{url}");
        }
    }
}
