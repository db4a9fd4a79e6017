//! An engine that cannot remove containers for a while, as Docker under a fork bomb: a relay in front of the real one
//! says so.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::common::Repo;
use crate::common::engine::Engine;
use crate::common::node::node_that;

const DOCKER: &str = "/var/run/docker.sock";
const REFUSAL: &str = r#"{"message":"Could not kill running container: did not receive an exit event"}"#;

/// Hands everything on to the real engine, except for removals of containers after the first `allowed` ones.
fn relay(listener: UnixListener, allowed: Arc<AtomicU32>) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let allowed = Arc::clone(&allowed);
            thread::spawn(move || hand_on(stream, &allowed));
        }
    });
}

/// One request for each connection, so that it can be told from what follows.
fn hand_on(mut client: UnixStream, allowed: &AtomicU32) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let is_removal = head.starts_with("DELETE ") && head.lines().next()?.contains("/containers/");
    let take = |left: u32| left.checked_sub(1);
    if is_removal && allowed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
        let length = REFUSAL.len();
        let status = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json";
        return write!(client, "{status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{REFUSAL}").ok();
    }
    let mut engine = UnixStream::connect(DOCKER).ok()?;
    let is_upgrade = head.to_lowercase().contains("\r\nupgrade:");
    let head = if is_upgrade { head } else { head.replacen("\r\n", "\r\nConnection: close\r\n", 1) };
    engine.write_all(head.as_bytes()).ok()?;
    let (mut from, mut to) = (client.try_clone().ok()?, engine.try_clone().ok()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut engine, &mut client);
    client.shutdown(std::net::Shutdown::Both).ok()
}

fn labs(repo: &Repo) -> Vec<String> {
    let entries = std::fs::read_dir(repo.cache.path().join("cml-nodes/labs")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn what_cannot_be_removed_is_named_and_removed_by_a_later_command() {
    let mut repo = node_that("exec sleep 1000");
    repo.edit("node-definitions/tiny.yaml", "timeout: 20", "timeout: 1");
    repo.xtask(&["save"]).success();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    // The first is that of the container that writes the node's files.
    let allowed = Arc::new(AtomicU32::new(1));
    relay(UnixListener::bind(&socket).unwrap(), Arc::clone(&allowed));
    repo.set("DOCKER_HOST", format!("unix://{}", socket.display()));
    let outcome = repo.xtask(&["verify"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let outcome =
        outcome.says(["left on the engine: the container ", "cargo xtask stop --all", "did not receive an exit event"]);
    let left = labs(&repo);
    let [lab] = left.as_slice() else { panic!("one lab is left, not {left:?}: {outcome}") };
    assert!(Engine::here().of_lab(lab).0 >= 2, "the node and the helper are left");
    // It does not keep another command from its work.
    repo.xtask(&["stop", "--all"]).success().says(["what an earlier command left behind cannot be removed"]);
    allowed.store(u32::MAX, Ordering::SeqCst);
    repo.xtask(&["stop", "--all"]).success().says(["removed what an earlier command left behind"]);
    assert_eq!(Engine::here().of_lab(lab), (0, 0, 0));
    assert!(labs(&repo).is_empty());
    repo.unset("DOCKER_HOST");
}
