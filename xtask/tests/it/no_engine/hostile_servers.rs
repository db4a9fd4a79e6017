//! Servers that answer with too much, too slowly, or with what a terminal would act on.

use serde_json::{Value, json};

use crate::common::Outcome;
use crate::common::cml::Stage;
use crate::common::cml::controller::{Controller, Trouble};

/// What sets the title of a terminal's window, clears the screen, is that for a terminal with eight bits, and what
/// reverses the direction of text. The rest of the line must not be taken for a line of this program.
const MARKER: &str = "\u{1b}]0;MARK\u{7}\u{1b}[2J\u{9b}2J\u{202e}\rMARK\nMARK";

const TITLE: &str = "Create Docker Image";
const CREATE: [&str; 5] = ["builder", "create", "--server-address", "192.0.2.1", "--generate-password"];

fn scene() -> (Controller, Stage) {
    let controller = Controller::start();
    controller.add_image("ubuntu-24-04-20250503", "ubuntu");
    let stage = Stage::of_builder(&controller);
    (controller, stage)
}

/// With a build machine that runs.
fn scene_with_a_machine() -> (Controller, Stage) {
    let (controller, stage) = scene();
    stage.repo.xtask(&CREATE).success();
    stage.repo.xtask(&["builder", "start"]).success();
    controller.take_log();
    (controller, stage)
}

/// Asserts that the marker is shown, and nothing of it that a terminal would act on.
#[track_caller]
fn shows_it_printable(what: &str, outcome: &Outcome) {
    for text in [&outcome.stdout, &outcome.stderr] {
        let obeyed = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
        assert!(!text.contains(obeyed), "{what}: {text:?}");
        assert!(!text.lines().any(|line| line == "MARK"), "{what}: {text}");
    }
    let shown = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(shown.contains("MARK"), "{what} does not show it:\n{shown}");
}

#[test]
fn an_answer_that_is_larger_than_what_was_asked_for_is_refused() {
    let (controller, stage) = scene_with_a_machine();
    let cases: [(&[&str], &str, &str, &str); 11] = [
        (&["cml", "status"], "GET system_information", "asking for its version failed", "262.1 kB"),
        (&["cml", "status"], "POST authenticate", "logging in failed", "262.1 kB"),
        (&["cml", "status"], "GET system_stats", "asking for free space failed", "8.4 MB"),
        (&["cml", "remove", "x"], "GET node_definitions/x", "reading the node definition x failed", "20.0 MB"),
        (&["cml", "remove", "x"], "GET image_definitions/x", "reading the image definition x failed", "20.0 MB"),
        (&["builder", "status"], "GET labs", "listing the labs failed", "8.4 MB"),
        (&["builder", "status"], "GET labs/", "reading a lab failed", "262.1 kB"),
        (
            &["builder", "status", "--lab", "00000001-0000-4000-8000-000000000001"],
            "GET labs/00000001-0000-4000-8000-000000000001/topology",
            "reading a lab's nodes failed",
            "8.4 MB",
        ),
        (
            &["builder", "status"],
            "GET labs/00000001-0000-4000-8000-000000000001/nodes",
            "reading the console failed",
            "4.2 MB",
        ),
        (
            &["builder", "create", "--server-address", "192.0.2.1", "--generate-password", "--title", "x"],
            "GET image_definitions",
            "listing image definitions failed",
            "8.4 MB",
        ),
        (
            &["builder", "create", "--server-address", "192.0.2.1", "--generate-password", "--title", "y"],
            "POST import",
            "importing the lab failed",
            "8.4 MB",
        ),
    ];
    for (args, request, what, bound) in cases {
        controller.trouble(request, 1, Trouble::Endless(b'['));
        let bound = format!("the answer of {} has more than {bound}", controller.address());
        stage.repo.xtask(args).failure().says([what, &bound]);
        controller.end_all_trouble();
    }
}

#[test]
fn a_definition_within_its_bound_that_nobody_could_read_is_refused() {
    let (controller, stage) = scene();
    for text in ["[".repeat(19_000_000), format!("[{}0]", "0,".repeat(9_000_000)), "a: ".repeat(5_000_000)] {
        controller.trouble("GET node_definitions/x", 1, Trouble::Body(text));
        stage.repo.xtask(&["cml", "remove", "x"]).failure().says(["cannot read the node definition x"]);
    }
}

#[test]
fn an_answer_that_never_ends_is_given_up() {
    let (controller, stage) = scene();
    for request in ["GET system_information", "POST authenticate", "GET system_stats"] {
        controller.trouble(request, 1, Trouble::Drip);
        let outcome = stage.repo.xtask(&["cml", "status", "--timeout", "1"]).failure();
        outcome.says(["has not completed its answer within 1 s (--timeout)"]);
    }
}

#[test]
fn of_a_refusal_without_end_the_beginning_is_shown() {
    let (controller, stage) = scene();
    controller.trouble("GET system_stats", 1, Trouble::EndlessRefusal(b'x'));
    stage.repo.xtask(&["cml", "status"]).failure().says(["asking for free space was refused (500): xxxx"]);
}

#[test]
fn nothing_that_a_controller_says_reaches_a_terminal_as_it_is() {
    let words: &'static str = MARKER;
    let page = format!("<html><title>{MARKER}</title></html>");
    let cases: [(&[&str], &str, Trouble); 11] = [
        (&["cml", "status"], "GET system_information", Trouble::Status(500, words)),
        (&["cml", "status"], "GET system_information", Trouble::Body(page.clone())),
        (&["cml", "status"], "GET system_information", Trouble::Body(json!({"version": MARKER}).to_string())),
        (&["cml", "status", "--json"], "GET system_information", Trouble::Body(json!({"version": MARKER}).to_string())),
        (&["cml", "status"], "GET system_information", Trouble::Body(json!({"ready": MARKER}).to_string())),
        (&["cml", "status"], "POST authenticate", Trouble::Status(400, words)),
        (&["cml", "status"], "GET system_stats", Trouble::Body(page.clone())),
        (&["cml", "remove", "x"], "GET node_definitions", Trouble::Status(500, words)),
        (&["builder", "status"], "GET labs", Trouble::Status(500, words)),
        (&["builder", "start"], "GET labs", Trouble::Status(500, words)),
        (&CREATE, "POST import", Trouble::Body(json!({"id": MARKER, "warnings": [MARKER]}).to_string())),
    ];
    for (args, request, trouble) in cases {
        let (controller, stage) = scene();
        let what = format!("{args:?}, {request}, {trouble:?}");
        controller.trouble(request, 1, trouble);
        let outcome = stage.repo.xtask(args);
        if args.contains(&"--json") {
            let version = outcome.json()[0]["version"].as_str().unwrap_or_default().to_owned();
            assert!(version.contains("MARK"), "{version}");
        }
        shows_it_printable(&what, &outcome);
    }
}

#[test]
fn nothing_in_a_lab_or_a_definition_reaches_a_terminal_as_it_is() {
    let lab = |state: &str| {
        let description = "cml-nodes.builder user=me";
        json!({"id": MARKER, "lab_title": TITLE, "lab_description": description, "state": state, "created": MARKER})
    };
    let node = |label: &str, tags: &[&str], of: &str| {
        let tags = tags.to_vec();
        json!({"id": "n", "label": label, "node_definition": of, "tags": tags})
    };
    let topology = |nodes: &[Value]| json!({"lab": {"title": MARKER}, "nodes": nodes}).to_string();
    let own = node(MARKER, &["cml-nodes.builder"], "ubuntu");
    let added = node(MARKER, &[], "alpine");
    let cases: [(&[&str], String, Vec<Value>); 6] = [
        (&["builder", "status"], lab(MARKER).to_string(), vec![own.clone()]),
        (&["builder", "delete", "--yes"], lab("STOPPED").to_string(), vec![own.clone()]),
        (&["builder", "delete", "--yes"], lab("STOPPED").to_string(), vec![own.clone(), added]),
        (&["builder", "stop"], lab("STOPPED").to_string(), vec![own.clone()]),
        (&CREATE, lab(MARKER).to_string(), vec![own.clone()]),
        (&["builder", "status", "--json"], lab(MARKER).to_string(), vec![own]),
    ];
    for (args, lab, nodes) in cases {
        let (controller, stage) = scene();
        controller.trouble("GET labs/id/topology", 100, Trouble::Body(topology(&nodes)));
        controller.trouble("GET labs/", 100, Trouble::Body(lab.clone()));
        controller.trouble("GET labs", 100, Trouble::Body(json!(["id"]).to_string()));
        shows_it_printable(&format!("{args:?}, {lab}"), &stage.repo.xtask(args));
    }
    let (controller, stage) = scene();
    let definition = json!({"id": "x", "general": {"read_only": false}, MARKER: 1});
    controller.state().node_definitions.insert("x".to_owned(), definition);
    controller.add_lab(MARKER, "x");
    shows_it_printable("a lab's title", &stage.repo.xtask(&["cml", "remove", "x"]));
    controller.state().labs.all.clear();
    controller.trouble(
        "GET node_definitions/x/image_definitions",
        1,
        Trouble::Body(json!([{"id": MARKER}]).to_string()),
    );
    shows_it_printable("an image's id", &stage.repo.xtask(&["cml", "remove", "x"]));
}

#[test]
fn the_names_of_a_certificate_do_not_reach_a_terminal_as_they_are() {
    let controller = Controller::named(&["\u{1b}]0;MARK\u{7}.example.org"]);
    let stage = Stage::of(&controller);
    shows_it_printable("a name in a certificate", &stage.repo.xtask(&["cml", "status"]).failure());
}

/// A script for ssh that prints what a terminal would act on: at the login, or for each command.
fn ssh(at_login: &str, of_commands: &str) -> Stage {
    let stage = Stage::of_ssh(&format!(
        "case \"$*\" in
           *'echo ready'*) {at_login};;
           *' -G '*) exec /usr/bin/ssh \"$@\";;
           *) {of_commands};;
         esac"
    ));
    std::fs::write(stage.home.path().join("marker"), MARKER).unwrap();
    stage
}

#[test]
fn nothing_that_comes_by_ssh_reaches_a_terminal_as_it_is() {
    let commands: [&[&str]; 4] =
        [&["cml", "status"], &["cml", "doctor"], &["cml", "remove", "x"], &["cml", "rollback", "x"]];
    let ready = "echo ready; exec cat >/dev/null";
    let version = json!({"version": MARKER, "ready": true}).to_string();
    for (at_login, of_commands) in [
        ("cat \"$HOME/marker\" >&2; exit 255", "exit 1"),
        ("echo \"Permission denied $(cat \"$HOME/marker\")\" >&2; exit 255", "exit 1"),
        ("echo \"Permanently added $(cat \"$HOME/marker\")\" >&2; exit 255", "exit 1"),
        (ready, "cat \"$HOME/marker\" >&2; exit 1"),
        (ready, "cat \"$HOME/marker\" >&2; exit 255"),
    ] {
        let stage = ssh(at_login, of_commands);
        for args in commands {
            shows_it_printable(&format!("{args:?}, {at_login}, {of_commands}"), &stage.repo.xtask(args));
        }
    }
    let stage = ssh(ready, "echo disk images 8 1000; cat \"$HOME/version\"");
    std::fs::write(stage.home.path().join("version"), version).unwrap();
    shows_it_printable("the version", &stage.repo.xtask(&["cml", "status"]));
}

#[test]
fn what_a_server_prints_by_ssh_without_end_is_not_waited_for() {
    let stage = ssh("echo ready; exec cat >/dev/null", "exec tr '\\0' '[' </dev/zero");
    stage.repo.xtask(&["cml", "status"]).failure().says(["has printed more than 262.1 kB"]);
    let stage = ssh("exec tr '\\0' '[' </dev/zero", "exit 1");
    stage.repo.xtask(&["cml", "status"]).failure().says(["cannot reach 127.0.0.1:1 by ssh"]);
    let stage = ssh("echo ready; exec tr '\\0' '[' </dev/zero >&2", "echo 1000");
    stage.repo.xtask(&["cml", "status"]).success();
}
