//! Removing, rolling back and pruning by the API: what is refused, what is done, and what is said of it.

use cml::{InstallState, Options, Reversal};
use serde_json::json;

use crate::common::cml::Stage;
use crate::common::cml::controller::{Controller, Trouble};
use crate::common::cml::uploader::{ID, Uploader};

/// A server with the versions 1.0 and 1.1 of a node, which share a node definition.
fn shared() -> (Controller, Uploader) {
    let controller = Controller::start();
    controller.state().version = "2.10.0".to_owned();
    let mut uploader = Uploader::of(&controller);
    for version in ["1.0", "1.1"] {
        uploader.become_version(version, true);
        uploader.upload(&controller);
    }
    (controller, uploader)
}

#[track_caller]
fn says(message: &str, texts: &[&str]) {
    for text in texts {
        assert!(message.contains(text), "it should say `{text}`: {message}");
    }
}

#[track_caller]
fn details(uploader: &Uploader, controller: &Controller, dry_run: bool) -> Vec<String> {
    uploader.reverse(controller, Reversal::Rollback, dry_run).unwrap().details
}

#[test]
fn a_shared_node_definition_does_not_change_under_a_lab_of_another_version() {
    let (controller, mut uploader) = shared();
    controller.add_lab_with_image("of a colleague", "tiny", ID);
    uploader.edit_node("ram: 128", "ram: 129");
    let what = [
        "tiny is in use on",
        "`r1` in the lab `of a colleague`",
        "node definition: sim.linux_native.ram",
        "the node definition tiny also serves tiny-1-0",
        "--force",
    ];
    says(&uploader.refused(&controller), &what);
    uploader.try_upload(&controller, true).unwrap();
    let before = controller.state().snapshot();
    controller.take_log();
    says(&uploader.kept(&controller, Reversal::Rollback, false), &what);
    assert!(controller.take_log().iter().all(|line| line.starts_with("GET ") || line == "POST authenticate"));
    assert!(controller.state().snapshot() == before);
    let dry = Options { dry_run: true, ..Options::default() };
    uploader.try_reverse(&controller, Reversal::Rollback, dry).unwrap_err();
    let forced = Options { force: true, ..Options::default() };
    let report = uploader.try_reverse(&controller, Reversal::Rollback, forced).unwrap();
    let said = ["node definition: sim.linux_native.ram", "the node definition tiny also serves tiny-1-0"];
    assert_eq!(report.details, said.map(|text| format!("restored: {text}")));
    assert_eq!(controller.state().node_definitions["tiny"]["sim"]["linux_native"]["ram"], 128);
}

#[test]
fn a_rollback_says_what_it_does_and_is_not_undone_by_another() {
    let controller = Controller::start();
    let mut uploader = Uploader::of(&controller);
    uploader.upload(&controller);
    let first = controller.state().snapshot();
    uploader.edit_node("ram: 128", "ram: 129");
    uploader.upload(&controller);
    let ram = "restored: node definition: sim.linux_native.ram";
    assert_eq!(details(&uploader, &controller, true), [format!("to be {ram}")]);
    assert_eq!(details(&uploader, &controller, false), [ram]);
    says(&uploader.kept(&controller, Reversal::Rollback, false), &["nothing is left to roll back"]);
    assert!(controller.state().snapshot() == first);
}

#[test]
fn rolling_back_a_first_installation_says_that_it_removes_it() {
    let controller = Controller::start();
    let uploader = Uploader::of(&controller);
    uploader.upload(&controller);
    assert_eq!(details(&uploader, &controller, true), ["to be removed: it was not there before"]);
    assert_eq!(details(&uploader, &controller, false), ["removed: it was not there before"]);
    assert!(controller.state().node_definitions.is_empty());
    says(&uploader.kept(&controller, Reversal::Rollback, false), &["nothing is left to roll back"]);
    assert_eq!(uploader.reverse(&controller, Reversal::Remove, false).unwrap().state, InstallState::Absent);
}

#[test]
fn a_first_installation_of_a_version_is_rolled_back_under_a_lab_that_uses_another() {
    let (controller, mut uploader) = shared();
    uploader.become_version("1.2", true);
    uploader.edit_node("ram: 128", "ram: 129");
    uploader.upload(&controller);
    let ram = || controller.state().node_definitions["tiny"]["sim"]["linux_native"]["ram"].clone();
    let said = "the node definition tiny: sim.linux_native.ram";
    assert_eq!(details(&uploader, &controller, true).pop(), Some(format!("to be restored: {said}")));
    controller.add_lab_with_image("of a colleague", "tiny", ID);
    let told = details(&uploader, &controller, false);
    assert_eq!(told[0], "removed: it was not there before");
    let kept = format!("not restored, since it is in use (`r1` in the lab `of a colleague`): {said}");
    assert_eq!((told.last(), ram()), (Some(&kept), json!(129)));
}

#[test]
fn a_lab_that_cannot_be_read_may_use_everything() {
    let controller = Controller::start();
    let mut uploader = Uploader::of(&controller);
    uploader.upload(&controller);
    controller.add_lab("L", ID);
    let before = controller.state().snapshot();
    uploader.change("changed");
    let nodes_without_definition = json!({"nodes": [{"id": "n0", "label": "r1"}]}).to_string();
    for trouble in [
        Trouble::Body("{}".to_owned()),
        Trouble::Body(nodes_without_definition),
        Trouble::Status(500, "The database is on fire."),
    ] {
        controller.trouble("GET labs/", 100, trouble);
        for error in [uploader.refused(&controller), uploader.kept(&controller, Reversal::Remove, true)] {
            says(&error, &["a lab cannot be read"]);
        }
        controller.end_all_trouble();
        assert!(controller.state().snapshot() == before);
    }
}

#[test]
fn what_is_in_use_is_told_with_advice_that_fits_the_command() {
    let (controller, mut uploader) = shared();
    controller.add_lab("automatic", "tiny");
    for force in [false, true] {
        let error = uploader.kept(&controller, Reversal::Remove, force);
        let may = "tiny-1-1 may be in use on";
        says(&error, &[may, "`r1` in the lab `automatic` (may use it: it has chosen no image)", "Remove these nodes"]);
        assert!(!error.contains("--force") && !error.contains("replace"), "{error}");
    }
    uploader.archive = "another".to_owned();
    says(&uploader.refused(&controller), &["may use it: it has chosen no image", "--force to replace it"]);
}

#[test]
fn what_has_changed_since_this_machine_installed_it_is_named() {
    let controller = Controller::start();
    let mut uploader = Uploader::of(&controller);
    uploader.edit_image("read_only: false", "read_only: true");
    uploader.upload(&controller);
    controller.state().image_definitions.get_mut(ID).unwrap()["label"] = "Mine".into();
    let since = "has changed since this machine installed it: ";
    for error in [uploader.refused(&controller), uploader.kept(&controller, Reversal::Remove, false)] {
        says(&error, &["is read-only", &format!("{since}label")]);
        assert!(!error.contains("was not installed from"), "{error}");
    }
    let error = uploader.kept(&controller, Reversal::Rollback, false);
    says(&error, &[&format!("{since}image definition: label")]);
}

#[test]
fn a_repeat_completes_a_removal_that_failed_halfway() {
    for is_shared in [false, true] {
        let controller = Controller::start();
        controller.state().version = "2.10.0".to_owned();
        let mut uploader = Uploader::of(&controller);
        uploader.become_version("1.0", is_shared);
        uploader.upload(&controller);
        controller.trouble("DELETE node_definitions", 1, Trouble::Status(500, "no"));
        let error = uploader.kept(&controller, Reversal::Remove, false);
        says(&error, &["half removed", "its image definition is gone", "the same command again", "(500): no"]);
        let report = uploader.reverse(&controller, Reversal::Remove, false).unwrap();
        assert_eq!(report.state, InstallState::Removed);
        assert!(controller.state().node_definitions.is_empty());
        assert_eq!(uploader.reverse(&controller, Reversal::Remove, false).unwrap().state, InstallState::Absent);
    }
}

#[test]
fn a_damaged_record_is_named() {
    let controller = Controller::start();
    let uploader = Uploader::of(&controller);
    uploader.upload(&controller);
    let path = uploader.record(&controller);
    std::fs::write(&path, "{").unwrap();
    let path = path.display().to_string();
    for reversal in [Reversal::Remove, Reversal::Rollback] {
        says(&uploader.kept(&controller, reversal, false), &[&path, "is damaged", "move it away"]);
    }
    assert!(controller.state().image_definitions.contains_key(ID));
}

/// A repository, and a server with the versions 1.0, 2.0 and 3.0 of its node that this user has installed.
fn versions() -> (Controller, Stage, Uploader) {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let mut uploader = Uploader::of(&controller);
    uploader.state_folder = stage.home.path().join("state/cml-nodes");
    uploader.node = stage.repo.node().to_owned();
    for version in ["1.0", "2.0", "3.0"] {
        uploader.become_version(version, false);
        uploader.upload(&controller);
    }
    (controller, stage, uploader)
}

fn states(report: &serde_json::Value) -> Vec<(&str, &str)> {
    let nodes = report[0]["nodes"].as_array().unwrap().iter();
    nodes.map(|node| (node["id"].as_str().unwrap(), node["state"].as_str().unwrap())).collect()
}

#[test]
fn prune_lists_in_json_what_it_would_remove_if_somebody_agreed() {
    let (controller, stage, _) = versions();
    let outcome = stage.repo.xtask(&["cml", "prune", "--json"]).failure().says(["pass --yes"]);
    let all = [("tiny-1-0", "would-remove"), ("tiny-2-0", "would-remove"), ("tiny-3-0", "kept")];
    assert_eq!(states(&outcome.json()), all);
    assert_eq!(controller.state().image_definitions.len(), 3);
}

#[test]
fn prune_goes_on_after_a_version_that_fails_and_a_record_that_is_damaged() {
    let (controller, stage, uploader) = versions();
    std::fs::write(uploader.record(&controller).with_file_name("tiny-0-1.json"), "{").unwrap();
    controller.trouble("DELETE image_definitions/tiny-1-0", 1, Trouble::Status(500, "no"));
    let outcome = stage.repo.xtask(&["cml", "prune", "--yes", "--json"]).failure();
    let outcome = outcome.says(["tiny-1-0 was not removed", "tiny-0-1.json", "is damaged"]);
    assert_eq!(states(&outcome.json()), [("tiny-2-0", "removed"), ("tiny-3-0", "kept")]);
    let left: Vec<String> = controller.state().image_definitions.keys().cloned().collect();
    assert_eq!(left, ["tiny-1-0", "tiny-3-0"]);
}

#[test]
fn prune_names_a_manifest_that_does_not_tell_which_versions_are_needed() {
    let (controller, stage, _) = versions();
    let manifest = format!("docker/{}/node.yaml", stage.repo.node());
    let text = stage.repo.read(&manifest);
    stage.repo.write(&manifest, &format!("{text}nonsense: true\n"));
    let other = text.replace(stage.repo.node(), "other");
    stage.repo.write("docker/other/node.yaml", &other);
    stage.repo.write("docker/other/Dockerfile", "FROM scratch\n");
    let prune = || stage.repo.xtask(&["cml", "prune", "--yes"]);
    let whole = |why: &str| {
        let outcome = prune().says([&manifest, why, "tiny-1-0, tiny-2-0, tiny-3-0"]).does_not_say(["no old version"]);
        assert_eq!(outcome.code, Some(1), "{outcome}");
    };
    whole("unknown field `nonsense`");
    std::fs::remove_dir_all(stage.repo.path(&format!("docker/{}", stage.repo.node()))).unwrap();
    whole("which is not there");
    assert_eq!(controller.state().image_definitions.len(), 3);
}
