//! Nodes whose versions share one node definition, where CML can do that.

use crate::common::cml::Stage;
use crate::common::cml::controller::{Controller, Trouble};
use crate::common::{Repo, image_id_of_archive};

const ARCHIVE: &str = "POST images/upload";

/// A controller of this version, and a repository whose node is shared between its versions.
fn stage(version: &str) -> (Controller, Stage) {
    let controller = Controller::start();
    controller.state().version = version.to_owned();
    let stage = Stage::of(&controller);
    share(&stage.repo);
    (controller, stage)
}

fn share(repo: &Repo) {
    let node = repo.node().to_owned();
    repo.edit_manifest("variants:\n", &format!("shared_node: {{id: {node}, label: Tiny}}\nvariants:\n"));
}

/// The IDs of the first version, of the second one, and of the node definition of both.
fn ids(stage: &Stage) -> [String; 3] {
    let node = stage.repo.node();
    [format!("{node}-1-0"), format!("{node}-2-0"), node.to_owned()]
}

/// Requests that change something.
fn changes(controller: &Controller) -> Vec<String> {
    let session = ["POST authenticate", "DELETE logout"];
    let read_only = |line: &String| !line.starts_with("GET ") && !session.contains(&line.as_str());
    controller.take_log().into_iter().filter(read_only).collect()
}

fn upload_both(stage: &Stage) {
    stage.repo.xtask(&["upload"]).success();
    stage.repo.xtask(&["upload", "--version", "2.0"]).success();
}

#[test]
fn two_versions_are_image_definitions_of_one_node_definition_on_2_10() {
    let (controller, stage) = stage("2.10.0+build.2");
    let [one, two, node] = ids(&stage);
    stage.repo.xtask(&["upload"]).success();
    let first = controller.state().node_definitions[&node].clone();
    changes(&controller);
    let outcome = stage.repo.xtask(&["upload", "--version", "2.0"]).success();
    assert!(outcome.stdout.contains(&format!("{two}  installed")), "{outcome}");
    assert_eq!(changes(&controller), [ARCHIVE, "POST image_definitions"]);
    let state = controller.state();
    assert_eq!(state.node_definitions.keys().collect::<Vec<_>>(), [&node]);
    assert_eq!(state.node_definitions[&node], first, "it is usable for the first version as before");
    for (id, version) in [(&one, "1.0"), (&two, "2.0")] {
        let image = &state.image_definitions[id];
        assert_eq!(image["node_definition_id"], *node, "{image}");
        assert_eq!(image["docker_tag"], format!("{node}:{version}"), "{image}");
    }
    let config = first["configuration"]["provisioning"]["files"][0]["content"].as_str().unwrap();
    assert_eq!(config.trim(), r#"{"docker": {}}"#);
    assert_eq!(first["ui"]["label"], "Tiny");
}

#[test]
fn the_server_gets_the_form_that_its_version_understands_from_one_archive() {
    let (controller, stage) = stage("2.9.0+build.3");
    let [one, _, node] = ids(&stage);
    stage.repo.xtask(&["save"]).success();
    assert!(stage.repo.dist().contains(&format!("node-definitions/{node}.yaml")), "{:?}", stage.repo.dist());
    let status = || stage.repo.xtask(&["cml", "status"]).success().stdout;
    assert!(status().contains("  absent"), "{}", status());
    stage.repo.xtask(&["upload"]).success();
    assert!(status().contains("  the same"), "{}", status());
    {
        let state = controller.state();
        assert_eq!(state.node_definitions.keys().collect::<Vec<_>>(), [&one]);
        assert_eq!(state.image_definitions[&one]["node_definition_id"], *one);
        assert_eq!(state.image_definitions[&one]["sha256"], image_id_of_archive(&stage.repo.archive()));
    }
    // The server gets a new version of CML, and its nodes stay as they are, since labs use them.
    controller.state().version = "2.10.0".to_owned();
    assert!(status().contains("  the same"), "{}", status());
    changes(&controller);
    stage.change_node("changed\n");
    stage.repo.xtask(&["upload"]).success();
    assert_eq!(controller.state().node_definitions.keys().collect::<Vec<_>>(), [&one]);
    // Only a new version has the new form.
    stage.repo.xtask(&["upload", "--version", "2.0"]).success();
    assert_eq!(controller.state().node_definitions.keys().collect::<Vec<_>>(), [&node, &one]);
}

#[test]
fn the_form_can_be_chosen_and_what_a_server_cannot_have_is_refused() {
    let (controller, stage) = stage("2.9.0+build.3");
    let [one, _, node] = ids(&stage);
    let outcome = stage.repo.xtask(&["upload", "--for", "2.10"]).failure();
    outcome.says(["runs CML 2.9.0+build.3, where versions cannot share", "--for 2.9"]);
    assert_eq!(changes(&controller), [""; 0]);
    controller.state().version = "2.10.0".to_owned();
    stage.repo.xtask(&["upload", "--for", "2.9"]).success();
    assert_eq!(controller.state().node_definitions.keys().collect::<Vec<_>>(), [&one]);
    let before = controller.state().snapshot();
    let outcome = stage.repo.xtask(&["upload", "--for", "2.10", "--force"]).failure();
    outcome.says([&format!("belongs to the node definition {one}"), &format!("cml remove {one}")]);
    assert!(controller.state().snapshot() == before);
    stage.repo.xtask(&["cml", "remove", &one]).success();
    stage.repo.xtask(&["upload", "--for", "2.10"]).success();
    assert_eq!(controller.state().node_definitions.keys().collect::<Vec<_>>(), [&node]);
}

#[test]
fn save_writes_the_form_that_is_asked_for_and_keeps_the_archive() {
    let (_controller, stage) = stage("2.9.0");
    let [one, _, node] = ids(&stage);
    let json = |args: &[&str]| stage.repo.xtask(&[&["save", "--json"], args].concat()).success().json();
    let shared = json(&[]);
    let file = |answer: &serde_json::Value, key: &str| std::fs::read_to_string(answer[key].as_str().unwrap()).unwrap();
    assert!(file(&shared, "node_definition").starts_with(&format!("id: {node}\n")));
    assert!(file(&shared, "image_definition").contains(&format!("docker_tag: {node}:1.0\n")));
    let lint = || stage.repo.xtask(&["lint", stage.repo.path("dist").to_str().unwrap()]).success();
    lint().says(["no findings"]);
    assert_eq!(stage.repo.check_sums(), 3);
    let own = json(&["--for", "2.9"]);
    assert!(file(&own, "node_definition").starts_with(&format!("id: {one}\n")));
    assert!(!file(&own, "image_definition").contains("docker_tag"));
    assert_eq!((&own["written"], &own["sha256"]), (&false.into(), &shared["sha256"]));
    assert!(!stage.repo.path(&format!("dist/node-definitions/{node}.yaml")).exists());
    assert_eq!(stage.repo.check_sums(), 3);
    lint().says(["no findings"]);
    stage.repo.xtask(&["diff", stage.repo.node()]).success().says(["no difference"]);
    assert_eq!(json(&["--for", "2.10"]), shared_again(shared));
    stage.repo.xtask(&["diff", stage.repo.node()]).success().says(["no difference"]);
    let listed = stage.repo.xtask(&["list", "--json"]).success().json();
    assert_eq!(listed[0]["saved"], "yes", "{listed}");
    stage.repo.xtask(&["clean", stage.repo.node()]).success();
    assert!(!stage.repo.path("dist").exists());
}

/// The same answer, with nothing left to write.
fn shared_again(mut answer: serde_json::Value) -> serde_json::Value {
    answer["written"] = false.into();
    answer
}

#[test]
fn a_node_definition_that_names_a_version_is_refused_with_its_place() {
    let (_controller, stage) = stage("2.10.0");
    stage.repo.edit("node-definitions/tiny.yaml", "label_prefix: t-", "label_prefix: t{{ version }}-");
    let outcome = stage.repo.xtask(&["lint"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    outcome.says(["tiny.yaml:8:", "version"]);
    let outcome = stage.repo.xtask(&["save"]).failure();
    outcome.says(["tiny.yaml:8:", "version"]);
}

#[test]
fn a_change_of_the_shared_definition_names_the_other_versions() {
    let (controller, stage) = stage("2.10.0");
    let [one, two, node] = ids(&stage);
    upload_both(&stage);
    changes(&controller);
    stage.repo.edit("node-definitions/tiny.yaml", "ram: 64", "ram: 65");
    let outcome = stage.repo.xtask(&["upload", "--dry-run"]).success();
    assert!(outcome.stdout.contains(&format!("the node definition {node} also serves {two}")), "{outcome}");
    controller.add_lab_with_image("of a colleague", &node, &two);
    let outcome = stage.repo.xtask(&["upload"]).failure();
    outcome.says([&format!("{node} is in use"), "of a colleague"]);
    assert_eq!(changes(&controller), [""; 0]);
    // The image of the first version is not in use, and can be replaced.
    stage.repo.edit("node-definitions/tiny.yaml", "ram: 65", "ram: 64");
    stage.change_node("changed\n");
    stage.repo.xtask(&["upload"]).success();
    let trial = format!("PUT image_definitions/{one}/read_only");
    assert_eq!(changes(&controller), [&trial, ARCHIVE, "PUT image_definitions"]);
    controller.add_lab("with an automatic image", &node);
    stage.change_node("changed again\n");
    let outcome = stage.repo.xtask(&["upload"]).failure();
    outcome.says([&format!("{one} may be in use"), "with an automatic image"]);
}

#[test]
fn removing_a_version_leaves_the_others_and_the_last_takes_the_node_definition_along() {
    let (controller, stage) = stage("2.10.0");
    let [one, two, node] = ids(&stage);
    upload_both(&stage);
    controller.add_lab_with_image("of the second", &node, &two);
    stage.repo.xtask(&["cml", "remove", &two]).failure().says([&format!("{two} is in use")]);
    let outcome = stage.repo.xtask(&["cml", "remove", &one]).success();
    assert!(outcome.stdout.contains(&format!("the node definition {node} stays: it also serves {two}")), "{outcome}");
    assert_eq!(controller.state().image_definitions.keys().collect::<Vec<_>>(), [&two]);
    assert!(controller.state().node_definitions.contains_key(&node));
    let again = stage.repo.xtask(&["cml", "remove", &one]).success();
    assert!(again.stdout.contains("absent"), "{again}");
    controller.state().labs.all.clear();
    stage.repo.xtask(&["cml", "remove", &two]).success();
    let left = controller.state().snapshot();
    assert!(left.0.is_empty() && left.1.is_empty() && left.2.is_empty());
}

#[test]
fn rolling_back_a_version_leaves_the_others() {
    let (controller, stage) = stage("2.10.0");
    let [one, two, node] = ids(&stage);
    stage.repo.xtask(&["upload"]).success();
    let before = controller.state().snapshot();
    stage.repo.edit("node-definitions/tiny.yaml", "ram: 64", "ram: 65");
    stage.repo.xtask(&["upload", "--version", "2.0"]).success();
    let outcome = stage.repo.xtask(&["cml", "rollback", &two]).success();
    assert!(outcome.stdout.contains("rolled back"), "{outcome}");
    assert!(controller.state().snapshot() == before, "{outcome}");
    stage.repo.xtask(&["cml", "rollback", &one]).success();
    assert!(!controller.state().node_definitions.contains_key(&node));
}

#[test]
fn an_upload_that_fails_leaves_the_other_versions_as_they_were() {
    let (controller, stage) = stage("2.10.0");
    stage.repo.xtask(&["upload"]).success();
    let before = controller.state().snapshot();
    stage.repo.edit("node-definitions/tiny.yaml", "ram: 64", "ram: 65");
    for step in [ARCHIVE, "PUT node_definitions", "POST image_definitions"] {
        controller.trouble(step, 1, Trouble::Status(500, "The database is on fire."));
        let outcome = stage.repo.xtask(&["upload", "--version", "2.0"]).failure();
        controller.end_all_trouble();
        assert!(controller.state().snapshot() == before, "{step}: {outcome}");
    }
}
