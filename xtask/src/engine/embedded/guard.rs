//! The guard of an embedded engine: this program, started again, as the parent of Podman. It ends Podman and what
//! Podman has left behind when the command ends, also if that was killed: its standard input is a pipe from the
//! command, which the kernel closes in any case.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use files::Lock;
use rustix::process::Signal;

use crate::engine::embedded::paths::EmbeddedPaths;
use crate::engine::embedded::processes::{self, Process};
use crate::engine::embedded::settings::Settings;
use crate::engine::embedded::storage;

/// The first argument that makes this program the guard.
const ARGUMENT: &str = "guard-of-the-embedded-engine";

/// How long Podman may take to end before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(10);

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Tells a program that is not `cargo xtask`, such as a test, which program to start as the guard.
pub fn use_program(path: impl Into<PathBuf>) {
    let _ = PROGRAM.set(path.into());
}

/// Starts the guard, and by it Podman. It lives until its standard input is closed, or Podman ends.
pub fn start(paths: &EmbeddedPaths, socket: &Path, settings: Settings, service: &[OsString]) -> Result<Child> {
    let log = files::open_log(&paths.log)?;
    // The running program, even if its file was replaced or cannot be reached by its path.
    Command::new(PROGRAM.get().map_or(Path::new("/proc/self/exe"), PathBuf::as_path))
        .arg0("cml-nodes-guard")
        .arg(ARGUMENT)
        .args([&*paths.storage, &*paths.runtime, socket])
        .args(settings.arguments)
        .args(service)
        .envs(settings.variables)
        // Ctrl-C must not end the engine before the command has cleaned up on it.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("could not start the embedded engine")
}

/// If this process was started as the guard: does its work, and returns the exit code.
pub fn run() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != ARGUMENT {
        return None;
    }
    Some(guard(&args.collect::<Vec<_>>()).unwrap_or_else(|error| {
        #[expect(clippy::print_stderr, reason = "it is the log of the engine")]
        {
            eprintln!("{error:#}");
        }
        ExitCode::FAILURE
    }))
}

fn guard(args: &[OsString]) -> Result<ExitCode> {
    let [storage, runtime, socket, podman @ ..] = args else {
        bail!("the guard needs the storage, the runtime folder, the socket and Podman's arguments")
    };
    let paths = EmbeddedPaths::new(storage.into(), runtime.into());
    let socket = PathBuf::from(socket);
    // Else it would be called `exe`.
    let _ = std::fs::write("/proc/self/comm", "cml-nodes-guard");
    // Until the engine has ended nobody may remove the storage, even if the command has ended.
    let lock = Lock::share_blocking(&paths.lock)?;
    let mut engine =
        Command::new("podman").args(podman).stdin(Stdio::null()).spawn().context("could not run podman")?;
    let (ended, has_ended) = mpsc::channel::<()>();
    let watched = (Process::of_child(&engine), socket.clone());
    std::thread::spawn(move || end_with_the_command(watched.0, &watched.1, &has_ended));
    let status = engine.wait()?;
    drop(ended);
    processes::end_services(&paths, &socket);
    // Other leftovers could belong to another command's engine. The last command, or its guard, ends them.
    if lock.try_make_exclusive() {
        processes::end_processes_alone(&paths);
        storage::release(&paths.images);
    }
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// Waits for the end of the command, then ends the engine.
fn end_with_the_command(engine: Process, socket: &Path, has_ended: &Receiver<()>) {
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    // To all of its processes: see `quirks.rs`.
    Process::of_podman(&socket.display().to_string()).for_each(|process| process.signal(Signal::TERM));
    if has_ended.recv_timeout(END_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
        engine.kill();
    }
}
