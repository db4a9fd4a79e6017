//! A pinned source: which commit of which repository, which tarball, which package.

use std::path::PathBuf;

use digests::Digest;

/// A source that cannot change any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// Fetched by the package manager inside the build.
    Package(String),
    Git(GitPin),
    Tarball {
        path: PathBuf,
        digest: Digest,
    },
}

/// A commit of a repository on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitPin {
    /// The repository that has the commit.
    pub repository: PathBuf,
    /// Where it came from, as the user or the manifest wrote it, without credentials.
    pub origin: String,
    pub reference: String,
    pub commit: String,
    /// When it was committed, in Unix seconds.
    pub time: u64,
}

impl Pin {
    /// Equal for equal sources: what decides the result of a build.
    pub fn identity(&self) -> String {
        match self {
            Self::Package(name) => format!("package {name}"),
            Self::Git(pin) => format!("git {}", pin.commit),
            Self::Tarball { digest, .. } => format!("sha256 {digest}"),
        }
    }

    /// What may be told of it to those who get the image: no place on this machine.
    pub fn origin(&self) -> sbom::Source {
        match self {
            Self::Package(name) => sbom::Source { package: Some(name.clone()), ..sbom::Source::default() },
            Self::Git(pin) => sbom::Source {
                git: Some(&pin.origin).filter(|url| url.contains("://") && !url.starts_with("file:")).cloned(),
                reference: Some(pin.reference.clone()),
                commit: Some(pin.commit.clone()),
                ..sbom::Source::default()
            },
            Self::Tarball { path, digest } => sbom::Source {
                file: path.file_name().map(|name| name.to_string_lossy().into_owned()),
                sha256: Some(digest.hex().to_owned()),
                ..sbom::Source::default()
            },
        }
    }

    pub fn describe(&self) -> String {
        match self {
            Self::Package(name) => format!("the distribution's source package {name}"),
            Self::Git(pin) => format!("{} at {}, commit {}", pin.origin, pin.reference, &pin.commit[..12]),
            Self::Tarball { path, .. } => path.display().to_string(),
        }
    }

    /// The value of the build argument that is named after the source.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Package(_) => "package",
            Self::Git(_) | Self::Tarball { .. } => "context",
        }
    }
}
