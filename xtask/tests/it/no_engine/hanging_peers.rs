//! Servers and engines that hang: each command that talks to one can be ended by Ctrl-C.
//!
//! The signal goes to the program alone, not to the programs that it has started, as a terminal's would.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::cml::Stage;
use crate::common::cml::controller::{Controller, Trouble};
use crate::common::{Outcome, Repo, Running, runs, signal, wait_until};

/// How long a command may take to end: a guard against one that hangs.
const GUARD: Duration = Duration::from_secs(20);

/// How long the second Ctrl-C comes after the first, if that did not end the command.
const BETWEEN: Duration = Duration::from_millis(500);

/// What talks to a server by the API.
const BY_API: [&[&str]; 9] = [
    &["cml", "status"],
    &["cml", "remove", "tiny"],
    &["cml", "rollback", "tiny"],
    &["cml", "prune"],
    &["builder", "create", "--server-address", "192.0.2.1", "--generate-password"],
    &["builder", "start"],
    &["builder", "stop"],
    &["builder", "delete", "--yes"],
    &["builder", "status"],
];

/// What talks to a server by ssh.
const BY_SSH: [&[&str]; 4] = [
    &["cml", "status", "--via", "ssh"],
    &["cml", "remove", "tiny", "--via", "ssh"],
    &["cml", "rollback", "tiny", "--via", "ssh"],
    &["cml", "doctor"],
];

/// What talks to an engine. `upload` does that first.
const TO_ENGINE: [&[&str]; 14] = [
    &["list"],
    &["setup", "--yes"],
    &["build"],
    &["inspect"],
    &["save"],
    &["sbom"],
    &["run"],
    &["shell"],
    &["console"],
    &["logs"],
    &["stop"],
    &["verify"],
    &["upload", "--cml", "127.0.0.1:1"],
    &["clean"],
];

/// What talks to neither, or runs other commands.
const TO_NEITHER: [&str; 6] = ["new", "lint", "diff", "dev ci", "dev bench", "dev guest"];

/// Presses Ctrl-C twice once the command hangs, as somebody does for whom the first was not enough.
#[track_caller]
fn interrupt(what: &[&str], command: Running, hangs: impl Fn() -> bool) -> Outcome {
    wait_until(&format!("{what:?} hangs"), || {
        let hangs = hangs();
        assert!(hangs || !command.has_ended(), "{what:?} ended before it did:\n{}", command.stderr());
        hangs
    });
    command.signal("INT");
    let since = Instant::now();
    while !command.has_ended() && since.elapsed() < BETWEEN {
        std::thread::sleep(Duration::from_millis(5));
    }
    if !command.has_ended() {
        command.signal("INT");
    }
    let outcome = command.end_within(GUARD);
    assert_eq!(outcome.code, Some(130), "{what:?}\n{outcome}");
    outcome
}

#[test]
fn every_command_is_in_a_table_here() {
    fn collect(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let subcommands: Vec<_> = command.get_subcommands().collect();
        if subcommands.is_empty() {
            found.push(path.trim().to_owned());
        }
        subcommands.iter().for_each(|inner| collect(inner, &format!("{path} {}", inner.get_name()), found));
    }
    let mut all = Vec::new();
    collect(&xtask::cli::command(), "", &mut all);
    let here: Vec<String> = [&BY_API[..], &BY_SSH, &TO_ENGINE].concat().iter().map(|words| words.join(" ")).collect();
    let is_here = |name: &String| TO_NEITHER.contains(&name.as_str()) || here.iter().any(|line| line.starts_with(name));
    all.retain(|name| !is_here(name));
    assert_eq!(all, [""; 0]);
}

#[test]
fn a_controller_that_does_not_answer_a_request() {
    for args in BY_API {
        for skip in 0..4 {
            let controller = Controller::start();
            let stage = Stage::of_builder(&controller);
            controller.trouble_after(skip, 1, Trouble::Silence);
            interrupt(args, stage.repo.start(args), || controller.state().log.len() > skip);
        }
    }
}

#[test]
fn a_controller_whose_answer_never_ends() {
    for args in BY_API {
        for skip in [0, 2] {
            let controller = Controller::start();
            let stage = Stage::of_builder(&controller);
            controller.trouble_after(skip, 1, Trouble::Drip);
            interrupt(args, stage.repo.start(args), || controller.state().dripping > 0);
        }
    }
}

#[test]
fn a_controller_that_only_accepts_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            kept.push(stream);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let controller = Controller::start();
    let mut stage = Stage::of_builder(&controller);
    stage.repo.set("VIRL2_URL", format!("https://{address}"));
    for args in BY_API {
        let before = accepted.load(Ordering::Relaxed);
        interrupt(args, stage.repo.start(args), || accepted.load(Ordering::Relaxed) > before);
    }
}

/// A shell script that hangs, whatever signal it gets, and says so by a file.
const HANGS: &str = ": >\"$HOME/hangs\"; trap '' INT TERM HUP; while :; do sleep 0.1; done";

fn interrupt_ssh(stage: &Stage) {
    let (hangs, program) = (stage.home.path().join("hangs"), stage.home.path().join("bin/ssh").display().to_string());
    for args in BY_SSH {
        let _ = std::fs::remove_file(&hangs);
        interrupt(args, stage.repo.start(args), || hangs.exists());
        wait_until("its ssh ends with it", || !runs(&program));
    }
}

#[test]
fn a_login_by_ssh_that_hangs() {
    interrupt_ssh(&Stage::of_ssh(&format!(
        "case \"$*\" in *'echo ready'*) {HANGS};; *) exec /usr/bin/ssh \"$@\";; esac"
    )));
}

#[test]
fn a_command_by_ssh_that_hangs() {
    interrupt_ssh(&Stage::of_ssh(&format!(
        "case \"$*\" in
           *'echo ready'*) echo ready; exec cat >/dev/null;;
           *' -G '*) exec /usr/bin/ssh \"$@\";;
           *) {HANGS};;
         esac"
    )));
}

#[test]
fn what_ssh_has_set_on_the_terminal_is_undone() {
    let script =
        format!("case \"$*\" in *'echo ready'*) stty -echo </dev/tty; {HANGS};; *) exec /usr/bin/ssh \"$@\";; esac");
    let stage = Stage::of_ssh(&script);
    let root = stage.repo.folder.path().display();
    let program = env!("CARGO_BIN_EXE_xtask");
    let terminal = stage.repo.on_a_terminal(&format!("{program} --root {root} cml status; echo code $?; stty -a"));
    let hangs = stage.home.path().join("hangs");
    wait_until("ssh hangs", || hangs.exists());
    signal(terminal.program("xtask"), "INT");
    let shown = terminal.end().stdout;
    assert!(shown.contains("code 130") && shown.contains(" echo ") && !shown.contains("-echo "), "{shown}");
}

/// An engine that accepts connections, and answers a ping at most. It ends with the value.
struct Mute {
    socket: PathBuf,
    /// How many requests have no answer.
    held: Arc<AtomicUsize>,
    connections: Arc<Mutex<Vec<UnixStream>>>,
    is_over: Arc<AtomicBool>,
}

const PING: &str =
    "HTTP/1.1 200 OK\r\nServer: Docker/24.0.7 (linux)\r\nApi-Version: 1.43\r\nContent-Length: 2\r\n\r\nOK";

impl Mute {
    fn start(socket: PathBuf, answers_pings: bool) -> Self {
        let listener = UnixListener::bind(&socket).unwrap();
        let mute = Self { socket, held: Arc::default(), connections: Arc::default(), is_over: Arc::default() };
        let (held, connections, is_over) =
            (Arc::clone(&mute.held), Arc::clone(&mute.connections), Arc::clone(&mute.is_over));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                connections.lock().unwrap().push(stream.try_clone().unwrap());
                let held = Arc::clone(&held);
                std::thread::spawn(move || answer_pings(stream, answers_pings, &held));
            }
        });
        mute
    }
}

fn answer_pings(mut stream: UnixStream, answers_pings: bool, held: &AtomicUsize) {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while matches!(stream.read(&mut byte), Ok(1)) {
        request.push(byte[0]);
        if request.ends_with(b"\r\n\r\n") {
            if answers_pings && String::from_utf8_lossy(&request).contains("/_ping") {
                let _ = stream.write_all(PING.as_bytes());
            } else {
                held.fetch_add(1, Ordering::Relaxed);
            }
            request.clear();
        }
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = UnixStream::connect(&self.socket);
        let _ = std::fs::remove_file(&self.socket);
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }
}

fn interrupt_on(answers_pings: bool, commands: &[&[&str]]) {
    let (mut repo, folder) = (Repo::tiny(), tempfile::tempdir().unwrap());
    let socket = folder.path().join("engine.sock");
    repo.set("DOCKER_HOST", format!("unix://{}", socket.display()));
    // Dropped before the repository, which would wait for it.
    let engine = Mute::start(socket, answers_pings);
    for args in commands {
        let before = engine.held.load(Ordering::Relaxed);
        interrupt(args, repo.start(args), || engine.held.load(Ordering::Relaxed) > before);
    }
}

#[test]
fn an_engine_that_only_accepts_connections() {
    interrupt_on(false, &TO_ENGINE);
}

#[test]
fn an_engine_that_answers_nothing_but_a_ping() {
    // Once the engine has answered, this installs what is missing and has nothing else to ask.
    let asking: Vec<&[&str]> = TO_ENGINE.into_iter().filter(|args| args[0] != "setup").collect();
    interrupt_on(true, &asking);
}

#[test]
fn a_program_that_is_stuck_ends_at_the_second_ctrl_c() {
    let (mut repo, folder) = (Repo::tiny(), tempfile::tempdir().unwrap());
    let config = folder.path().join("config.json");
    duct::cmd!("mkfifo", &config).run().unwrap();
    repo.set("DOCKER_CONFIG", folder.path());
    for name in ["DOCKER_HOST", "DOCKER_CONTEXT"] {
        repo.set(name, "");
    }
    let list = repo.start(&["list"]);
    // Opened once the program has opened it, too; then the program waits for what is written.
    let _writer = std::fs::File::options().write(true).open(&config).unwrap();
    interrupt(&["list"], list, || true).says(["ended at once, whatever it was doing"]);
}
