//! The documentation of the rules is true: each failing example violates that rule and no other, each fixed one none.

mod page;

use super::*;
use crate::config::config_json;
use crate::document::Document;
use crate::finding::{Example, Rule};
use crate::schema;

const NODE: &str = r#"id: tiny
boot: {timeout: 60, completed: [READY]}
sim: {linux_native: {libvirt_domain_driver: docker, driver: server, ram: 64}}
general: {nature: server, read_only: false}
configuration:
  generator: {driver: null}
  provisioning:
    volume_name: cfg
    media_type: raw
    files:
      - {name: config.json, editable: false, content: '{"docker": {"image": "tiny:1.0"}}'}
device: {interfaces: {serial_ports: 2, has_loopback_zero: false, physical: [eth0]}}
ui: {label: Tiny, label_prefix: tiny-, icon: server, visible: true}
"#;

const IMAGE: &str = r#"id: tiny
node_definition_id: tiny
label: Tiny
disk_image: tiny.tar.gz
sha256: "a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
"#;

const IMAGE_ID: &str = "a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4";

/// Puts a part into a whole: mappings are joined, everything else is replaced.
fn joined(whole: &str, part: &str) -> String {
    fn join(whole: &mut serde_yaml::Value, part: serde_yaml::Value) {
        match (whole, part) {
            (serde_yaml::Value::Mapping(whole), serde_yaml::Value::Mapping(part)) => {
                for (key, value) in part {
                    match whole.get_mut(&key) {
                        // A part of `ui` is the whole of it if it has more than one key.
                        Some(place) if key == "ui" && value["label_prefix"].is_string() => *place = value,
                        Some(place) => join(place, value),
                        None => drop(whole.insert(key, value)),
                    }
                }
            }
            (whole, part) => *whole = part,
        }
    }
    let mut value: serde_yaml::Value = serde_yaml::from_str(whole).unwrap();
    join(&mut value, serde_yaml::from_str(part).unwrap());
    serde_yaml::to_string(&value).unwrap()
}

/// Judges a definition beside the ordinary node definition.
fn judged(text: &str, archive: Option<Archive>) -> Vec<&'static str> {
    let documents = [text, NODE].map(|text| Document::read(text.as_bytes()));
    let mut archives = [archive, None].into_iter();
    let subjects = documents.each_ref().map(|document| {
        let folder = ["tiny.yaml", "tiny.tar.gz", "tiny.tgz", "damaged.tar.gz"].map(str::to_owned).into();
        let start = ImageFile { path: "rootfs/start".to_owned(), content: b"#!/bin/sh\necho READY\n".to_vec() };
        let archive = archives.next().flatten();
        Subject { document, around: Surroundings { folder: Some(folder), archive, image_files: Some(vec![start]) } }
    });
    // A part of the ordinary definition is judged alone: beside the whole of it, it would be a second one of its id.
    let is_tiny = documents[0].as_node().is_some_and(|node| node.id.as_ref().is_some_and(|id| id.value == "tiny"));
    let is_part = is_tiny && !text.contains("A second tiny");
    let subjects = if is_part { &subjects[..1] } else { &subjects };
    let mut ids: Vec<_> = judge(subjects, &[]).remove(0).iter().map(|finding| finding.rule.id).collect();
    ids.dedup();
    ids
}

/// The ids of the rules that an example violates.
fn raised(example: &Example) -> Vec<&'static str> {
    match example {
        Example::Node(part) => judged(&joined(NODE, part), None),
        Example::File(text) => judged(text, None),
        Example::Image(part) => {
            let archive = if part.contains("damaged") {
                Archive::Unreadable("it breaks off".to_owned())
            } else {
                let (tags, platform) = (vec!["tiny:1.0".to_owned()], Some("linux/amd64".to_owned()));
                Archive::Image { image_id: IMAGE_ID.to_owned(), tags, platform }
            };
            judged(&joined(IMAGE, part), Some(archive))
        }
    }
}

#[test]
fn the_definitions_around_the_examples_are_right() {
    assert_eq!(raised(&Example::Node("id: tiny")), [""; 0]);
    assert_eq!(raised(&Example::Image("id: tiny")), [""; 0]);
}

#[test]
fn failing_examples_violate_their_rule_and_fixed_ones_violate_none() {
    for rule in rules() {
        assert_eq!(raised(&rule.failing), [rule.id], "the failing example of {}", rule.id);
        assert_eq!(raised(&rule.fixed), [""; 0], "the fixed example of {}", rule.id);
    }
}

/// As in `run` and `verify`, which create the container.
#[test]
fn mounts_are_files_and_volumes() {
    let volume = config_json!(r#"{"docker": {"mounts": ["type=volume,source=data,target=/a"]}}"#);
    assert_eq!(raised(&Example::Node(volume)), [""; 0]);
    for other in [
        config_json!(r#"{"docker": {"mounts": ["type=tmpfs,target=/a"]}}"#),
        config_json!(r#"{"docker": {"mounts": ["source=cfg/config.json,target=/a"]}}"#),
        config_json!(r#"{"docker": {"mounts": ["type=volume,source=cfg/config.json,target=/a"]}}"#),
    ] {
        assert_eq!(raised(&Example::Node(other)), ["mount-source"], "{other}");
    }
}

/// As `docker create` refuses them.
#[test]
fn mounts_have_targets_and_sources() {
    let with = |mounts: &str| {
        let json = format!(r#"{{"docker": {{"image": "tiny:1.0", "mounts": [{mounts}]}}}}"#);
        let file = NODE.replace(r#"{"docker": {"image": "tiny:1.0"}}"#, &json);
        assert_ne!(file, NODE);
        judged(&file, None)
    };
    let mount = |target: &str| format!(r#""type=bind,source=cfg/config.json{target}""#);
    assert_eq!(with(&mount(",target=/a")), [""; 0]);
    assert_eq!(with(&[mount(",target=/a"), mount(",target=/b")].join(",")), [""; 0]);
    for wrong in ["", ",target=a", ",target=/", ",target=/./"] {
        assert_eq!(with(&mount(wrong)), ["mount-target"], "{wrong}");
    }
    assert_eq!(with(&[mount(",target=/a"), mount(",dst=//a/")].join(",")), ["mount-target"]);
    assert_eq!(with(r#""type=bind,target=/a""#), ["mount-source"]);
    let without_volume = NODE.replace("    volume_name: cfg\n", "").replace(
        r#"{"docker": {"image": "tiny:1.0"}}"#,
        r#"{"docker": {"image": "tiny:1.0", "mounts": ["type=tmpfs,target=/h"]}}"#,
    );
    assert!(judged(&without_volume, None).contains(&"mount-source"));
}

#[test]
fn what_no_engine_can_start_is_found_in_config_json() {
    for wrong in [
        config_json!(r#"{"docker": {"image": "tiny:1.0", "env": ["=x"]}}"#),
        config_json!(r#"{"docker": {"image": "tiny:1.0"}, "device_name_map": {"eth0": "lo"}}"#),
        config_json!(r#"{"docker": {"image": "tiny:1.0"}, "device_name_map": {"eth0": "a b"}}"#),
    ] {
        assert_eq!(raised(&Example::Node(wrong)), ["config-json"], "{wrong}");
    }
}

#[test]
fn values_with_which_no_container_boots_are_found() {
    for (part, rule) in [
        ("sim:\n  linux_native:\n    ram: true\n", "ram-minimum"),
        ("boot:\n  completed: [\"\"]\n", "boot-completed"),
        ("boot:\n  completed: [READY, \"\"]\n  uses_regex: true\n", "boot-completed"),
    ] {
        assert_eq!(raised(&Example::Node(part)), [rule], "{part}");
    }
}

/// Only what is broken is reported, not what follows from it.
#[test]
fn a_broken_config_json_is_one_error() {
    let broken = NODE.replace(r#"{"docker": {"image": "tiny:1.0"}}"#, r#"{"docker": {"image": "tiny:1.0",}}"#);
    let documents = [&broken, IMAGE].map(|text| Document::read(text.as_bytes()));
    let (tags, platform) = (vec!["tiny:1.0".to_owned()], Some("linux/amd64".to_owned()));
    let archive = Archive::Image { image_id: IMAGE_ID.to_owned(), tags, platform };
    let around = [Surroundings::default(), Surroundings { archive: Some(archive), ..Surroundings::default() }];
    let subjects: Vec<_> =
        documents.iter().zip(around).map(|(document, around)| Subject { document, around }).collect();
    let ids: Vec<_> = judge(&subjects, &[]).into_iter().flatten().map(|finding| finding.rule.id).collect();
    assert_eq!(ids, ["config-json"]);
}

#[test]
fn ids_of_rules_are_unique_and_distinguish_the_schema() {
    let mut ids: Vec<_> = rules().map(|rule| rule.id).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|two| two[0] != two[1]), "{ids:?}");
    let of_schema = |rule: &&Rule| schema::rules::ALL.iter().any(|other| other.id == rule.id);
    assert!(rules().all(|rule| rule.id.starts_with("schema") == of_schema(&rule)));
}

fn root() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The command that writes `docs/lint.md`.
const WRITE: &str = "LINT_PAGE=write cargo test --locked --package definitions --lib lint";

#[test]
fn the_page_is_generated_from_the_rules() {
    let path = root().join("docs/lint.md");
    if std::env::var_os("LINT_PAGE").is_some_and(|value| value == "write") {
        std::fs::write(&path, page::page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written == page::page(), "docs/lint.md is out of date; write it with: {WRITE}");
}

/// The documented command selects the test that writes the page: cargo lists it.
#[test]
fn the_documented_command_writes_the_page() {
    for documented in [std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap(), page::page()] {
        let text = documented.split_whitespace().collect::<Vec<_>>().join(" ");
        let command = text.find("LINT_PAGE=").and_then(|start| text[start..].split(['`']).next()).unwrap();
        assert_eq!(command.split(" -->").next().map(str::trim), Some(WRITE));
    }
    // What `cargo test --locked --package definitions --lib FILTER` runs is this program with FILTER.
    let filter = WRITE.strip_prefix("LINT_PAGE=write cargo test --locked --package definitions --lib ").unwrap();
    let listed =
        std::process::Command::new(std::env::current_exe().unwrap()).args([filter, "--list"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("lint::tests::the_page_is_generated_from_the_rules: test"), "{listed}");
}

#[test]
fn an_unknown_rule_is_reported_with_the_most_similar_id() {
    assert_eq!(rule("label-cut").unwrap().id, "label-cut");
    assert!(rule("lable-cut").unwrap_err().contains("did you mean `label-cut`?"));
}
