//! What an upload by the API makes of the controller's answers: definitions in another form, refusals and errors.

use std::io::Write;
use std::process::{Command, Stdio};

use cml::{InstallState, Reversal};
use serde_json::Value;

use crate::common::cml::controller::{Controller, Snapshot, Trouble};
use crate::common::cml::uploader::{ID, Uploader};
use crate::common::python::python;

const PACKAGES: [&str; 2] = ["pydantic==2.14.4", "PyYAML==6.0.4"];

/// Reads a definition as CML does; prints it as JSON, with what it does not say.
const READER: &str = include_str!("../common/cml/normalise.py");

fn normalised(is_node: bool, text: &[u8]) -> Result<Value, String> {
    let mut process = Command::new(python("pydantic", &PACKAGES))
        .args(["-c", READER, if is_node { "node" } else { "image" }])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(text).unwrap();
    let output = process.wait_with_output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

/// A node whose definition is spelled as CML accepts it, and leaves out what is true without being said.
fn spelled(controller: &Controller) -> Uploader {
    let mut uploader = Uploader::of(controller);
    for (from, to) in
        [("ram: 128", "ram: \"128\""), ("visible: true", "visible: yes"), ("timeout: 30", "timeout: 30.0")]
    {
        uploader.edit_node(from, to);
    }
    uploader.node_definition += "pyats: {os: linux}\n";
    uploader
}

#[track_caller]
fn arrives_and_stays(uploader: &Uploader, controller: &Controller) {
    assert_eq!(uploader.upload(controller).state, InstallState::Installed);
    controller.take_log();
    assert_eq!(uploader.upload(controller).state, InstallState::Same);
    assert_eq!(uploader.status(controller).state, InstallState::Same);
    assert_eq!(changes(controller), [""; 0]);
}

fn changes(controller: &Controller) -> Vec<String> {
    let log = controller.take_log().into_iter();
    log.filter(|line| !line.starts_with("GET ") && line != "POST authenticate").collect()
}

fn now(controller: &Controller) -> Snapshot {
    controller.state().snapshot()
}

#[track_caller]
fn says(message: &str, texts: &[&str]) {
    for text in texts {
        assert!(message.contains(text), "it should say `{text}`: {message}");
    }
}

const RAM_TO_BE_RESTORED: &str = "to be restored: node definition: sim.linux_native.ram";

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn what_pydantic_makes_of_a_definition_is_the_same() {
    let controller = Controller::start();
    let mut uploader = spelled(&controller);
    controller.state().reader = Some(Box::new(normalised));
    arrives_and_stays(&uploader, &controller);
    let there = now(&controller);
    // The controller has filled in what the definitions do not say.
    assert_eq!(there.0[ID]["sim"]["linux_native"]["enable_rng"], true);
    assert!(there.0[ID]["sim"]["linux_native"]["cpu_model"].is_null() && there.1[ID]["schema_version"] == "0.0.1");
    // A replacement is undone, and repeated, in that form too: its nulls are given, but not accepted.
    uploader.change("changed");
    controller.trouble_from("PUT image_definitions", 1, 1, Trouble::Status(500, "no"));
    says(&uploader.refused(&controller), &["was refused (500): no", "nothing was changed on"]);
    assert!(now(&controller) == there);
    controller.end_all_trouble();
    arrives_and_stays(&uploader, &controller);
    // Another value is not the same.
    let set = |value: bool| {
        let mut state = controller.state();
        state.node_definitions.get_mut(ID).unwrap()["sim"]["linux_native"]["enable_rng"] = value.into();
    };
    set(false);
    assert_eq!(uploader.status(&controller).details, ["node definition: sim.linux_native.enable_rng"]);
}

/// YAML with each number in quotes and each truth as a word of YAML 1.1, and the last key first.
fn in_words(value: &Value) -> String {
    match value {
        Value::Bool(value) => if *value { "yes" } else { "off" }.to_owned(),
        Value::Number(number) => format!("\"{number}\""),
        Value::Array(items) => format!("[{}]", items.iter().map(in_words).collect::<Vec<_>>().join(", ")),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| format!("{}: {}", Value::from(key.as_str()), in_words(value));
            format!("{{{}}}", map.iter().rev().map(entry).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn a_server_that_writes_numbers_as_text_and_truths_as_words_has_the_same() {
    let controller = Controller::start();
    let uploader = spelled(&controller);
    controller.state().reader = Some(Box::new(normalised));
    controller.state().writer = Some(in_words);
    arrives_and_stays(&uploader, &controller);
    assert!(in_words(&now(&controller).0[ID]).contains("\"editable\": yes"));
    uploader.reverse(&controller, Reversal::Remove, false).unwrap();
    assert!(controller.state().node_definitions.is_empty());
}

#[test]
fn a_definition_that_the_server_refuses_is_found_before_the_archive_is_sent() {
    let controller = Controller::start();
    let mut uploader = Uploader::of(&controller);
    controller.trouble("POST node_definitions", 1, Trouble::Status(400, "ram is not to my taste"));
    says(&uploader.refused(&controller), &["ram is not to my taste", "nothing was changed on"]);
    assert_eq!(controller.state().received, 0);
    uploader.upload(&controller);
    uploader.change("changed");
    let received = || controller.state().received;
    let before = (now(&controller), received());
    for (request, status) in [("PUT node_definitions", 400), ("PUT image_definitions", 403)] {
        controller.trouble(request, 1, Trouble::Status(status, "not to my taste"));
        says(&uploader.refused(&controller), &["not to my taste", "nothing was changed on"]);
        assert!((now(&controller), received()) == before, "{request}");
    }
    controller.take_log();
    uploader.upload(&controller);
    // The image definition that is there is made writable, to see whether it can be changed.
    let trial = format!("PUT image_definitions/{ID}/read_only");
    let requests = ["PUT node_definitions", &trial, "POST images/upload", "PUT image_definitions"];
    assert_eq!(changes(&controller), requests);
}

#[test]
fn an_image_definition_that_fails_after_the_node_definition_was_replaced_is_undone_exactly() {
    let controller = Controller::start();
    let mut uploader = Uploader::of(&controller);
    for read_only in [false, true] {
        if read_only {
            uploader.edit_node("read_only: false", "read_only: true");
            uploader.edit_image("read_only: false", "read_only: true");
        }
        uploader.upload(&controller);
        uploader.change(if read_only { "one" } else { "two" });
        let before = now(&controller);
        for keeps_read_only in [false, true] {
            controller.state().keeps_read_only = keeps_read_only;
            // The first one makes it writable, before the archive is sent.
            for skip in [0, 1] {
                let said = "imagetool: [Errno 28] No space left";
                controller.trouble_from("PUT image_definitions", skip, 1, Trouble::Status(500, said));
                let error = uploader.refused(&controller);
                says(&error, &["(500): imagetool: [Errno 28]", "disk is full: make room", "nothing was changed on"]);
                controller.end_all_trouble();
                assert!(now(&controller) == before, "{skip}: {error}\n{:?}", now(&controller));
            }
        }
        uploader.upload(&controller);
        let after = now(&controller);
        assert_eq!(
            (&after.0[ID]["general"]["read_only"], &after.1[ID]["read_only"]),
            (&read_only.into(), &read_only.into())
        );
    }
}

#[test]
fn a_definition_that_becomes_read_only_is_undone_too() {
    let controller = Controller::start();
    let mut uploader = Uploader::of(&controller);
    uploader.upload(&controller);
    let before = now(&controller);
    uploader.change("changed");
    uploader.edit_node("read_only: false", "read_only: true");
    controller.trouble_from("PUT image_definitions", 1, 1, Trouble::Status(500, "no"));
    says(&uploader.refused(&controller), &["nothing was changed on"]);
    assert!(now(&controller) == before);
}

#[test]
fn what_the_server_has_is_told_where_it_cannot_be_undone() {
    let controller = Controller::start();
    let mut uploader = Uploader::of(&controller);
    uploader.upload(&controller);
    uploader.change("one");
    let before = now(&controller);
    // The old node definition is refused, too.
    controller.trouble_from("PUT image_definitions", 1, 1, Trouble::Status(500, "Permission denied: 'tiny.yaml'"));
    controller.trouble_from("PUT node_definitions", 1, 1, Trouble::Status(500, "Read-only file system"));
    let error = uploader.refused(&controller);
    says(
        &error,
        &[
            "could not be restored to its earlier state",
            "now the node definition is the new one, and the image definition is the earlier one",
            "libvirt-qemu:virl2",
            "Run the same command again",
        ],
    );
    assert!(!error.contains("nothing was changed"), "{error}");
    controller.end_all_trouble();
    let after = now(&controller);
    assert!(after.0 != before.0 && after.1 == before.1 && after.2 == before.2 && after.3 == before.3);
    uploader.upload(&controller);

    // It was deleted to be created again, and is gone.
    controller.state().takes_files_when_replacing = false;
    uploader.change("two");
    controller.trouble("POST image_definitions", 1, Trouble::Status(500, "no"));
    let error = format!("{:#}", uploader.try_upload(&controller, true).unwrap_err());
    says(&error, &["no longer has the earlier archive", "the image definition is gone"]);
    assert!(!error.contains("nothing was changed") && controller.state().image_definitions.is_empty(), "{error}");
    uploader.upload(&controller);
}

#[test]
fn a_file_that_had_to_go_from_the_drop_folder_is_not_kept_quiet() {
    let controller = Controller::start();
    let uploader = Uploader::of(&controller);
    let name = format!("{ID}.tar.gz");
    controller.state().drop_folder.insert(name.clone(), "somebody else's".into());
    controller.trouble("POST images/upload", 1, Trouble::Status(500, "no"));
    let error = format!("{:#}", uploader.try_upload(&controller, true).unwrap_err());
    says(&error, &["were undone, but", &format!("{name} was removed from the drop folder")]);
    assert!(!error.contains("nothing was changed"), "{error}");
}

#[test]
fn an_error_without_a_reason_names_the_nodes_that_use_the_definition() {
    let controller = Controller::start();
    let mut uploader = Uploader::of(&controller);
    uploader.upload(&controller);
    controller.add_lab("Spine and leaf", ID);
    uploader.change("changed");
    controller.trouble("PUT image_definitions", 1, Trouble::Status(500, "imagetool failed"));
    let error = format!("{:#}", uploader.try_upload(&controller, true).unwrap_err());
    says(&error, &["imagetool failed", "Probably because nodes use it: `r1` in the lab `Spine and leaf`"]);
}

#[test]
fn a_dry_run_of_a_reversal_says_what_would_be_done() {
    let controller = Controller::start();
    let mut uploader = Uploader::of(&controller);
    uploader.upload(&controller);
    uploader.edit_node("ram: 128", "ram: 129");
    uploader.upload(&controller);
    let before = now(&controller);
    for (reversal, said) in [(Reversal::Remove, "would be removed"), (Reversal::Rollback, "would be rolled back")] {
        let report = uploader.reverse(&controller, reversal, true).unwrap();
        let details = if reversal == Reversal::Rollback { &[RAM_TO_BE_RESTORED][..] } else { &[] };
        assert_eq!((report.state.to_string().as_str(), report.details.as_slice()), (said, &owned(details)[..]));
    }
    assert!(now(&controller) == before);
}

#[test]
fn a_reversal_that_fails_is_undone_and_leaves_read_only_as_it_was() {
    let controller = Controller::start();
    let mut uploader = Uploader::of(&controller);
    uploader.upload(&controller);
    let first = now(&controller);
    uploader.edit_node("ram: 128", "ram: 129");
    uploader.edit_image("read_only: false", "read_only: true\ndescription: new");
    uploader.upload(&controller);
    let before = now(&controller);
    // The first one switches `read_only` off.
    controller.trouble_from("PUT image_definitions", 1, 1, Trouble::Status(500, "no"));
    let error = format!("{:#}", uploader.reverse(&controller, Reversal::Rollback, false).unwrap_err());
    says(&error, &["was refused (500)", "nothing was changed on"]);
    controller.end_all_trouble();
    assert!(now(&controller) == before, "{:?}", now(&controller));
    // Nor does a removal that fails.
    controller.trouble("DELETE image_definitions", 1, Trouble::Status(500, "no"));
    let error = format!("{:#}", uploader.reverse(&controller, Reversal::Remove, false).unwrap_err());
    says(&error, &["deleting the image definition", "was refused (500)"]);
    assert!(now(&controller) == before);
    uploader.reverse(&controller, Reversal::Rollback, false).unwrap();
    assert!(now(&controller) == first);
}

#[test]
fn an_error_at_any_request_of_a_replacement_leaves_the_old_node_or_the_new_one() {
    let controller = Controller::start();
    let mut uploader = Uploader::of(&controller);
    uploader.upload(&controller);
    let old = now(&controller);
    uploader.change("changed");
    controller.take_log();
    uploader.upload(&controller);
    let (requests, new) = (controller.take_log(), now(&controller));
    for trouble in [Trouble::Status(500, "no"), Trouble::AnswerLost] {
        for (index, request) in requests.iter().enumerate() {
            controller.state().restore(&old);
            controller.trouble_after(index, 1, trouble.clone());
            let outcome = uploader.try_upload(&controller, false);
            controller.end_all_trouble();
            let there = now(&controller);
            let case = format!("{trouble:?} at request {index}, {request}: {outcome:?}");
            assert!(there == new || (outcome.is_err() && there == old), "{case}: {there:?}");
            let is_denied = outcome.is_err_and(|error| format!("{error:#}").contains("nothing was changed"));
            assert!(!is_denied || there == old, "{case}");
            uploader.upload(&controller);
            assert!(now(&controller) == new, "{case}");
        }
    }
}
