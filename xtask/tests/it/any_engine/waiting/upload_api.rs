//! `upload` by the API, against a controller that follows CML's rules.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::cml::controller::{Controller, Trouble};
use crate::common::cml::{PASSWORD, Stage, USER};
use crate::common::{command_lines, image_id_of_archive, noise};

const ARCHIVE: &str = "POST images/upload";

/// Requests that change something.
fn changes(controller: &Controller) -> Vec<String> {
    let session = ["POST authenticate", "DELETE logout"];
    let read_only = |line: &String| !line.starts_with("GET ") && !session.contains(&line.as_str());
    controller.take_log().into_iter().filter(read_only).collect()
}

#[test]
fn a_node_arrives_whole_and_a_repeat_sends_nothing() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let id = stage.repo.id();
    let outcome = stage.repo.xtask(&["upload"]).success();
    assert!(outcome.stdout.contains(&format!("{id}  installed")), "{outcome}");
    let (name, file) = controller.state().images[&id].clone();
    assert_eq!(name, format!("{id}.tar.gz"));
    assert!(file == std::fs::read(stage.repo.archive()).unwrap());
    assert_eq!(controller.state().image_definitions[&id]["sha256"], image_id_of_archive(&stage.repo.archive()));
    assert!(controller.state().drop_folder.is_empty());
    assert_eq!(changes(&controller), ["POST node_definitions", ARCHIVE, "POST image_definitions"]);

    let again = stage.repo.xtask(&["upload", "--json"]).success().json();
    assert_eq!((&again[0]["nodes"][0]["state"], &again[0]["nodes"][0]["sent"]), (&"same".into(), &0.into()));
    assert_eq!(changes(&controller), [""; 0]);
    assert_eq!(controller.sessions(), 0, "every session is ended");
}

#[test]
fn nodes_are_reported_in_the_order_in_which_they_are_named() {
    let controller = Controller::start();
    let mut stage = Stage::of(&controller);
    let (first, twin) = (stage.repo.node().to_owned(), stage.repo.add_twin());
    stage.repo.xtask(&["upload", &first]).success();
    let report = stage.repo.xtask(&["upload", "--json", &twin, &first, &twin]).success().json();
    let nodes = report[0]["nodes"].as_array().unwrap();
    let states: Vec<_> = nodes.iter().map(|node| [&node["id"], &node["state"]].map(|v| v.as_str().unwrap())).collect();
    assert_eq!(states, [[format!("{twin}-1-0").as_str(), "installed"], [format!("{first}-1-0").as_str(), "same"]]);
}

#[test]
fn a_node_is_replaced_in_cmls_order_and_what_is_refused_is_found_before_the_archive_is_sent() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    stage.repo.xtask(&["upload"]).success();
    let before = controller.state().snapshot();
    changes(&controller);
    stage.change_node("changed\n");
    stage.repo.edit_manifest("A node for tests", "A changed node");
    stage.repo.xtask(&["upload"]).success();
    // The image definition that is there is made writable, to see whether it can be changed.
    let trial = format!("PUT image_definitions/{}/read_only", stage.repo.id());
    assert_eq!(changes(&controller), ["PUT node_definitions", &trial, ARCHIVE, "PUT image_definitions"]);
    let after = controller.state().snapshot();
    assert!(before.0 != after.0 && before.1 != after.1 && before.2 != after.2);

    // Only a definition: no archive is sent.
    stage.repo.edit("node-definitions/tiny.yaml", "ram: 64", "ram: 65");
    let outcome = stage.repo.xtask(&["upload"]).success();
    assert!(outcome.stdout.contains("node definition: sim.linux_native.ram"), "{outcome}");
    assert_eq!(changes(&controller), ["PUT node_definitions"]);
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let outcome = stage.repo.xtask(&["upload", "--dry-run"]).success();
    assert!(outcome.stdout.contains("would be installed"), "{outcome}");
    assert_eq!(changes(&controller), [""; 0]);
    assert!(controller.state().node_definitions.is_empty());
}

#[test]
fn status_shows_absent_same_and_what_differs() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    stage.repo.xtask(&["save"]).success();
    let status = || stage.repo.xtask(&["cml", "status"]).success().stdout;
    assert!(status().contains("  absent"), "{}", status());
    stage.repo.xtask(&["upload"]).success();
    assert!(
        status().contains("CML 2.9.0+build.3, ready, free space 50.00 GB") && status().contains("  the same"),
        "{}",
        status()
    );
    let json = stage.repo.xtask(&["cml", "status", "--json"]).success().json();
    assert_eq!((&json[0]["ready"], &json[0]["free"]), (&true.into(), &50_000_000_000_u64.into()));
    controller.state().node_definitions.get_mut(&stage.repo.id()).unwrap()["sim"]["linux_native"]["ram"] = 128.into();
    assert!(status().contains("  differs\n    node definition: sim.linux_native.ram"), "{}", status());
}

#[test]
fn a_saved_node_whose_definition_was_damaged_is_named_and_the_others_are_compared() {
    let controller = Controller::start();
    let mut stage = Stage::of(&controller);
    let twin = stage.repo.add_twin();
    let node = stage.repo.node().to_owned();
    stage.repo.xtask(&["upload", &node, &twin]).success();
    let damaged = stage.repo.node_definition();
    for content in [&b"id: \xff\xfe\n"[..], b"id: [\n"] {
        std::fs::write(&damaged, content).unwrap();
        let outcome = stage.repo.xtask(&["cml", "status"]).success();
        let left_out = format!("{} is left out, because its files in ", stage.repo.id());
        let outcome = outcome.says([left_out.as_str(), "`cargo xtask save` writes them again"]);
        assert_eq!(outcome.stdout.matches("same").count(), 1, "{outcome}");
    }
}

#[test]
fn keys_of_a_definition_there_do_not_reach_a_terminal_as_they_are() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    stage.repo.xtask(&["upload"]).success();
    let key = "\u{1b}]0;MARK\u{7}\u{9b}2J\nMARK";
    controller.state().node_definitions.get_mut(&stage.repo.id()).unwrap()[key] = 1.into();
    let outcome = stage.repo.xtask(&["cml", "status"]).success();
    let is_printable = !outcome.stdout.contains(|c: char| c.is_control() && c != '\n');
    assert!(outcome.stdout.contains("]0;MARK") && is_printable && !outcome.stdout.contains("\nMARK"), "{outcome}");
}

#[test]
fn a_failure_at_any_step_changes_nothing_and_a_repeat_completes() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    stage.repo.xtask(&["upload"]).success();
    stage.change_node("changed\n");
    stage.repo.edit_manifest("A node for tests", "A changed node");
    let before = controller.state().snapshot();
    let troubles = [
        Trouble::Status(500, "The database is on fire."),
        Trouble::Html(200),
        Trouble::CutAfter(10),
        Trouble::AnswerLost,
    ];
    for step in ["GET list_image_definition_drop_folder", ARCHIVE, "PUT node_definitions", "PUT image_definitions"] {
        for trouble in &troubles {
            // So often that retries do not help.
            let times = if step.starts_with("POST") { 1 } else { 4 };
            controller.trouble(step, times, trouble.clone());
            let outcome = stage.repo.xtask(&["upload"]);
            controller.end_all_trouble();
            if outcome.code == Some(0) {
                panic!("{step} with {trouble:?} should fail:\n{outcome}");
            }
            let outcome = outcome.failure();
            // An image definition that was accepted without an answer cannot be reverted; then the new node is
            // complete.
            let whole = controller.state().snapshot() == before;
            let lost_at_the_end = step == "PUT image_definitions" && matches!(trouble, Trouble::AnswerLost);
            assert!(whole || lost_at_the_end, "{step} with {trouble:?} left something behind:\n{outcome}");
            assert!(!outcome.stderr.contains(PASSWORD), "{outcome}");
        }
    }
    stage.repo.xtask(&["upload"]).success();
    let after = controller.state().snapshot();
    assert!(after.2[&stage.repo.id()].1 == std::fs::read(stage.repo.archive()).unwrap());
    assert!(after.3.is_empty(), "the drop folder is empty");
}

#[test]
fn a_first_upload_that_fails_leaves_nothing() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    for step in ["POST node_definitions", ARCHIVE, "POST image_definitions"] {
        controller.trouble(step, 1, Trouble::AnswerLost);
        stage.repo.xtask(&["upload"]).failure().says(["the connection to", "was lost", "nothing was changed on"]);
        let left = controller.state().snapshot();
        assert!(left.0.is_empty() && left.1.is_empty() && left.2.is_empty() && left.3.is_empty(), "{step}");
    }
    stage.repo.xtask(&["upload"]).success();
}

#[test]
fn a_repeat_completes_an_upload_killed_at_any_request_and_sends_the_archive_once() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let id = stage.repo.id();
    for step in ["POST node_definitions", ARCHIVE, "POST image_definitions"] {
        controller.trouble(step, 1, Trouble::Silence);
        let upload = stage.repo.start(&["upload"]);
        crate::common::wait_until("the request has come", || controller.state().log.iter().any(|line| line == step));
        upload.signal("KILL");
        assert_eq!(upload.end().code, None);
        controller.take_log();
        stage.repo.xtask(&["upload"]).success();
        let log = changes(&controller);
        assert!(controller.state().images[&id].1 == std::fs::read(stage.repo.archive()).unwrap());
        assert_eq!(log.iter().any(|line| line == ARCHIVE), step != "POST image_definitions", "{step}: {log:?}");
        stage.repo.xtask(&["cml", "rollback", &id]).success();
        let left = controller.state().snapshot();
        assert!(left.0.is_empty() && left.1.is_empty() && left.2.is_empty() && left.3.is_empty(), "{step}");
        controller.take_log();
    }
}

#[test]
fn an_expired_token_is_renewed_once_in_the_middle_of_the_upload() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    controller.trouble(ARCHIVE, 1, Trouble::Expired);
    stage.repo.xtask(&["upload"]).success().says(["the session has expired; logging in again"]);
    let log = controller.take_log();
    assert_eq!(log.iter().filter(|line| *line == "POST authenticate").count(), 2, "{log:?}");
    assert_eq!(log.iter().filter(|line| *line == ARCHIVE).count(), 2, "{log:?}");
}

#[test]
fn a_busy_controller_is_asked_again_but_not_for_ever() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    controller.trouble(ARCHIVE, 2, Trouble::Status(429, "Too many requests."));
    controller.trouble("GET node_definitions", 1, Trouble::Status(503, "Starting."));
    stage.repo.xtask(&["upload"]).success().says(["the server is busy (429); trying again", "(503); trying again"]);
    controller.trouble("GET ", 1000, Trouble::Status(502, "Bad gateway."));
    stage.repo.xtask(&["cml", "status"]).failure().says(["(502)"]);
}

#[test]
fn a_silent_controller_is_given_up() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    // Larger than what the connection's buffers swallow.
    let greeting = stage.repo.path(&format!("docker/{}/greeting", stage.repo.node()));
    std::fs::write(greeting, noise(3, 40_000_000)).unwrap();
    controller.trouble(ARCHIVE, 1, Trouble::Silence);
    stage.repo.xtask(&["upload", "--timeout", "2"]).failure().says(["has been silent for 2 s"]);
    assert!(controller.state().node_definitions.is_empty());
}

#[test]
fn the_page_of_a_proxy_is_not_taken_for_an_answer() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    controller.trouble("GET system_information", 1, Trouble::Html(200));
    stage.repo.xtask(&["upload"]).failure().says(["Gateway of the campus", "is this a CML controller?"]);
}

#[test]
fn an_unreachable_controller_is_reported() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let address = format!("127.0.0.1:{port}");
    stage.repo.xtask(&["cml", "status", "--cml", &address]).failure().says(["cannot reach", &address, "refused"]);
}

#[test]
fn several_servers_are_served_at_once_and_one_failure_does_not_stop_the_others() {
    let (one, two, old) = (Controller::start(), Controller::start(), Controller::start());
    let mut stage = Stage::of(&one);
    let authorities = stage.home.path().join("authorities.pem");
    std::fs::write(&authorities, [&one, &two, &old].map(|server| server.certificate.as_str()).concat()).unwrap();
    stage.repo.set("CA_BUNDLE", authorities);
    old.state().version = "2.8.1+build.1".to_owned();
    let urls = [one.url(), old.url(), two.url()];
    let outcome = stage.repo.xtask(&["upload", "--json", "--cml", &urls[0], "--cml", &urls[1], "--cml", &urls[2]]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let outcome = outcome.says(["runs CML 2.8.1+build.1; containers need 2.9", "1 of 3 servers failed"]);
    let report = outcome.json();
    assert_eq!(report[0]["nodes"][0]["state"], "installed");
    assert!(report[1]["error"].as_str().unwrap().contains("2.8.1"));
    assert_eq!(report[2]["nodes"][0]["state"], "installed");
    for server in [&one, &two] {
        assert!(server.state().images.contains_key(&stage.repo.id()));
    }
}

#[test]
fn an_unknown_certificate_is_shown_and_pinned_only_on_request() {
    let controller = Controller::start();
    let mut stage = Stage::of(&controller);
    stage.repo.set("CA_BUNDLE", "");
    let said = stage.repo.xtask(&["upload"]).failure().says([&controller.fingerprint, "--fingerprint", "CA_BUNDLE"]);
    assert!(!said.stderr.contains(PASSWORD));
    assert!(controller.take_log().is_empty(), "not a word is said to somebody unknown");
    stage.repo.xtask(&["upload", "--fingerprint", &controller.fingerprint]).success().says(["is pinned in"]);
    stage.repo.xtask(&["upload"]).success().does_not_say(["fingerprint"]);

    // Another certificate at the same address stops everything.
    let other = Controller::start();
    let pins = stage.home.path().join("state/cml-nodes/known_controllers");
    let moved = std::fs::read_to_string(&pins).unwrap().replace(&controller.address(), &other.address());
    std::fs::write(&pins, moved).unwrap();
    let outcome = stage.repo.xtask(&["upload", "--cml", &other.url()]).failure();
    outcome.says(["is not the one that is pinned for it", &other.fingerprint]);
    assert!(other.take_log().is_empty());
}

#[test]
fn on_a_terminal_certificate_and_password_are_asked_for_once() {
    let controller = Controller::start();
    let mut stage = Stage::of(&controller);
    stage.repo.xtask(&["save"]).success();
    stage.repo.set("CA_BUNDLE", "");
    stage.repo.set("VIRL2_PASS", "");
    let program = env!("CARGO_BIN_EXE_xtask");
    let words = format!("{program} --root {} upload", stage.repo.folder.path().display());
    let typed = format!("{PASSWORD}\n");
    let password = ("Password of lab-admin on", typed.as_str());
    let refused = stage.repo.in_dialogue(&words, &[("[y/N]", "n\n")]);
    assert!(refused.code == Some(1) && controller.take_log().is_empty(), "{refused}");
    let outcome = stage.repo.in_dialogue(&words, &[("[y/N]", "y\n"), password]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    for text in [
        &controller.fingerprint,
        "Is this the server's fingerprint, and should it be remembered?",
        "Password of lab-admin on",
    ] {
        assert!(outcome.stdout.contains(text), "{text}: {outcome}");
    }
    assert!(controller.state().images.contains_key(&stage.repo.id()));
    let outcome = stage.repo.in_dialogue(&words, &[password]);
    assert!(outcome.code == Some(0) && !outcome.stdout.contains("fingerprint"), "{outcome}");
}

#[test]
fn insecure_is_loud_and_never_remembered() {
    let controller = Controller::start();
    let mut stage = Stage::of(&controller);
    stage.repo.set("CA_BUNDLE", "");
    stage.repo.xtask(&["upload", "--insecure"]).success().says(["warning: --insecure: the identity of"]);
    stage.repo.xtask(&["upload"]).failure().says(["is not trusted"]);
}

#[test]
fn a_wrong_password_is_reported_and_no_password_is_ever_shown() {
    let controller = Controller::start();
    let mut stage = Stage::of(&controller);
    controller.trouble("POST images/upload", 1, Trouble::Held);
    let running = stage.repo.start(&["-v", "upload"]);
    controller.wait_for_held();
    let lines = command_lines(running.pid());
    controller.release();
    let verbose = running.end().success();
    let tokens_and_all = [PASSWORD, ".payload."];
    assert!(lines.contains("upload") && !tokens_and_all.iter().any(|secret| lines.contains(secret)), "{lines}");
    for secret in tokens_and_all {
        assert!(!verbose.stderr.contains(secret) && !verbose.stdout.contains(secret), "{verbose}");
    }
    stage.repo.set("VIRL2_PASS", "Wr0ng-one");
    let outcome = stage.repo.xtask(&["-v", "upload"]).failure();
    outcome.says(["does not accept the password of", USER]).does_not_say(["Wr0ng-one"]);
}

#[test]
fn credentials_come_from_virlrc_too() {
    let controller = Controller::start();
    let mut stage = Stage::of(&controller);
    let virlrc = format!("VIRL2_URL={}\nVIRL2_USER={USER}\nVIRL2_PASS=\"{PASSWORD}\"\n", controller.url());
    std::fs::write(stage.home.path().join(".virlrc"), virlrc).unwrap();
    for name in ["VIRL2_URL", "VIRL2_USER", "VIRL2_PASS"] {
        stage.repo.set(name, "");
    }
    stage.repo.xtask(&["upload"]).success();
    std::fs::remove_file(stage.home.path().join(".virlrc")).unwrap();
    stage.repo.xtask(&["upload"]).failure().says(["which CML server?", "--cml HOST", ".virlrc"]);
    let address = controller.url();
    stage.repo.xtask(&["upload", "--cml", &address]).failure().says(["needs a user and a password", "VIRL2_PASS"]);
}

#[test]
fn a_node_in_use_is_explained_and_replaced_only_with_force() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    stage.repo.xtask(&["upload"]).success();
    controller.add_lab("Spine and leaf", &stage.repo.id());
    stage.change_node("changed\n");
    changes(&controller);
    let outcome = stage.repo.xtask(&["upload"]).failure();
    outcome.says(["is in use on", "`r1` in the lab `Spine and leaf`", "--force"]);
    stage.repo.xtask(&["cml", "remove", stage.repo.node()]).failure().says(["is in use on"]);
    assert_eq!(changes(&controller), [""; 0]);
    stage.repo.xtask(&["upload", "--force"]).success();
}

#[test]
fn somebody_elses_read_only_node_needs_force_and_our_own_does_not() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let template = stage.repo.read("image-definitions/container.yaml");
    stage.repo.write("image-definitions/container.yaml", &format!("{template}read_only: true\n"));
    stage.repo.xtask(&["upload"]).success();
    stage.change_node("changed\n");
    stage.repo.xtask(&["upload"]).success();
    let id = stage.repo.id();
    assert_eq!(controller.state().image_definitions[&id]["read_only"], true);

    controller.state().image_definitions.get_mut(&id).unwrap()["label"] = "somebody else's".into();
    let before = controller.state().snapshot();
    stage
        .repo
        .xtask(&["upload"])
        .failure()
        .says(["is read-only, and has changed since this machine installed it: label", "--force"]);
    assert!(controller.state().snapshot() == before);
    // A failure after the protection was lifted restores it.
    stage.change_node("changed again\n");
    controller.trouble("PUT image_definitions", 1, Trouble::Status(400, "no"));
    controller.state().takes_files_when_replacing = true;
    let trouble = stage.repo.xtask(&["upload", "--force"]);
    assert_eq!(trouble.code, Some(1), "{trouble}");
    assert!(controller.state().snapshot() == before, "{trouble}");
    stage.repo.xtask(&["upload", "--force"]).success();
}

#[test]
fn a_controller_that_accepts_no_new_file_for_an_old_definition_is_noticed() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    stage.repo.xtask(&["upload"]).success();
    controller.state().takes_files_when_replacing = false;
    let before = controller.state().snapshot();
    stage.change_node("changed\n");
    stage.repo.xtask(&["upload"]).failure().says(["does not accept another archive", "--force", "nothing was changed"]);
    assert!(controller.state().snapshot() == before);
    stage.repo.xtask(&["upload", "--force"]).success();
    assert!(controller.state().images[&stage.repo.id()].1 == std::fs::read(stage.repo.archive()).unwrap());
}

#[test]
fn remove_and_rollback() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let id = stage.repo.id();
    stage.repo.xtask(&["upload"]).success();
    let old = controller.state().snapshot();
    stage.repo.edit("node-definitions/tiny.yaml", "ram: 64", "ram: 65");
    stage.repo.xtask(&["upload"]).success();
    stage.repo.xtask(&["cml", "rollback", stage.repo.node()]).success();
    assert!(controller.state().snapshot() == old);
    stage.change_node("changed\n");
    stage.repo.xtask(&["upload"]).success();
    stage.repo.xtask(&["cml", "rollback", &id]).failure().says(["the API does not return archives", "--via ssh"]);
    stage.repo.xtask(&["cml", "remove", &id]).success();
    let left = controller.state().snapshot();
    assert!(left.0.is_empty() && left.1.is_empty() && left.2.is_empty() && left.3.is_empty());
    let again = stage.repo.xtask(&["cml", "remove", &id]).success();
    assert!(again.stdout.contains("absent"), "{again}");
}

#[test]
fn who_is_no_administrator_is_told_before_anything_is_sent() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    controller.state().admin = Some(false);
    stage.repo.xtask(&["save"]).success();
    for words in [&["upload"][..], &["upload", "--dry-run"], &["cml", "remove", "x"], &["cml", "rollback", "x"]] {
        let outcome = stage.repo.xtask(words).failure();
        outcome.says([&format!("`{USER}` is not an administrator"), "nothing was sent", "VIRL2_USER"]);
        assert_eq!(changes(&controller), [""; 0], "{words:?}");
    }
    stage.repo.xtask(&["cml", "status"]).success();
    // A controller that does not say who is logged in.
    controller.state().admin = None;
    stage.repo.xtask(&["upload"]).success();
}

#[test]
fn a_node_definition_with_other_images_is_not_half_removed() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let id = stage.repo.id();
    stage.repo.xtask(&["upload"]).success();
    let mut other = controller.state().image_definitions[&id].clone();
    other["id"] = "somebody-elses".into();
    controller.state().image_definitions.insert("somebody-elses".to_owned(), other);
    let before = controller.state().snapshot();
    stage.repo.xtask(&["cml", "remove", &id]).failure().says(["belong to the node definition", "somebody-elses"]);
    assert!(controller.state().snapshot() == before);
}

#[test]
fn a_full_disk_is_noticed_before_anything_is_sent() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    controller.state().free = 10;
    stage.repo.xtask(&["upload"]).failure().says(["the controller's disk has 10 B left"]);
    assert_eq!(changes(&controller), [""; 0]);
}

#[test]
fn an_archive_that_was_changed_after_it_was_saved_is_written_again_before_it_is_sent() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    stage.repo.xtask(&["save"]).success();
    let good = std::fs::read(stage.repo.archive()).unwrap();
    // Same size, same time, other bytes: only its digest differs.
    let times = std::fs::metadata(stage.repo.archive()).unwrap().modified().unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    std::fs::write(stage.repo.archive(), bad).unwrap();
    std::fs::File::options().write(true).open(stage.repo.archive()).unwrap().set_modified(times).unwrap();
    stage.repo.xtask(&["upload"]).failure().says(["has changed since it was saved"]);
    assert!(controller.state().images.is_empty() && controller.state().drop_folder.is_empty());
}

#[test]
fn two_uploads_at_once_both_succeed() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    stage.repo.xtask(&["save"]).success();
    let runs = [stage.repo.start(&["upload"]), stage.repo.start(&["upload"])];
    for run in runs {
        run.end().success();
    }
    assert_eq!(controller.take_log().iter().filter(|line| *line == ARCHIVE).count(), 1);
}

/// A proxy that opens tunnels for clients with the right password, and counts them.
struct Proxy {
    port: u16,
    opened: Arc<AtomicUsize>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, opened) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&opened);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || serve_tunnel(client.unwrap(), &counted));
            }
        });
        Self { port, opened }
    }

    fn url(&self, login: &str) -> String {
        format!("http://{login}@127.0.0.1:{}", self.port)
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

fn serve_tunnel(mut client: TcpStream, opened: &AtomicUsize) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    // `me:s3cret` in Base64.
    if !head.to_ascii_lowercase().contains("proxy-authorization: basic bwu6cznjcmv0") {
        let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
        return;
    }
    let place = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
    let mut server = TcpStream::connect(place).unwrap();
    opened.fetch_add(1, Ordering::Relaxed);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let up = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(Shutdown::Write);
    let _ = up.join();
}

#[test]
fn the_proxy_of_the_environment_is_used_and_its_password_not_shown() {
    let (controller, proxy) = (Controller::start(), Proxy::start());
    let mut stage = Stage::of(&controller);
    stage.repo.set("HTTPS_PROXY", proxy.url("me:s3cret"));
    stage.repo.xtask(&["upload", "--dry-run"]).success();
    assert_eq!(proxy.opened(), 0, "NO_PROXY counts");
    for name in ["NO_PROXY", "no_proxy"] {
        stage.repo.set(name, "");
    }
    stage.repo.xtask(&["-v", "upload"]).success().does_not_say(["s3cret"]);
    assert!(proxy.opened() > 0 && controller.state().images.contains_key(&stage.repo.id()));
    stage.repo.set("HTTPS_PROXY", proxy.url("me:Wr0ng-one"));
    let outcome = stage.repo.xtask(&["cml", "status"]).failure();
    outcome.says(["through the proxy 127.0.0.1:", "authorization required"]).does_not_say(["Wr0ng-one"]);
}

#[test]
fn an_unsupported_kind_of_proxy_is_reported() {
    let controller = Controller::start();
    let mut stage = Stage::of(&controller);
    stage.repo.set("HTTPS_PROXY", "socks5://127.0.0.1:1");
    for name in ["NO_PROXY", "no_proxy"] {
        stage.repo.set(name, "");
    }
    stage.repo.xtask(&["cml", "status"]).failure().says(["only http:// proxies can be used", "NO_PROXY=127.0.0.1"]);
}
