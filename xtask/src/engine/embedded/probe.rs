//! What this machine lets Podman do, found out by doing it once: keep an image, start a container. The answer is remembered
//! until the machine starts again or one of the programs changes.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::engine::embedded::paths::EmbeddedPaths;
use crate::engine::embedded::settings;
use crate::engine::embedded::settings::{Runtime, Settings, Storage};
use crate::machine;
use digests::Digest;
use ui::Ui;

/// The oldest Podman whose service does all that is needed.
pub const OLDEST: u32 = 4;

/// How long one attempt may take.
const TIME: Duration = Duration::from_secs(60);

/// Raise it when something else is tried.
const FORMAT: u32 = 1;

const IMAGE: &str = "localhost/cml-nodes-probe";

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineSupport {
    /// What it depends on.
    of: String,
    pub storage: Storage,
    /// Why it is not a better one.
    pub storage_because: Vec<String>,
    /// By which containers run, or what stands against it.
    pub runtime: Result<Runtime, String>,
}

/// The version of the installed Podman, its first number apart.
///
/// # Errors
/// If it is not installed, or does not say.
pub fn version() -> Result<(u32, String)> {
    let said = duct::cmd!("podman", "--version").stdin_null().stderr_null().read().context("podman can't be run")?;
    let version = said.split_whitespace().last().unwrap_or_default().to_owned();
    let major = version.split('.').next().and_then(|number| number.parse().ok());
    Ok((major.with_context(|| format!("podman names no version: {said}"))?, version))
}

/// What this machine lets Podman do.
///
/// # Errors
/// If nothing can be built here in any way; says what was tried.
pub fn machine_support(ui: &Ui, paths: &EmbeddedPaths) -> Result<MachineSupport> {
    let of = depends_on()?;
    let record = paths.storage.join("fitness.json");
    let known = std::fs::read(&record).ok().and_then(|bytes| serde_json::from_slice::<MachineSupport>(&bytes).ok());
    if let Some(known) = known.filter(|known| known.of == of) {
        return Ok(known);
    }
    let spinner = ui.spinner("finding out what this machine lets containers do");
    let found = Probe::new(ui, paths).and_then(|probe| probe.run(of));
    spinner.finish_and_clear();
    let found = found?;
    let file = tempfile::NamedTempFile::new_in(&paths.storage).context("writing down what was found out")?;
    serde_json::to_writer(&file, &found)?;
    file.persist(&record).with_context(|| record.display().to_string())?;
    Ok(found)
}

/// The programs with their times, who asks, and since when the machine runs.
fn depends_on() -> Result<String> {
    let mut of = format!("{FORMAT} {} ", machine::user_id());
    of += std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim();
    for name in ["podman", "runc", "crun", "fuse-overlayfs", "newuidmap"] {
        let Ok(program) = which::which(name) else { continue };
        let found = program.metadata().with_context(|| program.display().to_string())?;
        of += &format!(" {} {}", program.display(), found.mtime());
    }
    Ok(Digest::of(of).hex().to_owned())
}

/// A storage for the attempts, which goes when this is dropped.
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
        let paths = paths.beside(&format!("probe-{}", std::process::id()));
        paths.create()?;
        let context = tempfile::tempdir_in(&paths.storage).context("making a folder for a first container")?;
        let program = which::which("true").context("this machine has no `true`")?;
        let mut probe = Self { ui, paths, context, volumes: Vec::new(), program };
        probe.lay_out()?;
        Ok(probe)
    }

    /// An image of a few links; what they lead to are this machine's folders.
    fn lay_out(&mut self) -> Result<()> {
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

    fn run(&self, of: String) -> Result<MachineSupport> {
        let mut storage_because = Vec::new();
        for storage in storages() {
            match self.keep_an_image(storage) {
                Ok(()) => {
                    let runtime = self.runtime(storage);
                    if let Err(why) = &runtime {
                        self.build_in_chroot(storage)
                            .map_err(|error| anyhow!("neither does it let a build run in a chroot: {error:#}"))
                            .with_context(|| format!("this machine lets no container run: {why}"))?;
                    }
                    return Ok(MachineSupport { of, storage, storage_because, runtime });
                }
                Err(error) => storage_because.push(format!("{}: {error:#}", storage.name())),
            }
        }
        bail!("Podman can keep no image here:\n  {}", storage_because.join("\n  "))
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
    fn keep_an_image(&self, storage: Storage) -> Result<()> {
        let settings = settings::write(&self.paths, storage, None)?;
        for (base, tag) in [("scratch", format!("{IMAGE}:1")), (&*format!("{IMAGE}:1"), format!("{IMAGE}:2"))] {
            self.build(&format!("FROM {base}\nCOPY root/ /\n"), &[], &tag, &settings)?;
        }
        Ok(())
    }

    fn build_in_chroot(&self, storage: Storage) -> Result<()> {
        let settings = settings::write(&self.paths, storage, None)?;
        let program = serde_json::to_string(&[&self.program])?;
        self.build(&format!("FROM {IMAGE}:2\nRUN {program}\n"), &self.volumes, &format!("{IMAGE}:3"), &settings)
    }

    fn build(&self, dockerfile: &str, further: &[String], tag: &str, settings: &Settings) -> Result<()> {
        let path = self.context.path().join("Dockerfile");
        std::fs::write(&path, dockerfile)?;
        let mut words = ["build", "--quiet", "--pull=never", "--isolation=chroot", "--layers=false", "--tag", tag]
            .map(OsString::from)
            .to_vec();
        words.extend(further.iter().map(OsString::from));
        words.extend(["--file".into(), path.into(), self.context.path().into()]);
        self.podman(words, settings)
    }

    fn start_a_container(&self, storage: Storage, runtime: &Runtime) -> Result<()> {
        let settings = settings::write(&self.paths, storage, Some(runtime))?;
        let mut words: Vec<OsString> = ["run", "--rm", "--network", "none"].map(OsString::from).to_vec();
        words.extend(self.volumes.iter().map(OsString::from));
        words.extend([format!("{IMAGE}:2").into(), self.program.clone().into()]);
        self.podman(words, &settings)
    }

    fn podman(&self, words: Vec<OsString>, settings: &Settings) -> Result<()> {
        let shown: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        self.ui.command(format_args!("podman {}", shown.join(" ")));
        let words = settings.arguments.iter().cloned().chain(words);
        let mut command = duct::cmd("podman", words).stdin_null().stdout_null().stderr_capture().unchecked();
        for (name, value) in &settings.variables {
            command = command.env(name, value);
        }
        let running = command.start().context("podman can't be run")?;
        let Some(output) = running.wait_timeout(TIME)? else {
            running.kill()?;
            bail!("no answer within {} s", TIME.as_secs())
        };
        if output.status.success() {
            return Ok(());
        }
        Err(anyhow!("{}", last_words(&String::from_utf8_lossy(&output.stderr))))
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        crate::engine::embedded::leftovers::remove_storage(self.ui, &self.paths);
    }
}

fn storages() -> Vec<Storage> {
    let fuse = which::which("fuse-overlayfs").is_ok().then_some(Storage::FuseOverlayfs);
    [Some(Storage::Overlay), fuse, Some(Storage::Vfs)].into_iter().flatten().collect()
}

/// crun is Podman's own choice; runc starts containers on machines whose control groups crun does not know.
fn runtimes() -> Vec<Runtime> {
    let session = if machine::is_root() {
        Some(PathBuf::from("/run"))
    } else {
        std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from)
    };
    let has_systemd =
        session.is_some_and(|folder| folder.join("systemd").is_dir()) && Path::new("/run/systemd/system").is_dir();
    let cgroups: &[&str] = if has_systemd { &["systemd", "cgroupfs"] } else { &["cgroupfs"] };
    let names = ["crun", "runc"].into_iter().filter(|name| machine::is_installed(name));
    names
        .flat_map(|name| cgroups.iter().map(move |way| Runtime { name: name.to_owned(), cgroups: (*way).to_owned() }))
        .collect()
}

/// Podman's last line says most, wrapped in quotes and a time.
fn last_words(said: &str) -> String {
    let line = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    let line = line.split_once("msg=").map_or(line, |(_, message)| message.trim_matches('"'));
    line.trim_start_matches("Error: ").chars().take(400).collect()
}
