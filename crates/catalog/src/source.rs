//! Finds, fetches and reads source code, and pins it.
//!
//! Git sources are fetched on the host into a cache of bare repositories. A branch stays at the commit that was fetched
//! first until `--refresh` moves it: builds can be repeated, and work without a network.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use xshell::{Shell, cmd};

use crate::manifest::VersionFrom;
use crate::pin::{GitPin, Pin};
use crate::url::{NO_CREDENTIALS, has_credentials, without_credentials};
use digests::Digest;
use ui::Ui;

const PROBE_TIME: Duration = Duration::from_secs(8);

/// The cache of git repositories, and the tools that read sources.
pub struct Sources<'a> {
    ui: &'a Ui,
    shell: Shell,
    folder: PathBuf,
}

impl<'a> Sources<'a> {
    pub fn new(ui: &'a Ui, cache: &Path) -> Result<Self> {
        let shell = Shell::new()?;
        // The progress bars would hide a password prompt of git's, and the program would hang.
        shell.set_var("GIT_TERMINAL_PROMPT", "0");
        Ok(Self { ui, shell, folder: cache.join("git") })
    }

    /// The commit that this branch or tag was pinned to by an earlier fetch.
    pub fn pinned(&self, url: &str, reference: &str) -> Option<GitPin> {
        let repository = self.bare(url);
        repository.is_dir().then(|| self.pin(&repository, url, reference, &pin_name(reference)).ok()).flatten()
    }

    /// Fetches the branch or tag as it is now, and pins it.
    pub fn fetch(&self, url: &str, reference: &str) -> Result<GitPin> {
        require_git()?;
        let repository = self.bare(url);
        let (sh, pin) = (&self.shell, pin_name(reference));
        if !repository.is_dir() {
            process::read(self.ui, cmd!(sh, "git init --quiet --bare {repository}"))?;
        }
        self.ui.note(format_args!("fetching {url} {reference}"));
        let refspec = format!("+{reference}:{pin}");
        let fetch = cmd!(sh, "git -C {repository} fetch --quiet --depth 1 --no-tags {url} {refspec}").quiet();
        let advice = format!("is the network up? To use a copy on this machine: --source PATH#{reference}");
        process::run(self.ui, fetch).with_context(|| format!("could not fetch {url} {reference}; {advice}"))?;
        self.pin(&repository, url, reference, &pin)
    }

    /// Checks that the repository answers and has the branch or tag.
    pub fn probe(&self, url: &str, reference: &str) -> Result<()> {
        require_git()?;
        let probe = duct::cmd!("git", "ls-remote", "--exit-code", url, reference)
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin_null()
            .stdout_null()
            .stderr_capture()
            .unchecked()
            .start()?;
        let Some(output) = process::wait(self.ui, &probe, Some(PROBE_TIME))? else {
            probe.kill()?;
            bail!("{url} did not answer within {} s", PROBE_TIME.as_secs());
        };
        let stderr = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => Ok(()),
            Some(2) => bail!("{url} has no branch or tag {reference}"),
            _ => bail!("could not reach {url} ({})", stderr.lines().next().unwrap_or("git failed").trim()),
        }
    }

    /// Refuses a `--source` path that does not exist. A URL is not tried.
    pub fn check_given(&self, spec: &str) -> Result<()> {
        let (place, _) = split_reference(spec);
        anyhow::ensure!(!has_credentials(place), "--source: {}: {NO_CREDENTIALS}", without_credentials(place));
        anyhow::ensure!(place.contains("://") || Path::new(place).exists(), "--source: {place} does not exist");
        Ok(())
    }

    /// The pin of `--source PATH[#REF]`: a git checkout, a bare repository, a tarball or a git URL.
    pub fn given(&self, spec: &str, refresh: bool) -> Result<Pin> {
        let (place, reference) = split_reference(spec);
        if place.contains("://") {
            let reference = reference.unwrap_or("HEAD");
            let pinned = self.pinned(place, reference).filter(|_| !refresh);
            return Ok(Pin::Git(pinned.map_or_else(|| self.fetch(place, reference), Ok)?));
        }
        let path = Path::new(place).canonicalize().with_context(|| format!("--source: {place} does not exist"))?;
        if path.is_dir() {
            return Ok(Pin::Git(self.local(&path, place, reference)?));
        }
        anyhow::ensure!(reference.is_none(), "--source: {place} is a file, but `#REF` needs a git repository");
        let digest = Digest::of_file(&path).with_context(|| format!("--source: could not read {place}"))?;
        Ok(Pin::Tarball { path, digest })
    }

    fn local(&self, path: &Path, place: &str, reference: Option<&str>) -> Result<GitPin> {
        require_git()?;
        let sh = &self.shell;
        process::read(self.ui, cmd!(sh, "git -C {path} rev-parse --git-dir"))
            .with_context(|| format!("--source: {place} is neither a git repository nor a tarball"))?;
        let status = process::read(self.ui, cmd!(sh, "git -C {path} status --porcelain --untracked-files=no"));
        if reference.is_none() && status.is_ok_and(|changes| !changes.is_empty()) {
            self.ui.warn(format_args!("{place} has uncommitted changes, which are not built: HEAD is"));
        }
        let reference = reference.unwrap_or("HEAD");
        let remote = format!("refs/remotes/origin/{reference}");
        self.pin(path, place, reference, reference)
            .or_else(|error| self.pin(path, place, reference, &remote).map_err(|_| error))
            .with_context(|| format!("--source: {place} has no branch, tag or commit `{reference}`"))
    }

    fn pin(&self, repository: &Path, origin: &str, reference: &str, revision: &str) -> Result<GitPin> {
        let sh = &self.shell;
        let revision = format!("{revision}^{{commit}}");
        let show = cmd!(sh, "git -C {repository} show --no-patch --format=%H/%ct --end-of-options {revision}");
        let shown = process::read(self.ui, show)?;
        let unexpected = || format!("git show printed `{shown}`");
        let (commit, time) = shown.split_once('/').with_context(unexpected)?;
        Ok(GitPin {
            repository: repository.to_owned(),
            origin: without_credentials(origin),
            reference: reference.to_owned(),
            commit: commit.to_owned(),
            time: time.parse().with_context(unexpected)?,
        })
    }

    pub fn version(&self, pin: &Pin, from: &VersionFrom) -> Result<String> {
        let file = from.file.as_str();
        let sh = &self.shell;
        let text = match pin {
            Pin::Package(_) => bail!("the version of a package is known only inside the build"),
            Pin::Git(GitPin { repository, commit, .. }) => {
                process::read(self.ui, cmd!(sh, "git -C {repository} show {commit}:{file}"))
            }
            Pin::Tarball { path, .. } => self.file_of_tarball(path, file),
        };
        let text = text.with_context(|| format!("{} has no file {file}; is it the right source?", pin.describe()))?;
        from.pattern
            .find(&text)
            .ok_or_else(|| anyhow!("{file} of {} does not state a version that `version_from` matches", pin.describe()))
    }

    fn file_of_tarball(&self, path: &Path, file: &str) -> Result<String> {
        let sh = &self.shell;
        let names = process::read(self.ui, cmd!(sh, "tar -tf {path}"))?;
        let is_it = |name: &&str| name.trim_start_matches("./").split_once('/').is_some_and(|(_, inner)| inner == file);
        let name = names.lines().find(is_it).ok_or_else(|| anyhow!("not in the archive"))?;
        process::read(self.ui, cmd!(sh, "tar -xOf {path} -- {name}"))
    }

    /// The source as a tar archive with one leading folder, for the build context; made in `scratch` if need be. None
    /// for a package.
    pub fn as_file(&self, name: &str, pin: &Pin, scratch: &Path) -> Result<Option<PathBuf>> {
        match pin {
            Pin::Package(_) => Ok(None),
            Pin::Tarball { path, .. } => Ok(Some(path.clone())),
            Pin::Git(pin) => {
                let (sh, file, GitPin { repository, commit, .. }) =
                    (&self.shell, scratch.join(format!("{name}.tar")), pin);
                let archive =
                    cmd!(sh, "git -C {repository} archive --format=tar --prefix={name}/ --output={file} {commit}");
                process::read(self.ui, archive)?;
                Ok(Some(file))
            }
        }
    }

    fn bare(&self, url: &str) -> PathBuf {
        let last = url.trim_end_matches('/').rsplit('/').next().unwrap_or("source").trim_end_matches(".git");
        let readable: String = last.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        self.folder.join(format!("{readable}-{}.git", Digest::of(url).short()))
    }
}

/// The private ref that keeps a fetched branch or tag.
fn pin_name(reference: &str) -> String {
    format!("refs/cml-nodes/{reference}")
}

/// `PATH#REF` → path and ref. An existing path that contains a `#` is taken whole.
fn split_reference(spec: &str) -> (&str, Option<&str>) {
    match spec.rsplit_once('#') {
        Some((place, reference)) if !Path::new(spec).exists() => (place, Some(reference)),
        _ => (spec, None),
    }
}

fn require_git() -> Result<()> {
    which::which("git").map(drop).map_err(|_| anyhow!("git is not installed; `cargo xtask setup` installs it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let sh = Shell::new().unwrap();
        sh.change_dir(folder.path());
        sh.write_file("configure.ac", "AC_INIT([tiny], [4.2.1-dev], [x])\n").unwrap();
        cmd!(sh, "git init --quiet -b main").run().unwrap();
        cmd!(sh, "git add .").quiet().run().unwrap();
        cmd!(sh, "git -c user.name=t -c user.email=t@t commit --quiet -m one").quiet().run().unwrap();
        cmd!(sh, "git tag v1").quiet().run().unwrap();
        folder
    }

    fn version_from() -> VersionFrom {
        serde_yaml::from_str(r"{file: configure.ac, pattern: 'AC_INIT\(\[tiny\], \[([0-9]+\.[0-9]+)'}").unwrap()
    }

    fn with_sources<R>(test: impl FnOnce(&Sources<'_>, &Path) -> R) -> R {
        let (ui, cache) = (Ui::new(false), tempfile::tempdir().unwrap());
        test(&Sources::new(&ui, cache.path()).unwrap(), cache.path())
    }

    #[test]
    fn a_checkout_a_bare_repository_and_a_tarball_state_their_version() {
        let checkout = repository();
        let other = tempfile::tempdir().unwrap();
        let (sh, from, bare) = (Shell::new().unwrap(), checkout.path(), other.path().join("bare"));
        cmd!(sh, "git clone --quiet --bare {from} {bare}").quiet().run().unwrap();
        let tarball = other.path().join("tiny.tar.gz");
        cmd!(sh, "git -C {from} archive --prefix=tiny-4.2.1/ -o {tarball} HEAD").quiet().run().unwrap();
        with_sources(|sources, _| {
            for spec in
                [format!("{}#main", from.display()), format!("{}#v1", bare.display()), tarball.display().to_string()]
            {
                let pin = sources.given(&spec, false).unwrap();
                assert_eq!(sources.version(&pin, &version_from()).unwrap(), "4.2", "{spec}");
            }
        });
    }

    #[test]
    fn a_fetched_branch_stays_pinned_until_it_is_fetched_again() {
        let checkout = repository();
        let url = format!("file://{}", checkout.path().display());
        with_sources(|sources, _| {
            assert!(sources.pinned(&url, "main").is_none());
            let first = sources.fetch(&url, "main").unwrap();
            let sh = Shell::new().unwrap();
            sh.change_dir(checkout.path());
            cmd!(sh, "git -c user.name=t -c user.email=t@t commit --quiet --allow-empty -m two").quiet().run().unwrap();
            assert_eq!(sources.pinned(&url, "main").unwrap(), first);
            assert_ne!(sources.fetch(&url, "main").unwrap().commit, first.commit);
        });
    }

    #[test]
    fn what_is_not_a_source_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        with_sources(|sources, _| {
            let error = |spec: &str| format!("{:#}", sources.given(spec, false).unwrap_err());
            assert!(error("/no/such/place").contains("/no/such/place does not exist"));
            assert!(error(&folder.path().display().to_string()).contains("neither a git repository nor a tarball"));
            let checkout = repository();
            assert!(error(&format!("{}#none", checkout.path().display())).contains("no branch, tag or commit `none`"));
        });
    }

    #[test]
    fn an_unreachable_repository_is_reported() {
        with_sources(|sources, _| {
            let error = sources.probe("file:///no/such/repository", "main").unwrap_err().to_string();
            assert!(error.contains("could not reach"), "{error}");
            let checkout = repository();
            let url = format!("file://{}", checkout.path().display());
            assert!(sources.probe(&url, "main").is_ok());
            assert!(sources.probe(&url, "none").unwrap_err().to_string().contains("no branch or tag none"));
        });
    }

    #[test]
    fn a_given_url_with_credentials_is_refused_and_not_repeated() {
        let (cache, ui) = (tempfile::tempdir().unwrap(), Ui::new(false));
        let sources = Sources::new(&ui, cache.path()).unwrap();
        let error = sources.check_given("https://me:s3cret@host/a.git#main").unwrap_err().to_string();
        assert!(error.contains("--source: https://host/a.git: a git URL") && !error.contains("s3cret"), "{error}");
    }
}
