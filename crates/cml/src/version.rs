//! The version of CML, as far as anything depends on it.

/// The oldest CML that runs containers. [docs/cml.md 5]
pub const OLDEST: Version = Version { major: 2, minor: 9 };

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// `2.9.0+build.3` → 2.9
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split(['.', '+', '-']);
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let parsed = Version::parse("2.10.0+build.2").unwrap();
        assert!(parsed > OLDEST && Version::parse("2.9.1").unwrap() == OLDEST);
        assert!(Version::parse("CML").is_none());
    }
}
