//! Every rule's page is true: the failing example raises that rule and no other, the mended one raises none.

use super::*;
use crate::finding::Example;

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

/// Puts a part into a whole: mappings are joined, everything else is replaced. As in a file, so that there are lines to point at. A part may
/// replace one of two keys by the other.
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

fn subject(text: &str, archive: Option<Archive>) -> Subject {
    let folder = ["tiny.yaml", "tiny.tar.gz", "damaged.tar.gz"].map(str::to_owned).into();
    let start = ImageFile { path: "rootfs/start".to_owned(), content: b"#!/bin/sh\necho READY\n".to_vec() };
    let around = Surroundings { folder: Some(folder), archive, image_files: Some(vec![start]) };
    Subject { document: Document::read(text.as_bytes()), around }
}

/// The ids of the rules that an example raises.
fn raised(example: &Example) -> Vec<&'static str> {
    let node = |text: &str| subject(text, None);
    let subjects = match example {
        Example::Node(part) => vec![node(&joined(NODE, part)), node(NODE)],
        Example::File(text) => vec![node(text), node(NODE)],
        Example::Image(part) => {
            let text = joined(IMAGE, part);
            let archive = if part.contains("damaged") {
                Archive::Unreadable("it breaks off".to_owned())
            } else {
                Archive::Image { image_id: IMAGE_ID.to_owned(), tags: vec!["tiny:1.0".to_owned()] }
            };
            vec![subject(&text, Some(archive)), node(NODE)]
        }
    };
    let mut ids: Vec<_> = judge(&subjects, &[]).remove(0).iter().map(|finding| finding.rule.id).collect();
    ids.dedup();
    ids
}

#[test]
fn the_definitions_that_examples_are_put_into_are_right() {
    assert_eq!(raised(&Example::Node("id: tiny")), [""; 0]);
    assert_eq!(raised(&Example::Image("id: tiny")), [""; 0]);
}

#[test]
fn failing_examples_raise_their_rule_and_mended_ones_raise_none() {
    for rule in rules() {
        assert_eq!(raised(&rule.failing), [rule.id], "the failing example of {}", rule.id);
        assert_eq!(raised(&rule.mended), [""; 0], "the mended example of {}", rule.id);
    }
}

#[test]
fn ids_of_rules_are_unique_and_tell_whose_refusal_it_is() {
    let mut ids: Vec<_> = rules().map(|rule| rule.id).collect();
    ids.sort_unstable();
    assert!(ids.windows(2).all(|two| two[0] != two[1]), "{ids:?}");
    let of_schema = |rule: &&Rule| schema::rules::ALL.iter().any(|other| other.id == rule.id);
    assert!(rules().all(|rule| rule.id.starts_with("schema") == of_schema(&rule)));
}

#[test]
fn the_page_is_made_from_the_rules() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lint.md");
    if std::env::var_os("LINT_PAGE").is_some_and(|value| value == "write") {
        std::fs::write(&path, page::page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written == page::page(), "docs/lint.md is old: LINT_PAGE=write cargo test --lib definitions::lint");
}

#[test]
fn an_unknown_rule_is_told_with_the_near_match() {
    assert_eq!(rule("label-cut").unwrap().id, "label-cut");
    assert!(rule("lable-cut").unwrap_err().contains("did you mean `label-cut`?"));
}
