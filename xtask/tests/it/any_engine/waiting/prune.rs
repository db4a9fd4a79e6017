//! `cml prune`, against a controller that follows CML's rules.

use crate::common::cml::Stage;
use crate::common::cml::controller::{Controller, Trouble};

/// A server with the versions 1.0, 2.0 and 3.0 of a node whose manifest names 3.0.
fn stage(shared: bool) -> (Controller, Stage, String) {
    let controller = Controller::start();
    controller.state().version = if shared { "2.10.0" } else { "2.9.0" }.to_owned();
    let stage = Stage::of(&controller);
    let node = stage.repo.node().to_owned();
    if shared {
        stage.repo.edit_manifest("variants:\n", &format!("shared_node: {{id: {node}, label: Tiny}}\nvariants:\n"));
    }
    for version in ["1.0", "2.0", "3.0"] {
        stage.repo.xtask(&["upload", "--version", version]).success();
    }
    stage.repo.edit_manifest("version: \"1.0\"", "version: \"3.0\"");
    (controller, stage, node)
}

fn images(controller: &Controller) -> Vec<String> {
    controller.state().image_definitions.keys().cloned().collect()
}

#[test]
fn old_versions_that_no_lab_uses_are_removed_when_that_is_agreed_to() {
    for shared in [false, true] {
        let (controller, stage, node) = stage(shared);
        let [one, two, three] = ["1-0", "2-0", "3-0"].map(|version| format!("{node}-{version}"));
        controller.add_image("alpine-base", "alpine");
        if shared {
            controller.add_lab_with_image("of a colleague", &node, &two);
        } else {
            controller.add_lab("of a colleague", &two);
        }
        let all = images(&controller);
        let outcome = stage.repo.xtask(&["cml", "prune"]).failure().says(["nothing was changed; pass --yes"]);
        assert!(outcome.stderr.contains(&format!("  {one}  ")), "{outcome}");
        let outcome = stage.repo.xtask(&["cml", "prune", "--dry-run"]).success();
        assert!(outcome.stdout.contains(&format!("{one}  would be removed")), "{outcome}");
        assert!(outcome.stdout.contains(&format!("{two}  stays")), "{outcome}");
        assert!(outcome.stdout.contains("in use: `r1` in the lab `of a colleague`"), "{outcome}");
        assert!(outcome.stdout.contains("the repository names this version"), "{outcome}");
        assert_eq!(images(&controller), all);

        let report = stage.repo.xtask(&["cml", "prune", "--yes", "--json"]).success().json();
        let states: Vec<_> =
            report[0]["nodes"].as_array().unwrap().iter().map(|node| node["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["removed", "kept", "kept"]);
        assert_eq!(images(&controller), ["alpine-base", &two, &three]);
        let nodes: Vec<String> = controller.state().node_definitions.keys().cloned().collect();
        assert_eq!(nodes, if shared { vec![node.clone()] } else { vec![two, three] });
        stage.repo.xtask(&["cml", "prune", "--yes"]).success().says(["no old version there that no lab uses"]);
    }
}

#[test]
fn on_a_terminal_it_asks() {
    let (controller, stage, _) = stage(true);
    let program = env!("CARGO_BIN_EXE_xtask");
    let words = format!("{program} --root {} cml prune", stage.repo.folder.path().display());
    let refused = stage.repo.in_dialogue(&words, &[("[y/N]", "n\n")]);
    assert!(refused.code == Some(1) && images(&controller).len() == 3, "{refused}");
    let agreed = stage.repo.in_dialogue(&words, &[("[y/N]", "y\n")]);
    assert!(agreed.stdout.contains("Remove 2 versions ("), "{agreed}");
    assert!(agreed.code == Some(0) && images(&controller).len() == 1, "{agreed}");
}

#[test]
fn what_is_not_certain_stays() {
    let (controller, stage, node) = stage(true);
    let prune = || stage.repo.xtask(&["cml", "prune", "--yes"]);
    controller.state().admin = Some(false);
    prune().failure().says(["only an administrator sees the labs of all users"]);
    controller.state().admin = Some(true);
    // A lab that cannot be read.
    controller.add_lab("secret", "alpine");
    controller.trouble("GET labs/", 1, Trouble::Status(403, "Not yours."));
    prune().failure().says(["it is not known what all labs use"]);
    assert_eq!(images(&controller).len(), 3);
    // Which image CML chooses for this node is not known.
    controller.add_lab("automatic", &node);
    let outcome = prune().success();
    assert!(outcome.stdout.contains("in the lab `automatic`") && images(&controller).len() == 3, "{outcome}");
    controller.state().labs.all.clear();
    // Somebody has changed what was installed.
    let one = format!("{node}-1-0");
    controller.state().image_definitions.get_mut(&one).unwrap()["description"] = "mine".into();
    let outcome = prune().success();
    assert!(outcome.stdout.contains("it has changed since this machine installed it"), "{outcome}");
    assert_eq!(images(&controller), [one, format!("{node}-3-0")]);
}

#[test]
fn the_newest_version_stays_although_the_manifest_names_another() {
    let (controller, stage, node) = stage(false);
    stage.repo.edit_manifest("version: \"3.0\"", "version: \"1.0\"");
    let outcome = stage.repo.xtask(&["cml", "prune", "--yes"]).success();
    assert!(outcome.stdout.contains("the newest version that this machine installed there"), "{outcome}");
    assert_eq!(images(&controller), [format!("{node}-1-0"), format!("{node}-3-0")]);
}

#[test]
fn what_other_machines_have_installed_stays() {
    let (controller, mut stage, _) = stage(false);
    let elsewhere = stage.home.path().join("elsewhere");
    stage.repo.set("XDG_STATE_HOME", elsewhere);
    stage.repo.xtask(&["cml", "prune", "--yes"]).success().says(["this machine has installed no old version there"]);
    assert_eq!(images(&controller).len(), 3);
}

#[test]
fn it_needs_the_api() {
    let stage = Stage::of_ssh("exit 1");
    stage.repo.xtask(&["cml", "prune", "--yes"]).failure().says(["prune needs CML's API", "--via api"]);
}
