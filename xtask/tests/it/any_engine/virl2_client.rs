//! CML's own client against the controller that stands in for CML in the other tests: a stand-in that the client
//! accepts is worth something. And what this program uploads, the client must find, and vice versa.

use std::process::Command;

use crate::common::cml::controller::Controller;
use crate::common::cml::{PASSWORD, Stage, USER};
use crate::common::python::python;

/// The client's version whose source was read for the stand-in.
const CLIENT: &str = "virl2_client==2.10.1";

/// Does what `upload`, `status` and `remove` do, with the client.
const SCRIPT: &str = concat!(include_str!("../common/cml/session.py"), include_str!("../common/cml/client.py"));

/// Does what `builder` does, with the client.
const LABS: &str = concat!(include_str!("../common/cml/session.py"), include_str!("../common/cml/labs.py"));

fn client(stage: &Stage, controller: &Controller, work: &str) -> String {
    let folder = stage.repo.path("dist/node-definitions");
    let node = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let files = [node, stage.repo.archive(), stage.repo.image_definition()];
    let files = files.map(|path| path.to_str().unwrap().to_owned());
    let id = stage.repo.id();
    let words = [work, &id, &files[0], &files[1], &files[2]];
    satisfied(stage, controller, SCRIPT, &words)
}

/// Runs a script with the client. Returns what it printed.
fn satisfied(stage: &Stage, controller: &Controller, script: &str, words: &[&str]) -> String {
    let authority = stage.home.path().join("authority.pem");
    let output = Command::new(python("virl2_client", &[CLIENT]))
        .args(["-c", script])
        .args(words)
        .env("HOME", stage.home.path())
        .env("VIRL2_URL", controller.url())
        .env("VIRL2_USER", USER)
        .env("VIRL2_PASS", PASSWORD)
        .env("CA_BUNDLE", authority)
        .output()
        .unwrap();
    let (said, shown) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "the client is not satisfied with {words:?}:\n{shown}\n{said}");
    shown.into_owned()
}

#[test]
fn the_client_accepts_the_stand_in_and_sees_what_this_program_uploads() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    stage.repo.xtask(&["save"]).success();
    for version in ["2.9.0+build.3", "2.10.0"] {
        controller.state().version = version.to_owned();
        client(&stage, &controller, "everything");
        let left = controller.state().snapshot();
        assert!(left.0.is_empty() && left.1.is_empty() && left.2.is_empty() && left.3.is_empty(), "{version}");
    }
    stage.repo.xtask(&["upload"]).success();
    client(&stage, &controller, "check");
}

#[test]
fn the_client_accepts_a_node_definition_that_versions_share() {
    let controller = Controller::start();
    controller.state().version = "2.10.0".to_owned();
    let stage = Stage::of(&controller);
    let node = stage.repo.node();
    stage.repo.edit_manifest("variants:\n", &format!("shared_node: {{id: {node}, label: Tiny}}\nvariants:\n"));
    stage.repo.xtask(&["save"]).success();
    client(&stage, &controller, "everything");
    client(&stage, &controller, "upload");
    let outcome = stage.repo.xtask(&["upload"]).success();
    assert!(outcome.stdout.contains("the same"), "{outcome}");
    stage.repo.xtask(&["upload", "--version", "2.0"]).success();
    stage.repo.xtask(&["save"]).success();
    client(&stage, &controller, "check");
}

#[test]
fn what_the_client_uploads_is_the_same_to_this_program_and_needs_no_upload() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    stage.repo.xtask(&["save"]).success();
    client(&stage, &controller, "upload");
    controller.take_log();
    let outcome = stage.repo.xtask(&["cml", "status"]).success();
    assert!(outcome.stdout.contains("the same"), "{outcome}");
    let outcome = stage.repo.xtask(&["upload"]).success();
    assert!(outcome.stdout.contains("the same"), "{outcome}");
    let log = controller.take_log();
    assert!(
        log.iter().all(|line| line.starts_with("GET ") || line == "POST authenticate" || line == "DELETE logout"),
        "{log:?}"
    );
}

#[test]
fn both_make_the_same_requests_in_the_same_order() {
    let requests = |controller: &Controller| -> Vec<String> {
        controller
            .take_log()
            .into_iter()
            .filter(|line| !line.starts_with("GET ") && !line.contains("authenticate"))
            .collect()
    };
    let (ours, theirs) = (Controller::start(), Controller::start());
    let stage = Stage::of(&ours);
    stage.repo.xtask(&["upload"]).success();
    let stage_of_theirs = Stage::of(&theirs);
    stage_of_theirs.repo.xtask(&["save"]).success();
    client(&stage_of_theirs, &theirs, "upload");
    assert_eq!(requests(&ours), requests(&theirs));
}

/// A server with an Ubuntu image, a user, and the file of a lab.
fn builder() -> (Controller, Stage, String) {
    let controller = Controller::start();
    controller.add_image("ubuntu-24-04-20250503", "ubuntu");
    let stage = Stage::of_builder(&controller);
    let file = stage.home.path().join("lab.yaml").to_str().unwrap().to_owned();
    stage.repo.xtask(&["builder", "create", "--server-address", "192.0.2.1", "--output", &file]).success();
    (controller, stage, file)
}

const TITLE: &str = "Create Docker Image";

#[test]
fn the_client_imports_starts_stops_and_deletes_the_lab_that_this_program_writes() {
    let (controller, stage, file) = builder();
    for version in ["2.9.0+build.3", "2.10.0"] {
        controller.state().version = version.to_owned();
        for work in ["wrong", "create", "run", "running", "stop", "delete", "gone"] {
            satisfied(&stage, &controller, LABS, &[work, &file, TITLE]);
        }
    }
}

#[test]
fn client_and_program_find_each_others_labs_in_every_state() {
    let (controller, stage, file) = builder();
    let theirs = |work: &str| satisfied(&stage, &controller, LABS, &[work, &file, TITLE]);
    let ours = |words: &[&str]| stage.repo.xtask(&[&["builder"], words].concat()).success();
    ours(&["create", "--server-address", "192.0.2.1"]);
    theirs("run");
    assert!(ours(&["start"]).stdout.contains("builder@192.168.255.17"));
    theirs("running");
    theirs("stop");
    ours(&["start"]);
    theirs("running");
    ours(&["stop"]);
    theirs("delete");
    theirs("create");
    let outcome = ours(&["create", "--server-address", "192.0.2.1"]);
    assert!(outcome.stdout.contains("unchanged"), "{outcome}");
    ours(&["start"]);
    ours(&["delete", "--yes"]);
    theirs("gone");
}
