//! The proxies for builds: those of the environment. BuildKit keeps these build arguments out of cache keys and images.

use std::collections::BTreeMap;

const NAMES: [&str; 4] = ["http_proxy", "https_proxy", "no_proxy", "all_proxy"];

/// Build arguments for the proxies, in both spellings.
pub fn build_args() -> BTreeMap<String, String> {
    from(|name| std::env::var(name).ok())
}

fn from(variable: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for name in NAMES {
        let upper = name.to_ascii_uppercase();
        if let Some(value) = variable(name).or_else(|| variable(&upper)).filter(|value| !value.is_empty()) {
            args.insert(name.to_owned(), value.clone());
            args.insert(upper, value);
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_spelling_reaches_the_build_in_both() {
        let args = from(|name| (name == "HTTPS_PROXY").then(|| "http://proxy:3128".to_owned()));
        assert_eq!(args.keys().collect::<Vec<_>>(), ["HTTPS_PROXY", "https_proxy"]);
        assert!(from(|_| Some(String::new())).is_empty());
    }
}
