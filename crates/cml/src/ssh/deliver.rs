//! A node onto a server by ssh: files into one folder, then a script that installs them as root.
//!
//! The script is `cml_install_image.sh`; all that must not be left half done is in there, where it also serves a person
//! who carries it over by hand.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::access::Access;
use crate::address::Address;
use crate::bundle::{ArchiveFile, Bundle, Definition};
use crate::compare;
use crate::progress::Progress;
use crate::progress::with_bar;
use crate::report::Reversal;
use crate::report::{NodeReport, State};
use crate::ssh::doctor::{self, Needs, Verdict};
use crate::ssh::session::{Lost, Ssh, last_line};
use crate::ssh::transfer;
use crate::version::{OLDEST, Version};

/// As it lies beside the files on the server.
pub const SCRIPT: &str = include_str!("cml_install_image.sh");
const SCRIPT_NAME: &str = "cml_install_image.sh";
const SUMS: &str = "SHA256SUMS";

const FOLDERS: &str = "/var/tmp";
const IMAGES: &str = "/var/lib/libvirt/images";

/// How often a lost connection is made anew.
const TRIES: u32 = 3;

/// How long CML may take to come up after a restart.
const START_TIME: Duration = Duration::from_secs(600);

/// What `upload` may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub install: bool,
    pub restart: bool,
    pub dry_run: bool,
    /// Install what could not start there, too.
    pub force: bool,
}

/// What the server says of itself.
#[derive(Clone, Debug)]
pub struct About {
    pub version: Option<String>,
    pub ready: bool,
    /// Of the disk that nodes go to.
    pub free: u64,
}

/// The folder is this user's alone, and no link.
const FOLDER: &str = r#"set -e; umask 077; [ ! -L "$1" ]; mkdir -p "$1"; [ -O "$1" ] || { echo "$1 belongs to somebody else" >&2; exit 1; }"#;

/// What stands under an id: sums of the three files, and both definitions; `?` for what may not be read.
const LOOK: &str = r#"cd /var/lib/libvirt/images || exit 1
f=virl-base-images/$1/$1.tar.gz
if [ -r "$f" ]; then sha256sum <"$f" | cut -c 1-64; elif [ -e "$f" ]; then echo '?'; else echo -; fi
[ -e ".cml-nodes/$1/state" ] && echo interrupted || echo -"#;

const SHOW: &str = r#"cd /var/lib/libvirt/images || exit 1; [ -e "$1" ] || exit 44; cat "$1""#;

/// CML is asked on the server itself: there its own name and certificate don't matter.
const ABOUT: &str = r#"df -Pk /var/lib/libvirt/images | awk 'NR == 2 { print $4 }'
python3 - 2>/dev/null <<'END' || curl -sk --max-time 5 https://localhost/api/v0/system_information 2>/dev/null || :
import ssl, urllib.request
context = ssl._create_unverified_context()
print(urllib.request.urlopen("https://localhost/api/v0/system_information", timeout=5, context=context).read().decode())
END"#;

/// Brings what the server lacks, and installs it if that is wanted.
///
/// # Errors
/// If anything fails; the server then has what it had before.
pub async fn deliver(
    access: &Access,
    address: &Address,
    bundles: &[Bundle],
    needs: Needs,
    options: Options,
) -> Result<(Option<String>, Vec<NodeReport>)> {
    let mut connection = Connection { access, address, ssh: Ssh::open(access, address).await? };
    let about = about(&connection.ssh).await?;
    check_version(address, about.version.as_deref())?;
    let mut reports = Vec::new();
    let mut lacking = Vec::new();
    for bundle in bundles {
        let standing = Standing::read(&connection.ssh, &bundle.id).await?;
        let differences = standing.differences(bundle);
        if differences.is_empty() {
            reports.push(NodeReport::new(&bundle.id, State::Same));
        } else if options.dry_run {
            reports.push(NodeReport::new(&bundle.id, State::WouldInstall).with(differences));
        } else {
            let has_archive = standing.archive.as_deref() == Some(bundle.archive.digest.hex());
            lacking.push((bundle, has_archive, differences));
        }
    }
    if !lacking.is_empty() {
        if options.install {
            refuse_what_could_not_start(&connection.ssh, needs, options.force).await?;
        }
        let folder = folder_of(&connection.ssh, &lacking.iter().map(|(bundle, ..)| *bundle).collect::<Vec<_>>());
        for (bundle, has_archive, differences) in &lacking {
            check_space(address, &about, bundle, *has_archive)?;
            let (sent, time) = connection.bring(&folder, bundle, *has_archive).await?;
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            let report = NodeReport::new(&bundle.id, State::Transferred).with(differences.clone());
            reports.push(NodeReport { sent, millis, ..report });
        }
        connection.finish_folder(&folder, &lacking.iter().map(|(bundle, ..)| *bundle).collect::<Vec<_>>()).await?;
        let script = format!("{folder}/{SCRIPT_NAME}");
        if options.install {
            install(&connection.ssh, &script, options.restart).await?;
            for (bundle, ..) in &lacking {
                read_back(&connection.ssh, bundle).await?;
                mark_installed(&mut reports, &bundle.id);
            }
        } else {
            say_how_to_install(&connection.ssh, &script, options.restart)?;
        }
    }
    Ok((about.version, reports))
}

async fn refuse_what_could_not_start(ssh: &Ssh<'_>, needs: Needs, force: bool) -> Result<()> {
    let (_, findings) = doctor::examine(ssh, needs).await?;
    let wrong: Vec<String> = findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::Wrong)
        .map(|finding| format!("{} ({})", finding.what, finding.remedy))
        .collect();
    if force && !wrong.is_empty() {
        ssh.access().ui.warn(format_args!("{}: installing all the same (--force): {}", ssh.address, wrong.join("; ")));
        return Ok(());
    }
    anyhow::ensure!(
        wrong.is_empty(),
        "the node could not start on {}: {}\n`cargo xtask cml doctor --fix` puts it right; --force installs all the same",
        ssh.address,
        wrong.join("; ")
    );
    Ok(())
}

/// The state of each node there.
///
/// # Errors
/// If the connection fails.
pub async fn status(ssh: &Ssh<'_>, bundle: &Bundle) -> Result<NodeReport> {
    let standing = Standing::read(ssh, &bundle.id).await?;
    let mut details = standing.differences(bundle);
    let state = match (&standing, details.is_empty()) {
        (_, true) => State::Same,
        (Standing { node: None, image: None, archive: None, interrupted: false }, _) => State::Absent,
        _ => State::Differs,
    };
    if state == State::Absent {
        details.clear();
    }
    Ok(NodeReport::new(&bundle.id, state).with(details))
}

/// Runs the script's `rollback` or `remove`.
///
/// # Errors
/// If it fails; the server then has what it had before.
pub async fn reverse(
    access: &Access,
    address: &Address,
    reversal: Reversal,
    id: &str,
    options: Options,
) -> Result<NodeReport> {
    let ssh = Ssh::open(access, address).await?;
    let (what, state) = (reversal.name(), reversal.result());
    if options.dry_run {
        return Ok(NodeReport::new(id, state).with(vec!["nothing was done (--dry-run)".to_owned()]));
    }
    let folder = format!("{}/cml-nodes-{what}-{id}", folders(address));
    ssh.read(FOLDER, &[&folder]).await?;
    let script = format!("{folder}/{SCRIPT_NAME}");
    transfer::write(&ssh, &script, SCRIPT).await?;
    let ran = run_script(&ssh, &script, &format!("{what} {id}"), options.restart).await;
    ssh.read(r#"rm -f "$1/cml_install_image.sh"; rmdir "$1""#, &[&folder]).await?;
    let ran = ran?;
    if ran.lines().any(|line| line == format!("absent {id}")) {
        return Ok(NodeReport::new(id, State::Absent));
    }
    if options.restart {
        wait_until_ready(&ssh).await?;
    }
    Ok(NodeReport::new(id, state))
}

/// # Errors
/// If the server can't be asked.
pub async fn about(ssh: &Ssh<'_>) -> Result<About> {
    let text = ssh.read(ABOUT, &[]).await?;
    let (free, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let said: serde_json::Value = serde_json::from_str(rest.trim()).unwrap_or_default();
    Ok(About {
        version: said.get("version").and_then(|value| value.as_str()).map(str::to_owned),
        ready: said.get("ready").and_then(serde_json::Value::as_bool).unwrap_or(false),
        free: free.trim().parse::<u64>().unwrap_or(0) * 1024,
    })
}

fn check_version(address: &Address, version: Option<&str>) -> Result<()> {
    let known = version.and_then(Version::parse);
    anyhow::ensure!(
        known.is_none_or(|known| known >= OLDEST),
        "{address} runs CML {}; containers need {OLDEST} or newer",
        version.unwrap_or_default()
    );
    Ok(())
}

/// The archive is on the disk twice for a while: as it was brought, and staged.
fn check_space(address: &Address, about: &About, bundle: &Bundle, has_archive: bool) -> Result<()> {
    let need = bundle.archive.size * if has_archive { 1 } else { 2 };
    anyhow::ensure!(
        about.free > need,
        "{address}: the disk of {IMAGES} has {} left, {} needs {}",
        text::size(about.free),
        bundle.id,
        text::size(need)
    );
    Ok(())
}

/// What stands on the server under an id.
struct Standing {
    node: Option<Definition>,
    image: Option<Definition>,
    /// Its sum, or `?` if it may not be read.
    archive: Option<String>,
    /// An installation was cut off, and has not been made up for.
    interrupted: bool,
}

impl Standing {
    async fn read(ssh: &Ssh<'_>, id: &str) -> Result<Self> {
        let text = ssh
            .read(LOOK, &[id])
            .await
            .with_context(|| format!("{} is no CML server, or it can't be looked into", ssh.address))?;
        let mut lines = text.lines().map(|line| Some(line.to_owned()).filter(|line| line != "-"));
        let (archive, interrupted) = (lines.next().flatten(), lines.next().flatten().is_some());
        let node = definition(ssh, &format!("node-definitions/{id}.yaml")).await?;
        let image = definition(ssh, &format!("virl-base-images/{id}/{id}.yaml")).await?;
        Ok(Self { node, image, archive, interrupted })
    }

    fn differences(&self, bundle: &Bundle) -> Vec<String> {
        let mut found = Vec::new();
        let pairs = [
            ("node definition", &bundle.node_definition, &self.node),
            ("image definition", &bundle.image_definition, &self.image),
        ];
        for (name, ours, theirs) in pairs {
            match theirs.as_ref().map(|theirs| compare::differences(&ours.value, &theirs.value)) {
                None => found.push(format!("{name}: absent")),
                Some(paths) if paths.is_empty() => {}
                Some(paths) => found.push(format!("{name}: {}", paths.join(", "))),
            }
        }
        match self.archive.as_deref() {
            None => found.push("archive: absent".to_owned()),
            Some(sum) if sum == bundle.archive.digest.hex() => {}
            Some("?") => found.push("archive: it may not be read".to_owned()),
            Some(_) => found.push("archive: another".to_owned()),
        }
        if self.interrupted {
            found.push("an installation was interrupted; the next one makes up for it".to_owned());
        }
        found
    }
}

async fn definition(ssh: &Ssh<'_>, path: &str) -> Result<Option<Definition>> {
    let ran = ssh.run(SHOW, &[path]).await?;
    match ran.code {
        0 => Ok(Some(Definition::read(ran.stdout).with_context(|| format!("{path} on {}", ssh.address))?)),
        44 => Ok(None),
        _ => bail!("{}: {path} can't be read: {}", ssh.address, last_line(&ran.stderr)),
    }
}

fn folders(address: &Address) -> &str {
    address.path.as_deref().map_or(FOLDERS, |path| path.trim_end_matches('/'))
}

/// One folder for just these contents and this user, so that a transfer which was cut off is found again.
fn folder_of(ssh: &Ssh<'_>, bundles: &[&Bundle]) -> String {
    let digest = digests::Digest::of(format!("{}\n{}", ssh.user(), sums(bundles)));
    format!("{}/cml-nodes-{}", folders(&ssh.address), digest.short())
}

fn sums(bundles: &[&Bundle]) -> String {
    let of = |bundle: &&Bundle| {
        let id = &bundle.id;
        format!(
            "{}  node-definitions/{id}.yaml\n{}  virl-base-images/{id}/{id}.yaml\n{}  virl-base-images/{id}/{}\n",
            bundle.node_definition.digest(),
            bundle.image_definition.digest(),
            bundle.archive.digest,
            bundle.archive.name
        )
    };
    bundles.iter().map(of).collect()
}

/// A login that is made anew when it is lost.
struct Connection<'a> {
    access: &'a Access,
    address: &'a Address,
    ssh: Ssh<'a>,
}

impl Connection<'_> {
    /// Brings a node's files into the folder; yields the bytes of archive that were sent, and how long the last
    /// attempt's were on their way.
    async fn bring(&mut self, folder: &str, bundle: &Bundle, has_archive: bool) -> Result<(u64, Duration)> {
        let (progress, archive) = (Progress::default(), &bundle.archive);
        let mut again = TRIES;
        loop {
            again -= 1;
            let done = self.bring_once(folder, bundle, has_archive, &progress).await;
            let lost = done.as_ref().is_err_and(|error| error.chain().any(|cause| cause.is::<Lost>()));
            match done {
                Ok(time) => return Ok((progress.bytes(), time)),
                Err(error) if again == 0 || !lost => return Err(self.kept(error, archive)),
                Err(error) => self.access.ui.note(format_args!("{error:#}; connecting again")),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.ssh = Ssh::open(self.access, self.address).await.map_err(|error| self.kept(error, archive))?;
        }
    }

    fn kept(&self, error: anyhow::Error, archive: &ArchiveFile) -> anyhow::Error {
        let (at, name) = (self.address, &archive.name);
        error.context(format!("{at} did not get all of {name}; what has arrived is kept, a repeat goes on from there"))
    }

    async fn bring_once(
        &self,
        folder: &str,
        bundle: &Bundle,
        has_archive: bool,
        progress: &Progress,
    ) -> Result<Duration> {
        let (ssh, id) = (&self.ssh, &bundle.id);
        ssh.read(FOLDER, &[folder]).await?;
        transfer::write(ssh, &format!("{folder}/node-definitions/{id}.yaml"), &bundle.node_definition.text).await?;
        transfer::write(ssh, &format!("{folder}/virl-base-images/{id}/{id}.yaml"), &bundle.image_definition.text)
            .await?;
        if has_archive {
            return Ok(Duration::ZERO);
        }
        let (archive, path) = (&bundle.archive, format!("{folder}/virl-base-images/{id}/{}", bundle.archive.name));
        let label = format!("{}: bringing {} ({})", self.address, archive.name, text::size(archive.size));
        with_bar(self.access, &label, progress, transfer::bring(ssh, archive, &path, progress)).await
    }

    /// The script comes last: where it is, everything is, and its sums are right.
    async fn finish_folder(&self, folder: &str, bundles: &[&Bundle]) -> Result<()> {
        transfer::write(&self.ssh, &format!("{folder}/{SUMS}"), &sums(bundles)).await?;
        // The archives were checked as they arrived.
        let check = r#"cd "$1" && grep '\.yaml$' SHA256SUMS | sha256sum --check --strict --quiet -"#;
        self.ssh.read(check, &[folder]).await.context("what has arrived is not what was sent")?;
        transfer::write(&self.ssh, &format!("{folder}/{SCRIPT_NAME}"), SCRIPT).await
    }
}

async fn install(ssh: &Ssh<'_>, script: &str, restart: bool) -> Result<()> {
    run_script(ssh, script, "install", restart).await?;
    if restart {
        wait_until_ready(ssh).await?;
    }
    Ok(())
}

/// Runs the script as root; yields what it printed.
async fn run_script(ssh: &Ssh<'_>, script: &str, words: &str, restart: bool) -> Result<String> {
    let restart = if restart { "--restart " } else { "" };
    let ran = ssh.as_root(&format!("sh {script} {restart}{words}")).await?;
    if ran.code != 0 {
        let said = ran
            .stderr
            .lines()
            .map(|line| line.trim_start_matches("cml_install_image: "))
            .filter(|line| !line.trim().is_empty());
        let said: Vec<String> = said.map(text::printable).collect();
        bail!("{}: the script failed (exit code {}): {}", ssh.address, ran.code, said.join("; "));
    }
    Ok(ran.stdout)
}

/// After a restart CML takes a minute or more to answer.
async fn wait_until_ready(ssh: &Ssh<'_>) -> Result<()> {
    let (since, spinner) =
        (Instant::now(), ssh.access().ui.spinner(format!("{}: waiting until CML is ready again", ssh.address)));
    let ready = loop {
        if about(ssh).await?.ready {
            break Ok(());
        }
        if since.elapsed() > START_TIME {
            break Err(anyhow!(
                "{}: the node is installed, but CML did not get ready within {} s",
                ssh.address,
                START_TIME.as_secs()
            ));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    spinner.finish_and_clear();
    ready
}

async fn read_back(ssh: &Ssh<'_>, bundle: &Bundle) -> Result<()> {
    let differences = Standing::read(ssh, &bundle.id).await?.differences(bundle);
    anyhow::ensure!(
        differences.is_empty(),
        "{}: {} is installed, but not as it is here: {}",
        ssh.address,
        bundle.id,
        differences.join("; ")
    );
    Ok(())
}

fn mark_installed(reports: &mut [NodeReport], id: &str) {
    for report in reports.iter_mut().filter(|report| report.id == id) {
        report.state = State::Installed;
    }
}

fn say_how_to_install(ssh: &Ssh<'_>, script: &str, restart: bool) -> Result<()> {
    let restart = if restart { " --restart" } else { "" };
    let sudo = if ssh.is_root() { "" } else { "sudo " };
    ssh.access().ui.note("everything has arrived, and its sums are right. To install it, run:");
    ssh.access().ui.note(format_args!("    {}", ssh.as_typed(&format!("{sudo}sh {script}{restart}"))));
    Ok(())
}
