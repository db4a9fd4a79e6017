//! Node definitions of any kind.

use std::collections::{BTreeMap, BTreeSet};

use super::subject::{Peers, Surroundings};
use crate::boot::{BOOT_REGEX, refused_patterns};
use crate::finding::Example::Node;
use crate::finding::{Finding, MOST_FINDINGS, Rule};
use crate::id::why_reserved;
use crate::schema::{At, NodeDefinition};
use crate::yaml::{Mark, quoted};

pub(super) static ALL: &[&Rule] = &[
    &BOOT_COMPLETED, &BOOT_REGEX, &BOOT_TIMEOUT, &RAM_MINIMUM, &DEFAULT_COUNT, &INTERFACE_TWICE, &LABEL_CUT,
    &PASSWORD_CLEAR, &ID_CASE, &ID_TWICE, &ID_RESERVED,
];

/// The longest label of a node that Cisco has published, in characters.
const LONGEST_LABEL: usize = 26;

static BOOT_COMPLETED: Rule = Rule::warning(
    "boot-completed",
    "The image can print what CML waits for",
    "CML considers a node booted when one of `boot.completed` appears on the console; if none does, it waits for \
     `boot.timeout` seconds. For a node of this repository, each text is searched in the files of its folder; a text \
     that a program in the image prints by itself is not found there (silence the rule then). That is not checked if \
     the image is unknown or `uses_regex` is true. An empty text is part of whatever a console prints, so with one \
     the node counts as booted at once.",
    Node("boot:\n  completed: [\"REDAY\"]\n"),
    Node("boot:\n  completed: [\"READY\"]\n"),
);

static BOOT_TIMEOUT: Rule = Rule::warning(
    "boot-timeout",
    "A container has time to boot",
    "With a `boot.timeout` of 0 seconds, CML does not wait for any text of `boot.completed`. Checked for containers.",
    Node("boot:\n  timeout: 0\n"),
    Node("boot:\n  timeout: 60\n"),
);

/// The least memory that Docker gives a container, in MiB.
/// <https://docs.docker.com/engine/containers/resource_constraints/#limit-a-containers-access-to-memory>
const LEAST_RAM: i64 = 6;

static RAM_MINIMUM: Rule = Rule::warning(
    "ram-minimum",
    "A container's `ram` is enough to start it",
    "`sim.linux_native.ram` is a number of MiB. Docker starts no container with less than 6; `verify` shows how much a \
     node needs. CML's schema takes `true` for 1.",
    Node("sim:\n  linux_native:\n    ram: 2\n"),
    Node("sim:\n  linux_native:\n    ram: 64\n"),
);

static INTERFACE_TWICE: Rule = Rule::warning(
    "interface-twice",
    "No two interfaces have the same name",
    "`device.interfaces.physical` names the interfaces of a node. Users cannot tell two with one name apart.",
    Node("device:\n  interfaces:\n    physical: [eth0, eth0]\n"),
    Node("device:\n  interfaces:\n    physical: [eth0, eth1]\n"),
);

static ID_TWICE: Rule = Rule::warning(
    "id-twice",
    "No two node definitions have the same id",
    "A server has one node definition of each id: of two files with the same id, the one that is imported last counts. \
     The files and folders of one run are compared.",
    Node("id: tiny\nui:\n  label: A second tiny\n"),
    Node("id: tiny-2\nui:\n  label: A second tiny\n"),
);

static DEFAULT_COUNT: Rule = Rule::warning(
    "default-count",
    "A node has all the interfaces that it gets",
    "`default_count` is the number of interfaces when the node is put on the canvas, `min_count` the number that it \
     needs to start; `physical` names all that it can have.",
    Node("device:\n  interfaces:\n    physical: [eth0, eth1]\n    default_count: 4\n"),
    Node("device:\n  interfaces:\n    physical: [eth0, eth1]\n    default_count: 2\n"),
);

static LABEL_CUT: Rule = Rule::warning(
    "label-cut",
    "The label is short enough for CML's palette",
    "CML allows 32 characters, but its palette cuts off long labels, and versions come at their ends. Where it cuts \
     depends on the browser and is not documented; no label of a node that Cisco has published is longer than 26 \
     characters.",
    Node("ui:\n  label: A tiny node for tests, 10.4.2\n"),
    Node("ui:\n  label: Tiny 10.4.2\n"),
);

pub(super) static PASSWORD_CLEAR: Rule = Rule::warning(
    "password-clear",
    "No password is in a read-only definition",
    "Everybody who can see a definition can read the passwords in it, and if `read_only` is true nobody can change \
     them. Checked are `pyats` and files called `password`.",
    Node("general:\n  read_only: true\npyats:\n  os: linux\n  username: root\n  password: secret\n"),
    Node("general:\n  read_only: false\npyats:\n  os: linux\n  username: root\n  password: secret\n"),
);

static ID_CASE: Rule = Rule::error(
    "id-case",
    "Ids differ by more than case",
    "CML distinguishes `Tiny` from `tiny`; people and some file systems do not. All definitions of one run are \
     compared.",
    Node("id: TINY\n"),
    Node("id: tiny\n"),
);

static ID_RESERVED: Rule = Rule::error(
    "id-reserved",
    "No id is the name of a file of this program",
    "Folders and files are named after ids, here and on the server. There the install script keeps `lock`, \
     `script.part` and itself (`cml_install_image.sh`) beside the folders of the nodes, and reads `SHA256SUMS`; files \
     that are being written end in `.part` or `.new`. Case is ignored, as some file systems do.",
    Node("id: lock\n"),
    Node("id: lock-1-0\n"),
);

pub(super) fn nature(definition: &NodeDefinition) -> Option<&'static str> {
    Some(definition.general.as_ref()?.nature.as_ref()?.value)
}

pub(super) fn descriptions(definition: &NodeDefinition) -> impl Iterator<Item = &str> {
    let general = definition.general.as_ref().and_then(|general| general.description.as_ref());
    let ui = definition.ui.as_ref().and_then(|ui| ui.description.as_ref());
    general.into_iter().chain(ui).map(|text| text.value.as_str())
}

pub(super) fn judge(
    definition: &NodeDefinition,
    around: &Surroundings,
    peers: &Peers<'_>,
    findings: &mut Vec<Finding>,
) {
    boot_completed(definition, around, findings);
    findings.extend(refused_patterns(definition));
    boot_timeout(definition, findings);
    ram(definition, findings);
    counts(definition, findings);
    interfaces(definition, findings);
    label(definition, findings);
    passwords(definition, findings);
    ids_that_differ_in_case(definition.id.as_ref(), &peers.node_ids, findings);
    id_of_another(definition, peers, findings);
    reserved_id(definition.id.as_ref(), findings);
}

fn boot_timeout(definition: &NodeDefinition, findings: &mut Vec<Finding>) {
    let is_container = definition.domain_driver() == Some("docker");
    let Some(timeout) = definition.boot.as_ref().and_then(|boot| boot.timeout.as_ref()) else { return };
    if is_container && timeout.value <= 0 {
        let message = format!("expected at least 1 second, found {}: no node boots in that time", timeout.value);
        findings.push(Finding::new(&BOOT_TIMEOUT, timeout.at, "boot.timeout", message));
    }
}

fn ram(definition: &NodeDefinition, findings: &mut Vec<Finding>) {
    let is_container = definition.domain_driver() == Some("docker");
    let Some(ram) = definition.linux_native().and_then(|sim| sim.ram.as_ref()) else { return };
    // 0 is what definitions have that leave the value to the image definition.
    if is_container && (1..LEAST_RAM).contains(&ram.value) {
        let message = format!("{} MiB is less than any container needs to start ({LEAST_RAM})", ram.value);
        findings.push(Finding::new(&RAM_MINIMUM, ram.at, "sim.linux_native.ram", message));
    }
}

fn interfaces(definition: &NodeDefinition, findings: &mut Vec<Finding>) {
    let names = definition.interfaces().and_then(|interfaces| interfaces.physical.as_deref()).unwrap_or_default();
    let mut known = BTreeSet::new();
    for (index, name) in names.iter().enumerate() {
        if !known.insert(name.value.as_str()) && findings.len() < MOST_FINDINGS {
            let message = format!("{} is the name of another interface, too", quoted(&name.value));
            let path = format!("device.interfaces.physical[{index}]");
            findings.push(Finding::new(&INTERFACE_TWICE, name.at, path, message));
        }
    }
}

fn id_of_another(definition: &NodeDefinition, peers: &Peers<'_>, findings: &mut Vec<Finding>) {
    let Some(id) = definition.id.as_ref().filter(|id| peers.twice.contains(id.value.as_str())) else { return };
    let message = format!("another node definition of this run has the id {}, too", quoted(&id.value));
    findings.push(Finding::new(&ID_TWICE, id.at, "id", message));
}

pub(super) fn reserved_id(id: Option<&At<String>>, findings: &mut Vec<Finding>) {
    let why = id.and_then(|id| Some((id, why_reserved(&id.value)?)));
    findings.extend(why.map(|(id, why)| {
        let message = format!("{} cannot be an id: {why}", quoted(&id.value));
        Finding::new(&ID_RESERVED, id.at, "id", message)
    }));
}

fn boot_completed(definition: &NodeDefinition, around: &Surroundings, findings: &mut Vec<Finding>) {
    let Some(boot) = &definition.boot else { return };
    let texts = boot.completed.as_deref().unwrap_or_default();
    if let Some((index, text)) = texts.iter().enumerate().find(|(_, text)| text.value.is_empty()) {
        let message = "an empty text is in whatever the console prints, so the node counts as booted at once";
        findings.push(Finding::new(&BOOT_COMPLETED, text.at, format!("boot.completed[{index}]"), message));
        return;
    }
    let Some(files) = &around.image_files else { return };
    let is_regex = boot.uses_regex.as_ref().is_some_and(|uses| uses.value);
    let is_printed = |text: &At<String>| {
        let text = text.value.as_bytes();
        files.iter().any(|file| file.content.windows(text.len()).any(|part| part == text))
    };
    if is_regex || texts.iter().any(is_printed) {
        return;
    }
    if let Some(first) = texts.first() {
        let all: Vec<String> = texts.iter().map(|text| quoted(&text.value)).collect();
        let message = format!("no file of the image prints {}", all.join(" or "));
        findings.push(Finding::new(&BOOT_COMPLETED, first.at, "boot.completed[0]", message));
    }
}

fn counts(definition: &NodeDefinition, findings: &mut Vec<Finding>) {
    let Some(interfaces) = definition.interfaces() else { return };
    let Some(physical) = interfaces.physical.as_ref().map(Vec::len) else { return };
    for (key, count) in [("default_count", &interfaces.default_count), ("min_count", &interfaces.min_count)] {
        let too_many = |count: &&At<i64>| usize::try_from(count.value).is_ok_and(|count| count > physical);
        if let Some(count) = count.as_ref().filter(too_many) {
            let At { value, at } = count;
            let message = format!("expected at most {physical}, the number of names in `physical`, found {value}");
            findings.push(Finding::new(&DEFAULT_COUNT, *at, format!("device.interfaces.{key}"), message));
        }
    }
}

fn label(definition: &NodeDefinition, findings: &mut Vec<Finding>) {
    let Some(label) = definition.ui.as_ref().and_then(|ui| ui.label.as_ref()) else { return };
    let length = label.value.chars().count();
    if length > LONGEST_LABEL {
        let message = format!(
            "{} has {length} characters; CML's palette cuts off labels longer than about {LONGEST_LABEL}",
            quoted(&label.value)
        );
        findings.push(Finding::new(&LABEL_CUT, label.at, "ui.label", message));
    }
}

fn passwords(definition: &NodeDefinition, findings: &mut Vec<Finding>) {
    let read_only = definition.general.as_ref().and_then(|general| general.read_only.as_ref());
    if !read_only.is_some_and(|read_only| read_only.value) {
        return;
    }
    if let Some(pyats) = &definition.pyats {
        pyats_passwords(&pyats.password, &pyats.enable_password, findings);
    }
    for (index, file) in definition.files().iter().enumerate() {
        let is_password = file.name.as_ref().is_some_and(|name| name.value.eq_ignore_ascii_case("password"));
        if let Some(content) = file.content.as_ref().filter(|_| is_password && !file.text().trim().is_empty()) {
            findings.push(in_the_clear(content.at, format!("configuration.provisioning.files[{index}].content")));
        }
    }
}

pub(super) fn pyats_passwords(password: &Option<At<String>>, enable: &Option<At<String>>, findings: &mut Vec<Finding>) {
    findings.extend(password.iter().map(|password| in_the_clear(password.at, "pyats.password".to_owned())));
    findings.extend(enable.iter().map(|password| in_the_clear(password.at, "pyats.enable_password".to_owned())));
}

/// The finding does not repeat the password.
fn in_the_clear(at: Mark, path: String) -> Finding {
    Finding::new(&PASSWORD_CLEAR, at, path, "this password is in a read-only definition")
        .help("remove it, or make the definition writable (`read_only: false`)")
}

pub(super) fn ids_that_differ_in_case(
    id: Option<&At<String>>,
    by_lower_case: &BTreeMap<String, Vec<&str>>,
    findings: &mut Vec<Finding>,
) {
    let Some(id) = id else { return };
    let same = by_lower_case.get(&id.value.to_lowercase());
    if let Some(other) = same.into_iter().flatten().find(|other| **other != id.value) {
        let message = format!("{} differs from {} only in case", quoted(&id.value), quoted(other));
        findings.push(Finding::new(&ID_CASE, id.at, "id", message));
    }
}
