//! Credentials in the URLs of git repositories: every user of the machine can read them in git's arguments.

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
