//! Git repositories in the place of an upstream.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A server that there is not. Git gets files of this machine instead.
pub const SERVER: &str = "https://upstream.test";

/// Settings of git for every command under test.
pub const ENVIRONMENT: [(&str, &str); 3] = [
    ("GIT_CONFIG_COUNT", "1"),
    ("GIT_CONFIG_KEY_0", "url.file:///.insteadOf"),
    ("GIT_CONFIG_VALUE_0", "https://upstream.test/"),
];

/// An upstream repository with one branch, `main`.
pub struct Upstream(TempDir);

impl Upstream {
    /// With a first commit of version `version`.
    pub fn of_version(version: &str) -> Self {
        let upstream = Self(tempfile::tempdir().expect("a temporary folder"));
        upstream.git(&["init", "--quiet", "--initial-branch=main"]);
        upstream.release(version);
        upstream
    }

    /// Commits another version. Returns the commit.
    pub fn release(&self, version: &str) -> String {
        self.commit("configure.ac", &format!("AC_INIT([tiny], [{version}])\n"))
    }

    /// Commits a file. Returns the commit.
    pub fn commit(&self, file: &str, text: &str) -> String {
        std::fs::write(self.path().join(file), text).expect("a file of ours");
        self.git(&["add", "."]);
        self.git(&["-c", "user.name=test", "-c", "user.email=test@test", "commit", "--quiet", "--message=release"]);
        self.head()
    }

    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// As the manifest may name it, which knows only repositories of servers: see [`ENVIRONMENT`].
    pub fn url(&self) -> String {
        format!("{SERVER}{}", self.path().display())
    }

    /// A bare copy of it in `folder`.
    pub fn bare(&self, folder: &Path) -> PathBuf {
        let bare = folder.join("bare.git");
        self.git(&["clone", "--quiet", "--bare", ".", bare.to_str().expect("UTF-8")]);
        bare
    }

    /// A release archive of it in `folder`.
    pub fn tarball(&self, folder: &Path) -> PathBuf {
        let tarball = folder.join("tiny.tar.gz");
        self.git(&["archive", "--prefix=tiny/", "--output", tarball.to_str().expect("UTF-8"), "HEAD"]);
        tarball
    }

    /// Runs git here. Returns what it prints.
    pub fn git(&self, args: &[&str]) -> String {
        duct::cmd("git", args).dir(self.path()).stderr_capture().read().expect("git")
    }
}
