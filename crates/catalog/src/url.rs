//! Which URLs of git repositories are accepted. Credentials are not: every user of the machine can read them in git's
//! arguments.

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
pub const NOT_REMOTE: &str = "a manifest names a git repository on a server, by https://, ssh:// or HOST:PATH; a copy \
                              on this machine is chosen by who builds: --source PATH#REF";

/// Whether a URL names a repository on a server. A manifest may be a stranger's, and its build has a network: it must
/// not decide which repositories of this machine the build gets. [git-fetch(1): GIT URLS]
pub fn is_remote(url: &str) -> bool {
    let is_host = |host: &str| !host.is_empty() && !host.starts_with('-') && !host.contains('/');
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split('/').next().unwrap_or_default();
            ["https", "http", "ssh", "git"].contains(&scheme) && is_host(host)
        }
        // `ext::COMMAND` would be a command, `C:PATH` is a host here.
        None => url.split_once(':').is_some_and(|(host, path)| is_host(host) && !path.starts_with(':')),
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
        for url in ["https://host/a.git", "ssh://git@host:22/a", "git://host/a", "git@host:a.git", "host:/srv/a.git"] {
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
