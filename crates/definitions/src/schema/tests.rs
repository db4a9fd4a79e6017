//! What is accepted and what is not: cases that were tried with CML's published schema and pydantic 2.

use std::fmt::Write;

use super::*;
use crate::finding::Finding;
use crate::yaml;

/// Every key there is, once.
pub(crate) const NODE: &str = "
id: full
schema_version: 0.0.1
boot: {timeout: 60, completed: [READY], uses_regex: false}
sim:
  linux_native: {libvirt_domain_driver: kvm, driver: server, disk_driver: virtio, efi_boot: true,
    efi_code: code.fd, efi_vars: stateless, machine_type: q35, ram: 512, cpus: 2, cpu_limit: 50, cpu_model: 'host,+vmx',
    nic_driver: virtio, data_volume: 0, boot_disk_size: 16,
    video: {memory: 16, model: vga}, enable_rng: true, enable_tpm: false}
  parameters: {vendor: Tiny, other: null}
  usage_estimations: {cpus: 40, ram: 50, disk: 500}
general: {nature: router, description: text, read_only: false}
configuration:
  generator: {driver: null}
  provisioning: {volume_name: cfg, media_type: iso, files: [{name: a.cfg, editable: true, content: text}]}
device: {interfaces: {serial_ports: 1, default_console: 0, physical: [eth0], has_loopback_zero: true, loopback: [lo0],
  management: [mgmt0], min_count: 1, default_count: 1, iol_static_ethernets: 0}}
ui: {label_prefix: full-, icon: router, label: Full, visible: true, group: Others, description: text}
inherited:
  image: {ram: true, cpus: true, data_volume: true, boot_disk_size: true, cpu_limit: true}
  node: {ram: true, cpus: true, data_volume: true, boot_disk_size: true}
pyats: {os: ios, series: x, model: y, use_in_testbed: true, config_extract_command: show run,
  username: a, password: b, enable_password: c}
image_definitions: [full-1]
";

pub(crate) const IMAGE: &str = "
id: full-1
node_definition_id: full
label: Full
disk_image: a.qcow2
disk_image_2: b.qcow2
disk_image_3: c.qcow2
disk_image_4: d.qcow2
docker_tag: 'full:1'
sha256: 58ce6f1271ae1c8a2006ff7d3e54e9874d839f573d8009c20154ad0f2fb0a225
schema_version: 0.0.1
description: text
read_only: false
efi_boot: false
configuration: text
pyats: {username: a, password: b, enable_password: c}
ram: 1
cpus: 1
cpu_limit: 20
data_volume: 0
boot_disk_size: 0
";

/// The document in flow style, with what stands at `path` replaced (or left out, if `value` is empty). A key
/// that is not there is added.
pub(crate) fn with(text: &str, path: &str, value: &str) -> String {
    let root = yaml::read(text.as_bytes()).unwrap().root;
    let mut out = String::new();
    write_node(&mut out, &root, &path.split('.').collect::<Vec<_>>(), value);
    out
}

fn write_node(out: &mut String, node: &yaml::Node, path: &[&str], value: &str) {
    let [step, rest @ ..] = path else {
        out.push_str(value);
        return;
    };
    match &node.value {
        yaml::Value::Map(map) => {
            out.push('{');
            let mut there = false;
            for entry in map.entries() {
                let (key, is_it) = (entry.key.text().unwrap(), entry.key.text() == Some(step));
                there |= is_it;
                if is_it && rest.is_empty() && value.is_empty() {
                    continue;
                }
                let _ = write!(out, "{key}: ");
                write_node(out, &entry.value, if is_it { rest } else { &["-"] }, value);
                out.push_str(", ");
            }
            if !there && *step != "-" {
                let _ = write!(out, "{step}: {value}");
            }
            out.push('}');
        }
        yaml::Value::List(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                write_node(out, item, if *step == index.to_string() { rest } else { &["-"] }, value);
                out.push_str(", ");
            }
            out.push(']');
        }
        yaml::Value::Null => out.push_str("null"),
        yaml::Value::Text(text) => {
            let _ = write!(out, "{:?}", text.text);
        }
        yaml::Value::Bool(value) => out.push_str(&value.to_string()),
        yaml::Value::Int(value) => out.push_str(&value.to_string()),
        other => panic!("{other:?}"),
    }
}

fn findings(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let document = yaml::read(text.as_bytes()).unwrap_or_else(|problem| panic!("{problem:?}\n{text}"));
    read(&document.root, &mut findings);
    findings
}

#[track_caller]
fn accepts(whole: &str, path: &str, values: &[&str]) {
    for value in values {
        let found = findings(&with(whole, path, value));
        assert!(found.is_empty(), "{path}: {value} should be accepted: {found:?}");
    }
}

/// Each value is refused, by one finding at that path.
#[track_caller]
fn refuses(whole: &str, path: &str, values: &[&str]) {
    for value in values {
        let found = findings(&with(whole, path, value));
        let paths: Vec<String> =
            found.iter().map(|finding| finding.path.replace(['[', ']'], ".").replace("..", ".")).collect();
        assert!(!found.is_empty(), "{path}: {value} should be refused");
        assert!(paths.iter().all(|found| found.trim_end_matches('.').starts_with(path)), "{path}: {value}: {found:?}");
    }
}

#[test]
fn whole_definitions_are_accepted() {
    for text in [NODE, IMAGE] {
        let found = findings(text);
        assert!(found.is_empty(), "{found:?}");
    }
}

/// Keys of a node definition that CML requires.
const REQUIRED: &[&str] = &[
    "id",
    "boot",
    "boot.timeout",
    "sim",
    "sim.linux_native",
    "sim.linux_native.libvirt_domain_driver",
    "sim.linux_native.driver",
    "sim.linux_native.ram",
    "sim.linux_native.cpus",
    "sim.linux_native.nic_driver",
    "sim.linux_native.disk_driver",
    "sim.linux_native.video.memory",
    "general",
    "general.nature",
    "configuration",
    "configuration.generator",
    "configuration.generator.driver",
    "configuration.provisioning.volume_name",
    "configuration.provisioning.media_type",
    "configuration.provisioning.files",
    "configuration.provisioning.files.0.name",
    "configuration.provisioning.files.0.editable",
    "device",
    "device.interfaces",
    "device.interfaces.serial_ports",
    "device.interfaces.physical",
    "device.interfaces.has_loopback_zero",
    "device.interfaces.loopback",
    "ui",
    "ui.label",
    "ui.label_prefix",
    "ui.icon",
    "ui.visible",
    "inherited.image",
    "inherited.node",
    "inherited.image.ram",
    "inherited.node.cpus",
    "inherited.node.data_volume",
    "inherited.image.boot_disk_size",
    "pyats.os",
];

/// Keys that may be absent.
const OPTIONAL: &[&str] = &[
    "schema_version",
    "boot.completed",
    "boot.uses_regex",
    "sim.parameters",
    "sim.usage_estimations",
    "sim.linux_native.cpu_limit",
    "sim.linux_native.video",
    "sim.linux_native.video.model",
    "general.description",
    "general.read_only",
    "configuration.provisioning",
    "configuration.provisioning.files.0.content",
    "device.interfaces.default_console",
    "device.interfaces.min_count",
    "device.interfaces.default_count",
    "device.interfaces.management",
    "ui.group",
    "ui.description",
    "inherited",
    "inherited.image.cpu_limit",
    "pyats",
    "pyats.username",
    "image_definitions",
];

#[test]
fn required_keys_are_required_and_others_are_not() {
    for path in REQUIRED {
        refuses(NODE, path, &[""]);
    }
    for path in OPTIONAL {
        accepts(NODE, path, &[""]);
    }
    for path in ["id", "label"] {
        refuses(IMAGE, path, &[""]);
    }
    for path in ["disk_image", "docker_tag", "sha256", "pyats", "ram", "description"] {
        accepts(IMAGE, path, &[""]);
    }
    refuses(&with(IMAGE, "docker_tag", ""), "disk_image", &["", "null"]);
    refuses(&with(IMAGE, "docker_tag", "''"), "disk_image", &["", "null"]);
}

#[test]
fn unknown_keys_are_refused_at_every_level() {
    for path in [
        "new",
        "boot.new",
        "sim.new",
        "sim.linux_native.new",
        "sim.linux_native.video.new",
        "sim.usage_estimations.new",
        "general.new",
        "configuration.new",
        "configuration.generator.new",
        "configuration.provisioning.new",
        "configuration.provisioning.files.0.new",
        "device.new",
        "device.interfaces.new",
        "ui.new",
        "inherited.new",
        "inherited.image.new",
        "inherited.node.new",
        "pyats.new",
    ] {
        refuses(NODE, path, &["1", "null"]);
    }
    refuses(IMAGE, "new", &["1"]);
    refuses(IMAGE, "pyats.new", &["1"]);
    accepts(NODE, "sim.parameters.new", &["text", "null"]);
    refuses(NODE, "sim.parameters", &["{a: 1}", "{1: a}", "{\"a\\nb\": c}", "[]", "null"]);
}

#[test]
fn whole_numbers_are_read_as_pydantic_reads_them() {
    accepts(
        NODE,
        "boot.timeout",
        &[
            "0", "86400", "-1", "1.0", "true", "off", "\"5\"", "\" 5 \"", "\"+5\"", "\"5.00\"", "\"1_000\"", "\"007\"",
            "\"0-4\"", "010", "0x10", "1:30", "-99999999999999999999", "!!binary NQ==", "08", "\"\\u30005\"",
        ],
    );
    refuses(
        NODE,
        "boot.timeout",
        &[
            "86401", "1.5", ".inf", ".nan", "-1.0e+300", "null", "''", "\"5.\"", "\".5\"", "\"5e0\"", "\"0x10\"",
            "\"1__0\"", "\"_1\"", "\"1_\"", "\"+-5\"", "\"--5\"", "\"٤\"", "\"true\"", "2001-12-14", "[]", "{}",
            "99999999999999999999", "!!binary /w==",
        ],
    );
    for (path, least, most) in [
        ("sim.linux_native.ram", 1, 1_048_576),
        ("sim.linux_native.cpus", 1, 128),
        ("sim.linux_native.cpu_limit", 20, 100),
        ("sim.linux_native.data_volume", 0, 4096),
        ("sim.linux_native.boot_disk_size", 0, 4096),
        ("sim.linux_native.video.memory", 1, 128),
        ("sim.usage_estimations.cpus", 1, 12_800),
        ("sim.usage_estimations.ram", 1, 1_048_576),
        ("sim.usage_estimations.disk", 1, 4_194_304),
        ("device.interfaces.serial_ports", 0, 4),
        ("device.interfaces.default_console", 0, 4),
        ("device.interfaces.min_count", 0, 64),
        ("device.interfaces.default_count", 1, 64),
    ] {
        accepts(NODE, path, &[&least.to_string(), &most.to_string()]);
        refuses(NODE, path, &[&(least - 1).to_string(), &(most + 1).to_string(), "null"]);
    }
    for (path, least, most) in [
        ("ram", 1, 1_048_576),
        ("cpus", 1, 128),
        ("cpu_limit", 20, 100),
        ("data_volume", 0, 4096),
        ("boot_disk_size", 0, 4096),
    ] {
        accepts(IMAGE, path, &[&least.to_string(), &most.to_string(), "null"]);
        refuses(IMAGE, path, &[&(least - 1).to_string(), &(most + 1).to_string()]);
    }
    accepts(NODE, "device.interfaces.iol_static_ethernets", &["0", "4", "8", "12", "16", "4.0", "false", "010"]);
    refuses(NODE, "device.interfaces.iol_static_ethernets", &["1", "20", "\"4\"", "-0.0", "true", "null"]);
}

#[test]
fn booleans_are_read_as_pydantic_reads_them() {
    accepts(
        NODE,
        "ui.visible",
        &["true", "no", "On", "0", "1", "1.0", "-0.0", "y", "t", "\"TRUE\"", "\"oFF\"", "\"1\"", "F", "!!binary MQ=="],
    );
    refuses(
        NODE,
        "ui.visible",
        &["2", "-1", "0.5", "null", "''", "\" true\"", "\"01\"", "\"1.0\"", "ja", "[]", ".nan"],
    );
}

#[test]
fn texts_are_texts() {
    accepts(NODE, "ui.label", &["x", "0o7", "1e3", "y", "!!str 5", "!!binary aGk=", "\"a\\u2028b\"", "\"a\\0b\""]);
    refuses(
        NODE,
        "ui.label",
        &["5", "yes", "null", "1.0", "2001-12-14", "''", "\"a\\nb\"", "\"a\\rb\"", "!!binary /w==", "[a]"],
    );
    accepts(NODE, "general.description", &["''", "\"a\\nb\""]);
    let long = |length: usize| format!("\"{}\"", "é".repeat(length));
    for (whole, path, most) in [
        (NODE, "id", 250),
        (NODE, "schema_version", 32),
        (NODE, "boot.completed.0", 128),
        (NODE, "sim.linux_native.machine_type", 32),
        (NODE, "sim.linux_native.efi_code", 255),
        (NODE, "general.description", 4096),
        (NODE, "configuration.provisioning.volume_name", 32),
        (NODE, "configuration.provisioning.files.0.name", 64),
        (NODE, "device.interfaces.physical.0", 32),
        (NODE, "device.interfaces.loopback.0", 32),
        (NODE, "device.interfaces.management.0", 32),
        (NODE, "ui.label", 32),
        (NODE, "ui.label_prefix", 32),
        (NODE, "ui.description", 4096),
        (NODE, "pyats.os", 32),
        (NODE, "pyats.series", 32),
        (NODE, "pyats.model", 32),
        (NODE, "pyats.config_extract_command", 4096),
        (NODE, "pyats.username", 64),
        (NODE, "pyats.password", 128),
        (NODE, "pyats.enable_password", 128),
        (NODE, "image_definitions.0", 250),
        (IMAGE, "id", 250),
        (IMAGE, "node_definition_id", 250),
        (IMAGE, "label", 64),
        (IMAGE, "disk_image", 255),
        (IMAGE, "disk_image_4", 255),
        (IMAGE, "schema_version", 32),
        (IMAGE, "description", 4096),
        (IMAGE, "pyats.username", 64),
    ] {
        accepts(whole, path, &[&long(most)]);
        refuses(whole, path, &[&long(most + 1)]);
    }
}

#[test]
fn null_is_accepted_where_the_schema_says_so() {
    for path in [
        "pyats.username",
        "pyats.password",
        "pyats.enable_password",
        "pyats.series",
        "pyats.model",
        "pyats.config_extract_command",
        "configuration.generator.driver",
        "configuration.provisioning.files.0.content",
    ] {
        accepts(NODE, path, &["null"]);
    }
    for path in [
        "pyats",
        "pyats.os",
        "pyats.use_in_testbed",
        "inherited",
        "schema_version",
        "image_definitions",
        "ui.group",
        "general.description",
        "boot.completed",
        "sim.linux_native.video",
        "sim.linux_native.disk_driver",
        "device.interfaces.loopback",
    ] {
        refuses(NODE, path, &["null"]);
    }
    for path in ["disk_image", "disk_image_2", "docker_tag", "sha256", "configuration", "pyats"] {
        accepts(IMAGE, path, &["null"]);
    }
    for path in ["id", "label", "schema_version", "description", "read_only", "efi_boot"] {
        refuses(IMAGE, path, &["null"]);
    }
}

#[test]
fn words_are_exact() {
    for (path, words) in [
        ("sim.linux_native.driver", &["asav", "wan_emulator", "iosxrv9000"][..]),
        ("sim.linux_native.disk_driver", &["ide", "sata", "virtio"]),
        ("sim.linux_native.nic_driver", &["virtio", "e1000-82544gc", "i82801"]),
        ("sim.linux_native.video.model", &["vga", "none"]),
        ("general.nature", &["router", "external_connector"]),
        ("configuration.generator.driver", &["xrd", "wireless_client"]),
        ("configuration.provisioning.media_type", &["iso", "fat", "raw", "ext4"]),
        ("ui.group", &["Cisco", "Others"]),
        ("ui.icon", &["router", "wlc", "access_point"]),
    ] {
        accepts(NODE, path, words);
        for word in words {
            refuses(NODE, path, &[&format!("{word}x"), &format!("\" {word}\""), &word.to_uppercase(), "1", "''"]);
        }
    }
    accepts(NODE, "general.nature", &["!!binary cm91dGVy"]);
    refuses(NODE, "ui.group", &["!!binary Q2lzY28="]);
    let near = &findings(&with(NODE, "sim.linux_native.nic_driver", "virtoi"))[0];
    assert_eq!(near.help.as_deref(), Some("did you mean `virtio`?"));
}

#[test]
fn names_have_their_form() {
    accepts(NODE, "id", &["a", "a b", "a`b", "a.b", "'a\"b'", "\"a\\vb\"", "é"]);
    refuses(
        NODE,
        "id",
        &[
            ".a", "a/b", "'a\\b'", "'a!'", "a@b", "'a#b'", "a%b", "a^b", "a&b", "'a*b'", "a(b", "a)b", "a;b", "a$b",
            "\"a\\tb\"", "\"a\\nb\"",
        ],
    );
    accepts(NODE, "sim.linux_native.cpu_model", &["host", "'Westmere,+vmx,-x.y_z'", "٣"]);
    refuses(NODE, "sim.linux_native.cpu_model", &["'a,b'", "'a,+'", "'a,+A'", "''", "'a_b'", "',+a'"]);
    let hex = |c: &str, count: usize| format!("\"{}\"", c.repeat(count));
    accepts(IMAGE, "sha256", &[&hex("a", 64), &hex("F", 64), &hex("٣", 64)]);
    refuses(IMAGE, "sha256", &[&hex("a", 63), &hex("a", 65), &hex("g", 64), "''"]);
    accepts(NODE, "ui.icon", &["'data:image/png;base64,AAAA'", "'data:image/svg+xml;base64,AA+/AA=='"]);
    refuses(
        NODE,
        "ui.icon",
        &[
            "'data:image/png;base64,'",
            "'data:image/gif;base64,AAAA'",
            "'data:image/png;base64,AAA'",
            "'data:image/png;base64,A==='",
            "'data:image/png;base64,AA=A'",
            "'data:image/png;base64,AA-_'",
        ],
    );
}

#[test]
fn lists_have_at_least_one_element_where_the_schema_says_so() {
    for path in [
        "boot.completed",
        "configuration.provisioning.files",
        "device.interfaces.physical",
        "device.interfaces.loopback",
        "device.interfaces.management",
    ] {
        refuses(NODE, path, &["[]", "{}", "x", "null"]);
    }
    accepts(NODE, "device.interfaces.physical", &["[a, a]", "!!set {a, b}"]);
    accepts(NODE, "image_definitions", &["[]"]);
}

#[test]
fn each_domain_driver_has_its_needs() {
    let native = |driver: &str, rest: &str| format!("{{libvirt_domain_driver: {driver}, driver: server{rest}}}");
    let with_ports = |ports: &str| with(NODE, "device.interfaces.serial_ports", ports);
    let path = "sim.linux_native";
    for driver in ["docker", "iol"] {
        accepts(&with_ports("2"), path, &[&native(driver, ", ram: 1")]);
        refuses(&with_ports("2"), path, &[&native(driver, "")]);
        refuses(
            &with(&with_ports("3"), path, &native(driver, ", ram: 1")),
            "device.interfaces.serial_ports",
            &["3", "4"],
        );
    }
    for driver in ["none", "ums"] {
        accepts(&with_ports("0"), path, &[&native(driver, "")]);
        refuses(&with(NODE, path, &native(driver, "")), "device.interfaces.serial_ports", &["1"]);
    }
    accepts(NODE, "device.interfaces.serial_ports", &["4"]);
    accepts(&with(NODE, "device.interfaces.loopback", ""), "device.interfaces.has_loopback_zero", &["false"]);
}

#[test]
fn everything_is_reported_at_once_with_its_place_and_path() {
    let text = "id: a/b\nboot:\n  timeuot: 60\nui:\n  label: 5\n";
    let found: Vec<String> =
        findings(text).iter().map(|finding| format!("{} {} {}", finding.at, finding.path, finding.rule.id)).collect();
    for wanted in [
        "1:5 id schema-pattern",
        "3:3 boot.timeuot schema-unknown-key",
        "3:3 boot.timeout schema-required",
        "5:10 ui.label schema-type",
        "1:1 sim schema-required",
    ] {
        assert!(found.iter().any(|found| found == wanted), "{wanted}: {found:?}");
    }
}

#[test]
fn thousands_of_faults_are_not_all_told() {
    let mut text = String::from("boot:\n");
    for n in 0..20_000 {
        let _ = writeln!(text, "  key{n}: 1");
    }
    assert_eq!(findings(&text).len(), 1000);
}
