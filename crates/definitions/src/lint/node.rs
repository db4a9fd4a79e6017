//! Node definitions of any kind.

use std::collections::BTreeMap;

use super::{Peers, Surroundings};
use crate::finding::{Example, Finding, Rule, Severity};
use crate::schema::{At, NodeDefinition};
use crate::yaml::{Mark, quoted};

pub(super) static ALL: &[&Rule] = &[&BOOT_COMPLETED, &DEFAULT_COUNT, &LABEL_CUT, &PASSWORD_CLEAR, &ID_CASE];

/// The longest label of a node that Cisco itself has published has this many characters.
const LONGEST_LABEL: usize = 26;

static BOOT_COMPLETED: Rule = Rule {
    id: "boot-completed",
    severity: Severity::Warning,
    title: "The image can print what CML waits for",
    why: "CML takes a node for booted when one of `boot.completed` appears on the console; if none ever does, it waits for `boot.timeout` seconds. For \
          a node of this repository, each of the texts is looked for in the files of its folder; a text that a program in the image prints \
          by itself is not found there (silence the rule then). Where the image is not known, or `uses_regex` is true, nothing is said.",
    failing: Example::Node("boot:\n  completed: [\"REDAY\"]\n"),
    mended: Example::Node("boot:\n  completed: [\"READY\"]\n"),
};

static DEFAULT_COUNT: Rule = Rule {
    id: "default-count",
    severity: Severity::Warning,
    title: "A node has the interfaces that it gets",
    why: "`default_count` says with how many interfaces a node is put onto the canvas, `min_count` with how many it can start; `physical` names all there are.",
    failing: Example::Node("device:\n  interfaces:\n    physical: [eth0, eth1]\n    default_count: 4\n"),
    mended: Example::Node("device:\n  interfaces:\n    physical: [eth0, eth1]\n    default_count: 2\n"),
};

static LABEL_CUT: Rule = Rule {
    id: "label-cut",
    severity: Severity::Warning,
    title: "The label is short enough to be read in CML's palette",
    why: "CML takes 32 characters, but its palette cuts long labels, and versions stand at their ends. Where it cuts depends on the browser and is \
          written down nowhere; no label of a node that Cisco has published is longer than 26 characters.",
    failing: Example::Node("ui:\n  label: A tiny node for tests, 10.4.2\n"),
    mended: Example::Node("ui:\n  label: Tiny 10.4.2\n"),
};

pub(super) static PASSWORD_CLEAR: Rule = Rule {
    id: "password-clear",
    severity: Severity::Warning,
    title: "No password stands in a definition that can't be changed",
    why: "Everybody who may see a definition can read the passwords in it, and where `read_only` is true nobody can change them. Looked at are `pyats` and files \
          called `password`.",
    failing: Example::Node("general:\n  read_only: true\npyats:\n  os: linux\n  username: root\n  password: secret\n"),
    mended: Example::Node("general:\n  read_only: false\npyats:\n  os: linux\n  username: root\n  password: secret\n"),
};

static ID_CASE: Rule = Rule {
    id: "id-case",
    severity: Severity::Error,
    title: "Ids differ by more than case",
    why: "CML tells `Tiny` and `tiny` apart, people and some file systems don't. Compared are the definitions that are looked at in one run.",
    failing: Example::Node("id: TINY\n"),
    mended: Example::Node("id: tiny\n"),
};

pub(super) fn nature(definition: &NodeDefinition) -> Option<&'static str> {
    Some(definition.general.as_ref()?.nature.as_ref()?.value)
}

/// What people read about the node.
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
    counts(definition, findings);
    label(definition, findings);
    passwords(definition, findings);
    ids_that_differ_in_case(definition.id.as_ref(), &peers.node_ids, findings);
}

fn boot_completed(definition: &NodeDefinition, around: &Surroundings, findings: &mut Vec<Finding>) {
    let (Some(boot), Some(files)) = (&definition.boot, &around.image_files) else { return };
    let is_regex = boot.uses_regex.as_ref().is_some_and(|uses| uses.value);
    let texts = boot.completed.as_deref().unwrap_or_default();
    let is_printed = |text: &At<String>| {
        let text = text.value.as_bytes();
        text.is_empty() || files.iter().any(|file| file.content.windows(text.len()).any(|part| part == text))
    };
    if is_regex || texts.iter().any(is_printed) {
        return;
    }
    if let Some(first) = texts.first() {
        let all: Vec<String> = texts.iter().map(|text| quoted(&text.value)).collect();
        let said = format!("no file of the image prints {}", all.join(" or "));
        findings.push(Finding::new(&BOOT_COMPLETED, first.at, "boot.completed[0]", said));
    }
}

fn counts(definition: &NodeDefinition, findings: &mut Vec<Finding>) {
    let Some(interfaces) = &definition.interfaces else { return };
    let Some(physical) = interfaces.physical.as_ref().map(Vec::len) else { return };
    for (key, count) in [("default_count", &interfaces.default_count), ("min_count", &interfaces.min_count)] {
        let too_many = |count: &&At<i64>| usize::try_from(count.value).is_ok_and(|count| count > physical);
        if let Some(count) = count.as_ref().filter(too_many) {
            let said = format!("{} interfaces stand here, but `physical` names {physical}", count.value);
            findings.push(Finding::new(&DEFAULT_COUNT, count.at, format!("device.interfaces.{key}"), said));
        }
    }
}

fn label(definition: &NodeDefinition, findings: &mut Vec<Finding>) {
    let Some(label) = definition.ui.as_ref().and_then(|ui| ui.label.as_ref()) else { return };
    let length = label.value.chars().count();
    if length > LONGEST_LABEL {
        let said = format!(
            "{} has {length} characters; CML's palette cuts labels longer than about {LONGEST_LABEL}",
            quoted(&label.value)
        );
        findings.push(Finding::new(&LABEL_CUT, label.at, "ui.label", said));
    }
}

fn passwords(definition: &NodeDefinition, findings: &mut Vec<Finding>) {
    let read_only = definition.general.as_ref().and_then(|general| general.read_only.as_ref());
    if !read_only.is_some_and(|read_only| read_only.value) {
        return;
    }
    if let Some(pyats) = &definition.pyats {
        let credentials = &pyats.credentials;
        for (key, password) in [("password", &credentials.password), ("enable_password", &credentials.enable_password)]
        {
            findings.extend(password.as_ref().map(|password| in_the_clear(password.at, format!("pyats.{key}"))));
        }
    }
    let provisioning = definition.configuration.as_ref().and_then(|configuration| configuration.provisioning.as_ref());
    let files = provisioning.and_then(|provisioning| provisioning.files.as_deref()).unwrap_or_default();
    for (index, file) in files.iter().enumerate() {
        let is_password = file.name.as_ref().is_some_and(|name| name.value.eq_ignore_ascii_case("password"));
        if let Some(content) = file
            .content
            .as_ref()
            .filter(|content| is_password && content.text().is_some_and(|text| !text.trim().is_empty()))
        {
            findings.push(in_the_clear(content.at, format!("configuration.provisioning.files[{index}].content")));
        }
    }
}

/// The password itself is not repeated.
pub(super) fn in_the_clear(at: Mark, path: String) -> Finding {
    Finding::new(&PASSWORD_CLEAR, at, path, "a password stands here, in a definition that is read-only")
        .help("leave it out, or let the definition be changed (`read_only: false`)")
}

pub(super) fn ids_that_differ_in_case(
    id: Option<&At<String>>,
    by_lower_case: &BTreeMap<String, Vec<&str>>,
    findings: &mut Vec<Finding>,
) {
    let Some(id) = id else { return };
    let same = by_lower_case.get(&id.value.to_lowercase());
    if let Some(other) = same.into_iter().flatten().find(|other| **other != id.value) {
        let said = format!("{} differs from {} in case only", quoted(&id.value), quoted(other));
        findings.push(Finding::new(&ID_CASE, id.at, "id", said));
    }
}
