//! Spellings that CML accepts: a definition that `lint` accepts is rendered, booted, proved and uploaded with the same
//! meaning, and is the same as what the controller makes of it.

use serde_json::{Value, json};

use crate::common::Repo;
use crate::common::cml::Stage;
use crate::common::cml::controller::Controller;
use crate::common::node::node_that;

/// Path, spelling, and the value that PyYAML and pydantic read, as JSON.
const TABLE: &str = include_str!("../../../../crates/definitions/testdata/lax-spellings.tsv");

/// How many definitions the spellings are spread over.
const ROUNDS: usize = 8;

/// JSON, and so YAML, with `@PATH@` for each value of the table.
const DEFINITION: &str = r#"{"id": "{{ id }}",
 "boot": {"timeout": @boot.timeout@, "completed": [@boot.completed.0@], "uses_regex": @boot.uses_regex@},
 "sim": {
  "linux_native": {"libvirt_domain_driver": @sim.linux_native.libvirt_domain_driver@, "driver": "server",
   "ram": @sim.linux_native.ram@, "cpus": @sim.linux_native.cpus@, "cpu_limit": @sim.linux_native.cpu_limit@,
   "data_volume": @sim.linux_native.data_volume@, "enable_rng": @sim.linux_native.enable_rng@},
  "usage_estimations": {"cpus": @sim.usage_estimations.cpus@}},
 "general": {"nature": @general.nature@, "read_only": @general.read_only@, "description": @general.description@},
 "configuration": {"generator": {"driver": null}, "provisioning": {
  "volume_name": @configuration.provisioning.volume_name@, "media_type": "raw", "files": [
   {"name": "hello", "editable": @configuration.provisioning.files.0.editable@,
    "content": @configuration.provisioning.files.0.content@},
   {"name": "config.json", "editable": @configuration.provisioning.files.1.editable@, "content":
    "{\"docker\": {\"image\": \"{{ image }}\", \"mounts\": [\"type=bind,source=cfg/hello,target=/greeting\"]}}"}]}},
 "device": {"interfaces": {"serial_ports": @device.interfaces.serial_ports@, "physical": ["eth0", "eth1"],
  "has_loopback_zero": @device.interfaces.has_loopback_zero@, "default_count": @device.interfaces.default_count@,
  "min_count": @device.interfaces.min_count@, "iol_static_ethernets": @device.interfaces.iol_static_ethernets@}},
 "ui": {"label": @ui.label@, "label_prefix": "tiny-", "icon": "server", "visible": @ui.visible@},
 "inherited": {"image": {"ram": true, "cpus": true, "data_volume": true, "boot_disk_size": true},
  "node": {"ram": @inherited.node.ram@, "cpus": true, "data_volume": true, "boot_disk_size": true}},
 "pyats": {"os": "linux", "use_in_testbed": @pyats.use_in_testbed@}}
"#;

/// The template with the spellings of a round, and the definition that a controller reads in it.
fn definition(round: usize, may_use: impl Fn(&str, &str) -> bool) -> (String, String) {
    let rows: Vec<Vec<&str>> = TABLE.lines().skip(1).map(|line| line.split('\t').collect()).collect();
    let (mut template, mut normal) = (DEFINITION.to_owned(), DEFINITION.to_owned());
    for path in rows.iter().map(|row| row[0]) {
        let of_path: Vec<_> = rows.iter().filter(|row| row[0] == path && may_use(path, row[2])).collect();
        let row = of_path[round * of_path.len().div_ceil(ROUNDS) % of_path.len()];
        template = template.replace(&format!("@{path}@"), row[1]);
        normal = normal.replace(&format!("@{path}@"), row[2]);
    }
    assert!(!template.contains('@'), "{template}");
    (template, normal)
}

fn expected(normal: &str, repo: &Repo) -> Value {
    let text = normal.replace("{{ id }}", &repo.id()).replace("{{ image }}", &repo.image());
    let mut definition: Value = serde_json::from_str(&text).expect("JSON");
    // A controller adds its own.
    definition["image_definitions"] = json!([]);
    definition
}

#[test]
fn what_a_controller_makes_of_a_spelling_is_the_same() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let file = format!("dist/node-definitions/{}.yaml", stage.repo.id());
    for round in 0..ROUNDS {
        let (template, normal) = definition(round, |_, _| true);
        stage.repo.write("node-definitions/tiny.yaml", &template);
        controller.state().reads_node_definitions_as = Some(expected(&normal, &stage.repo));
        stage.repo.xtask(&["upload"]).success();
        stage.repo.xtask(&["lint", stage.repo.path(&file).to_str().unwrap()]).success();
        let again = stage.repo.xtask(&["upload", "--json"]).success();
        assert_eq!(again.json()[0]["nodes"][0]["state"], "same", "{again}\n{template}");
        let status = stage.repo.xtask(&["cml", "status", "--json"]).success();
        assert_eq!(status.json()[0]["nodes"][0]["state"], "same", "{status}");
    }
    // Another value is not.
    controller.state().node_definitions.get_mut(&stage.repo.id()).unwrap()["boot"]["timeout"] = 61.into();
    let status = stage.repo.xtask(&["cml", "status"]).success();
    assert!(status.stdout.contains("  differs\n    node definition: boot.timeout\n"), "{status}");
}

#[test]
fn a_node_boots_and_is_proved_whatever_its_spelling() {
    let repo = node_that("trap 'exit 0' TERM; echo READY 60 yes; while :; do sleep 0.1; done");
    // These seconds are enough to boot.
    let boots = |path: &str, value: &str| path != "boot.timeout" || ["60", "90"].contains(&value);
    for round in [0, 3] {
        repo.write("node-definitions/tiny.yaml", &definition(round, boots).0);
        repo.xtask(&["lint"]).success();
        repo.xtask(&["save"]).success();
        let (node, archive) = (repo.node_definition(), repo.archive());
        let args = ["verify", "--json", "--definition", node.to_str().unwrap(), "--archive", archive.to_str().unwrap()];
        let outcome = repo.xtask(&args).success();
        assert_eq!(outcome.json()[0]["ok"], true, "{outcome}");
    }
    let name = repo.xtask(&["run"]).success().says(["is READY"]).stdout;
    repo.xtask(&["stop", name.trim()]).success();
}
