//! The real FRR node, uploaded both ways to what stands in for CML. It is built first if necessary, which takes
//! minutes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::common::cml::Stage;
use crate::common::cml::controller::Controller;
use crate::common::cml::host::Host;
use crate::common::engine::{Engine, PrivateEngine};
use crate::common::{image_id_of_archive, once_in_a_run, real_root};

/// The output of `save --json` for the FRR node. Building it may take longer than the tests' usual limit.
fn frr() -> &'static serde_json::Value {
    static SAVED: OnceLock<serde_json::Value> = OnceLock::new();
    let save = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let output = command
            .arg("--root")
            .arg(real_root())
            .args(["save", "frr", "--json"])
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    SAVED.get_or_init(|| serde_json::from_str(&once_in_a_run("saved-frr", save)).expect("JSON"))
}

fn path(key: &str) -> PathBuf {
    PathBuf::from(frr()[key].as_str().unwrap())
}

/// Runs the program on the real repository, with the settings of a stage.
fn upload(stage: &Stage, args: &[&str]) -> serde_json::Value {
    stage.repo.xtask_at(real_root(), args).success().json()
}

/// Asserts that an empty engine loads the archive and gives the image the ID of the definition.
fn is_loaded_with_the_right_id(archive: &Path, image_definition: &str) {
    let engine = PrivateEngine::start();
    let loaded = Engine::at(&engine.socket());
    loaded.load(archive);
    let id = image_id_of_archive(archive);
    assert!(image_definition.contains(&id));
    if loaded.names_images_by_configuration() {
        assert_eq!(loaded.id(frr()["image"].as_str().unwrap()), format!("sha256:{id}"));
    }
}

#[test]
fn frr_is_uploaded_by_the_api() {
    let id = frr()["id"].as_str().unwrap();
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let report = upload(&stage, &["upload", "frr", "--json"]);
    assert_eq!(report[0]["nodes"][0]["state"], "installed", "{report}");
    let (_, file) = controller.state().images[id].clone();
    assert!(file == std::fs::read(path("archive")).unwrap());
    assert_eq!(controller.state().image_definitions[id]["sha256"], frr()["image_id"]);
    let fetched = stage.home.path().join("fetched.tar.gz");
    std::fs::write(&fetched, file).unwrap();
    is_loaded_with_the_right_id(&fetched, &std::fs::read_to_string(path("image_definition")).unwrap());
    controller.take_log();
    let report = upload(&stage, &["upload", "frr", "--json"]);
    assert_eq!(report[0]["nodes"][0]["state"], "same", "{report}");
}

#[test]
fn frr_is_uploaded_by_ssh() {
    let id = frr()["id"].as_str().unwrap();
    let host = Host::start();
    let stage = Stage::of_host(&host);
    let report = upload(&stage, &["upload", "frr", "--install", "--json"]);
    assert_eq!(report[0]["nodes"][0]["state"], "installed", "{report}");
    let held = host.held(id).unwrap();
    assert_eq!(held.node_definition, std::fs::read_to_string(path("node_definition")).unwrap());
    assert_eq!(held.archive_sum, frr()["sha256"].as_str().unwrap());
    let fetched = stage.home.path().join("fetched.tar.gz");
    host.fetch(&format!("/var/lib/libvirt/images/virl-base-images/{id}/{id}.tar.gz"), &fetched);
    is_loaded_with_the_right_id(&fetched, &held.image_definition);
    let report = upload(&stage, &["upload", "frr", "--install", "--json"]);
    assert_eq!((&report[0]["nodes"][0]["state"], host.restarts()), (&"same".into(), 1), "{report}");
}
