//! What Podman can do on this machine, found out by trying it once: storing an image, starting a container. The answer
//! is remembered until the machine restarts or one of the programs changes.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::engine::embedded::paths::EmbeddedPaths;
use crate::engine::embedded::settings::{self, Runtime, Settings, Storage};
use crate::engine::embedded::{processes, storage};
use crate::machine;
use digests::Digest;
use ui::Ui;
use ui::interrupt::Interrupted;

/// The oldest major version of Podman whose service does all that is needed.
pub const OLDEST_PODMAN: u32 = 4;

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// To be raised when something else is tried.
const FORMAT: u32 = 1;

const IMAGE: &str = "localhost/cml-nodes-probe";

/// What Podman can do on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSupport {
    /// A digest of what the answer depends on.
    #[serde(rename = "of")]
    key: String,
    pub storage: Storage,
    /// Why it is not a better one.
    pub storage_because: Vec<String>,
    /// How containers run, or why they do not.
    pub runtime: Result<Runtime, String>,
}

/// The major version of the installed Podman, and the whole version.
pub fn podman_version() -> Result<(u32, String)> {
    let printed =
        duct::cmd!("podman", "--version").stdin_null().stderr_null().read().context("could not run podman")?;
    let version = printed.split_whitespace().last().unwrap_or_default().to_owned();
    let major = version.split('.').next().and_then(|number| number.parse().ok());
    Ok((major.with_context(|| format!("`podman --version` printed no version: {printed}"))?, version))
}

/// What Podman can do here: remembered, or found out. Fails if nothing can be built; the error says what was tried.
pub fn machine_support(ui: &Ui, paths: &EmbeddedPaths) -> Result<MachineSupport> {
    let key = current_key()?;
    let record = paths.storage.join("fitness.json");
    let known = std::fs::read(&record).ok().and_then(|bytes| serde_json::from_slice::<MachineSupport>(&bytes).ok());
    if let Some(known) = known.filter(|known| known.key == key) {
        return Ok(known);
    }
    let spinner = ui.spinner("finding out what containers can do on this machine");
    let found = Probe::new(ui, paths).and_then(|probe| probe.run(key));
    spinner.finish_and_clear();
    let found = found?;
    if ui.interrupt().is_asked() {
        // What was found may only be that Podman was interrupted.
        bail!(Interrupted);
    }
    files::write(&record, 0o600, serde_json::to_vec(&found)?)?;
    Ok(found)
}

/// A digest of the programs with their times, the user, and the machine's current boot.
fn current_key() -> Result<String> {
    let mut facts = format!("{FORMAT} {} ", machine::user_id());
    facts += std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim();
    for name in ["podman", "runc", "crun", "fuse-overlayfs", "newuidmap"] {
        let Ok(program) = which::which(name) else { continue };
        let found = program.metadata().with_context(|| program.display().to_string())?;
        facts += &format!(" {} {}", program.display(), found.mtime());
    }
    Ok(Digest::of(facts).hex().to_owned())
}

/// A storage for the attempts, which is removed when this is dropped.
struct Probe<'a> {
    ui: &'a Ui,
    paths: EmbeddedPaths,
    context: tempfile::TempDir,
    /// `--volume` arguments: this machine's programs, for a container that has none.
    volumes: Vec<String>,
    program: PathBuf,
}

impl<'a> Probe<'a> {
    fn new(ui: &'a Ui, paths: &EmbeddedPaths) -> Result<Self> {
        let paths = paths.nested(&format!("probe-{}", std::process::id()));
        paths.create()?;
        let context = tempfile::tempdir_in(&paths.storage).context("creating a folder for a first container")?;
        let program = which::which("true").context("the program `true` is not installed")?;
        let mut probe = Self { ui, paths, context, volumes: Vec::new(), program };
        probe.create_context()?;
        Ok(probe)
    }

    /// The files of an image: a few links into this machine's folders.
    fn create_context(&mut self) -> Result<()> {
        let root = self.context.path().join("root");
        std::fs::create_dir(&root)?;
        std::fs::write(root.join("probe"), "a first file\n")?;
        for name in ["usr", "bin", "sbin", "lib", "lib64", "nix"] {
            let here = Path::new("/").join(name);
            match std::fs::read_link(&here) {
                Ok(target) => std::os::unix::fs::symlink(target, root.join(name))?,
                Err(_) if here.is_dir() => {
                    self.volumes.extend(["--volume".to_owned(), format!("/{name}:/{name}:ro")]);
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn run(&self, key: String) -> Result<MachineSupport> {
        let mut storage_because = Vec::new();
        for storage in storages() {
            if let Err(error) = self.store_an_image(storage) {
                storage_because.push(format!("{}: {error:#}", storage.name()));
                continue;
            }
            let runtime = self.runtime(storage);
            if let Err(why) = &runtime {
                self.build_in_chroot(storage)
                    .map_err(|error| anyhow!("nor can builds run in a chroot: {error:#}"))
                    .with_context(|| format!("containers cannot run on this machine: {why}"))?;
            }
            return Ok(MachineSupport { key, storage, storage_because, runtime });
        }
        bail!("Podman cannot store images here:\n  {}", storage_because.join("\n  "))
    }

    /// The first way in which a container starts.
    fn runtime(&self, storage: Storage) -> Result<Runtime, String> {
        let mut tried = Vec::new();
        for runtime in runtimes() {
            match self.start_a_container(storage, &runtime) {
                Ok(()) => return Ok(runtime),
                Err(error) => tried.push(format!("{} with {}: {error:#}", runtime.name, runtime.cgroups)),
            }
        }
        Err(if tried.is_empty() { "neither crun nor runc is installed".to_owned() } else { tried.join("; ") })
    }

    /// An image, and one on top of it, so that layers are put together.
    fn store_an_image(&self, storage: Storage) -> Result<()> {
        self.build(storage, "FROM scratch\nCOPY root/ /\n", &[], 1)?;
        self.build(storage, &format!("FROM {IMAGE}:1\nCOPY root/ /\n"), &[], 2)
    }

    fn build_in_chroot(&self, storage: Storage) -> Result<()> {
        let program = serde_json::to_string(&[&self.program])?;
        self.build(storage, &format!("FROM {IMAGE}:2\nRUN {program}\n"), &self.volumes, 3)
    }

    fn build(&self, storage: Storage, dockerfile: &str, extra: &[String], number: u32) -> Result<()> {
        let settings = settings::write(&self.paths, storage, None)?;
        let (path, tag) = (self.context.path().join("Dockerfile"), format!("{IMAGE}:{number}"));
        std::fs::write(&path, dockerfile)?;
        let start = ["build", "--quiet", "--pull=never", "--isolation=chroot", "--layers=false", "--tag", &tag];
        let end = ["--file".into(), path.into(), self.context.path().into()];
        self.podman(start.map(OsString::from).into_iter().chain(extra.iter().map(Into::into)).chain(end), &settings)
    }

    fn start_a_container(&self, storage: Storage, runtime: &Runtime) -> Result<()> {
        let settings = settings::write(&self.paths, storage, Some(runtime))?;
        let start = ["run", "--rm", "--network", "none"].map(OsString::from).into_iter();
        let end = [format!("{IMAGE}:2").into(), self.program.clone().into()];
        self.podman(start.chain(self.volumes.iter().map(Into::into)).chain(end), &settings)
    }

    fn podman(&self, args: impl Iterator<Item = OsString>, settings: &Settings) -> Result<()> {
        let args: Vec<OsString> = args.collect();
        let shown: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        self.ui.command(format_args!("podman {}", shown.join(" ")));
        let command = settings.podman(args).stdout_null().stderr_capture().unchecked();
        // A terminal's Ctrl-C must not look like a failure of Podman: the result is remembered.
        let command = command.before_spawn(|command| {
            command.process_group(0);
            Ok(())
        });
        let running = command.start().context("could not run podman")?;
        let Some(output) = process::wait(self.ui, &running, Some(TIMEOUT))? else {
            running.kill()?;
            bail!("no answer within {} s", TIMEOUT.as_secs())
        };
        ensure!(output.status.success(), "{}", reason(&String::from_utf8_lossy(&output.stderr)));
        Ok(())
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        processes::end_processes_alone(&self.paths);
        if let Err(error) = storage::remove_folder(&self.paths.storage) {
            self.ui.warn(format_args!("could not remove {}: {error:#}", self.paths.storage.display()));
        }
        let _ = storage::remove_folder(&self.paths.runtime);
    }
}

fn storages() -> Vec<Storage> {
    let fuse = which::which("fuse-overlayfs").is_ok().then_some(Storage::FuseOverlayfs);
    [Some(Storage::Overlay), fuse, Some(Storage::Vfs)].into_iter().flatten().collect()
}

/// crun is Podman's default; runc also works with control groups that crun does not support (`quirks.rs`).
fn runtimes() -> Vec<Runtime> {
    let session = if machine::is_root() { Some("/run".into()) } else { std::env::var_os("XDG_RUNTIME_DIR") };
    let session = session.map(|folder| Path::new(&folder).join("systemd"));
    let has_systemd = session.is_some_and(|folder| folder.is_dir()) && Path::new("/run/systemd/system").is_dir();
    let cgroups: &[&str] = if has_systemd { &["systemd", "cgroupfs"] } else { &["cgroupfs"] };
    let names = ["crun", "runc"].into_iter().filter(|name| machine::is_installed(name));
    let runtime = |name: &str, cgroups: &str| Runtime { name: name.to_owned(), cgroups: cgroups.to_owned() };
    names.flat_map(|name| cgroups.iter().map(move |cgroups| runtime(name, cgroups))).collect()
}

/// The last line of Podman's error output, without the time and quotes around it.
fn reason(stderr: &str) -> String {
    let line = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed no error");
    let line = line.split_once("msg=").map_or(line, |(_, message)| message.trim_matches('"'));
    line.trim_start_matches("Error: ").chars().take(400).collect()
}
