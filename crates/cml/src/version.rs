//! The version of CML, and what depends on it.

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::address::Address;

/// The oldest CML that runs containers. [docs/cml.md 5]
pub const OLDEST: Version = Version(2, 9);

/// The first CML where each image definition can name its own image tag. [docs/cml.md 3]
pub const WITH_IMAGE_TAGS: Version = Version(2, 10);

/// What CML says about itself, without a login. [docs/cml.md 2]
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SystemInformation {
    /// Unknown while CML is starting.
    pub version: Option<String>,
    pub ready: bool,
}

/// The major and the minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32);

impl Version {
    /// `2.9.0+build.3` → 2.9
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split(['.', '+', '-']);
        Some(Self(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// Whether this is known to be a CML without containers. A version that cannot be read may be a newer one.
pub fn is_too_old(version: &str) -> bool {
    Version::parse(version).is_some_and(|version| version < OLDEST)
}

/// Fails if the server is known to be too old for containers.
pub fn check(server: &Address, version: Option<&str>) -> Result<()> {
    let version = version.unwrap_or_default();
    ensure!(!is_too_old(version), "{server} runs CML {version}; containers need {OLDEST} or newer");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let parsed = Version::parse("2.10.0+build.2").unwrap();
        assert!(parsed > OLDEST && parsed == WITH_IMAGE_TAGS && Version::parse("2.9.1").unwrap() == OLDEST);
        assert!(Version::parse("CML").is_none());
        assert!(is_too_old("2.8.1+build.1") && !is_too_old("2.9.0") && !is_too_old("next"));
    }
}
