//! Ctrl-C, and two commands at once.

use std::time::{Duration, Instant};

use crate::common::cml::Stage;
use crate::common::cml::controller::{Controller, Trouble};
use crate::common::engine::Engine;
use crate::common::{Repo, Running, children, runs, signal, unique_nap, wait_until};

#[test]
fn ctrl_c_also_ends_the_build_on_the_engine() {
    let nap = unique_nap();
    let repo = Repo::with_shell(&format!("RUN sleep {nap}\n"));
    let build = repo.start(&["build"]);
    wait_until("the engine runs the step", || runs(&format!("sleep {nap}")));
    build.signal("INT");
    let outcome = build.end();
    assert_eq!(outcome.code, Some(130), "{outcome}");
    outcome.says(["interrupted"]);
    wait_until("the engine has ended the step", || !runs(&format!("sleep {nap}")));
    assert!(Engine::here().image(&repo.image()).is_none());
}

#[test]
fn a_terminated_save_leaves_nothing_incomplete() {
    let nap = unique_nap();
    let repo = Repo::with_shell(&format!("RUN sleep {nap}\n"));
    let save = repo.start(&["save"]);
    wait_until("the engine runs the step", || runs(&format!("sleep {nap}")));
    save.signal("TERM");
    assert_eq!(save.end().code, Some(130));
    wait_until("the engine has ended the step", || !runs(&format!("sleep {nap}")));
    assert!(repo.dist().is_empty(), "{:?}", repo.dist());
    assert_eq!(
        std::fs::read_dir(repo.cache.path().join("cml-nodes"))
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name() != "locks")
            .count(),
        0,
        "nothing is left in the cache"
    );
}

#[test]
fn ctrl_c_during_a_check_leaves_no_container_behind() {
    let (repo, engine, nap) = (Repo::with_shell(""), Engine::here(), unique_nap());
    repo.edit_manifest("variants:\n", &format!("checks: [{{name: slow, run: [sleep, '{nap}']}}]\nvariants:\n"));
    let build = repo.start(&["build"]);
    wait_until("the engine runs the check", || runs(&format!("sleep {nap}")));
    build.signal("INT");
    assert_eq!(build.end().code, Some(130));
    assert_eq!(engine.labelled(&format!("cml-nodes.check={}", repo.node())), (0, 0));
    repo.xtask(&["clean", repo.node()]).success();
    let left = |label: &str| engine.labelled(&format!("{label}={}", repo.node()));
    assert_eq!((left("cml-nodes.node"), left("cml-nodes.check")), ((0, 0), (0, 0)), "(images, containers)");
    assert!(!runs(&format!("sleep {nap}")));
}

#[test]
fn clean_removes_what_a_killed_check_leaves_behind() {
    let (repo, engine, nap) = (Repo::with_shell(""), Engine::here(), unique_nap());
    repo.edit_manifest("variants:\n", &format!("checks: [{{name: slow, run: [sleep, '{nap}']}}]\nvariants:\n"));
    let build = repo.start(&["build"]);
    wait_until("the engine runs the check", || runs(&format!("sleep {nap}")));
    build.signal("KILL");
    assert_eq!(build.end().code, None);
    let label = format!("cml-nodes.check={}", repo.node());
    assert_eq!(engine.labelled(&label).1, 1, "a container is left behind, or this test proves nothing");
    repo.xtask(&["clean", repo.node()]).success();
    assert_eq!(engine.labelled(&label), (0, 0));
    assert!(!runs(&format!("sleep {nap}")));
}

#[test]
fn ctrl_c_works_while_waiting_for_another_command() {
    let repo = Repo::tiny();
    repo.xtask(&["inspect"]).success();
    let lock = std::fs::File::open(repo.path("dist/.records/lock")).unwrap();
    lock.lock().unwrap();
    let save = repo.start(&["save"]);
    save.wait_for("waiting for another command");
    save.signal("INT");
    let outcome = save.end();
    assert_eq!(outcome.code, Some(130), "{outcome}");
    drop(lock);
    repo.xtask(&["save"]).success();
}

#[test]
fn ctrl_c_while_a_source_is_fetched_is_an_interruption_not_a_failure() {
    let mut repo = Repo::tiny();
    repo.edit_manifest("image: scratch", "image: scratch\n    source: {git: 'ssh://slow.invalid/x', ref: main}");
    // In place of a slow host: git runs this instead of ssh. It ends with git, as ssh does.
    let folder = tempfile::tempdir().unwrap();
    let ssh = folder.path().join("ssh");
    std::fs::write(&ssh, "#!/bin/sh\ncat > /dev/null\n").unwrap();
    std::fs::set_permissions(&ssh, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    repo.set("GIT_SSH", &ssh);
    repo.set("GIT_SSH_VARIANT", "ssh");
    let build = repo.start(&["build", "--source", "ssh://slow.invalid/x"]);
    wait_until("git waits for the host", || runs(&ssh.display().to_string()));
    // As a terminal does: to all processes in the foreground.
    build.signal("INT");
    for pid in children(build.pid()) {
        signal(pid, "INT");
    }
    let outcome = build.end();
    assert_eq!(outcome.code, Some(130), "{outcome}");
}

#[test]
fn ctrl_c_is_passed_on_to_a_podman_that_is_waited_for() {
    let (mut repo, bin, nap) = (Repo::tiny(), tempfile::tempdir().unwrap(), unique_nap());
    let podman = bin.path().join("podman");
    let script =
        format!("#!/bin/sh\n[ \"$1\" != --version ] || {{ echo podman version 4.3.1; exit; }}\nexec sleep {nap}\n");
    std::fs::write(&podman, script).unwrap();
    std::fs::set_permissions(&podman, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    repo.set("PATH", format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap_or_default()));
    repo.set("XTASK_EMBEDDED_STORAGE", repo.cache.path().join("storage"));
    let list = repo.start(&["list", "--engine", "embedded"]);
    wait_until("it waits for Podman", || runs(&format!("sleep {nap}")));
    // To the program alone; Podman is in a group of its own.
    list.signal("INT");
    assert_eq!(list.end().code, Some(130));
    assert!(!runs(&format!("sleep {nap}")));
}

#[test]
fn ctrl_c_twice_ends_an_upload_to_a_server_that_hangs() {
    let controller = Controller::start();
    let mut stage = Stage::of(&controller);
    stage.repo.xtask(&["save"]).success();
    let requests = [
        "GET system_information", "POST authenticate", "GET system_stats", "POST node_definitions",
        "POST images/upload", "POST image_definitions",
    ];
    for request in requests {
        controller.trouble(request, 1, Trouble::Silence);
        let upload = stage.repo.start(&["upload"]);
        let has_come = || controller.state().log.iter().any(|line| line.starts_with(request));
        wait_until("the controller does not answer", has_come);
        end_by_two_signals(upload, request);
        controller.end_all_trouble();
        controller.take_log();
    }
    let hangs = stage.home.path().join("hangs");
    let script = "trap '' INT TERM HUP; : >\"$HOME/hangs\"; while :; do sleep 0.1; done";
    stage.ssh_is(&format!("case \"$*\" in *'echo ready'*) {script};; *) exec /usr/bin/ssh \"$@\";; esac"));
    let path = std::env::var("PATH").unwrap_or_default();
    stage.repo.set("PATH", format!("{}/bin:{path}", stage.home.path().display()));
    let upload = stage.repo.start(&["upload", "--cml", "ssh://127.0.0.1:1"]);
    wait_until("ssh hangs", || hangs.exists());
    end_by_two_signals(upload, "ssh");
}

/// The first one may be enough.
#[track_caller]
fn end_by_two_signals(upload: Running, what: &str) {
    upload.signal("INT");
    let since = Instant::now();
    while !upload.has_ended() && since.elapsed() < Duration::from_millis(500) {
        std::thread::sleep(Duration::from_millis(5));
    }
    if !upload.has_ended() {
        upload.signal("INT");
    }
    let outcome = upload.end_within(Duration::from_secs(20));
    assert_eq!(outcome.code, Some(130), "{what}: {outcome}");
}

#[test]
fn two_saves_at_once_both_succeed() {
    let repo = Repo::with_shell("RUN sleep 2 && head -c 20000000 /dev/zero > /big\n");
    let (first, second) = (repo.start(&["save", "--json"]), repo.start(&["save", "--json"]));
    let (first, second) = (first.end().success().json(), second.end().success().json());
    assert_eq!(first["image_id"], second["image_id"]);
    assert_eq!(first["sha256"], second["sha256"]);
    assert_eq!(repo.check_sums(), 3);
    repo.xtask(&["save"]).success().does_not_say(["building", "saved"]);
}

#[test]
fn saves_of_two_nodes_at_once_both_succeed() {
    let mut repo = Repo::tiny();
    let second = repo.add_node("FROM scratch\nCOPY Dockerfile /\n");
    let runs = [repo.start(&["save", repo.node()]), repo.start(&["save", &second])];
    for run in runs {
        run.end().success();
    }
    assert_eq!(repo.check_sums(), 6);
}

#[test]
fn a_save_that_is_killed_at_any_moment_leaves_a_whole_archive_or_none() {
    const CUT_OFF: u32 = 8;
    let repo = Repo::tiny();
    let greeting = repo.path(&format!("docker/{}/greeting", repo.node()));
    std::fs::write(greeting, crate::common::noise(7, 30_000_000)).unwrap();
    repo.xtask(&["build"]).success();
    let since = std::time::Instant::now();
    repo.xtask(&["save"]).success();
    let mut time = since.elapsed();
    let whole = std::fs::read(repo.archive()).unwrap();
    let mut cut_off = 0;
    // On a machine whose speed changes, a late kill may come after the end.
    while cut_off < CUT_OFF {
        std::fs::remove_dir_all(repo.path("dist")).unwrap();
        let save = repo.start(&["save"]);
        std::thread::sleep(time * cut_off / CUT_OFF);
        save.signal("KILL");
        match save.end().code {
            None => cut_off += 1,
            Some(_) => time = time * 9 / 10,
        }
        // The same image gives the same bytes, so a file with the final name must have these.
        assert!(std::fs::read(repo.archive()).is_ok_and(|there| there == whole) || !repo.archive().exists());
        if repo.path("dist/SHA256SUMS").exists() {
            repo.check_sums();
        }
        repo.xtask(&["save"]).success();
        assert!(std::fs::read(repo.archive()).unwrap() == whole);
        assert_eq!(repo.check_sums(), 3);
        assert_eq!(repo.dist().len(), 5, "nothing is left of the killed one: {:?}", repo.dist());
    }
}
