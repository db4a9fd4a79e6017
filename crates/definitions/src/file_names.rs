//! The names of a container's files, which are paths in a folder on the server. [docs/cml.md 5]

use std::collections::BTreeSet;

use crate::config::config_json;
use crate::finding::Example::Node;
use crate::finding::{Finding, MOST_FINDINGS, Rule};
use crate::schema::NodeDefinition;
use crate::yaml::quoted;

pub(crate) static FILE_NAME: Rule = Rule::error(
    "file-name",
    "Each file has a name of its own, in the node's folder",
    "CML writes `files` into a folder of the node's, whose name is `volume_name`. A name may contain folders \
     (`openstack/user_data`, mounted by `source=cfg/openstack/user_data`), but not lead elsewhere: no `..`, `.` or \
     empty part, and no `/` at the start or the end. Commas, `=`, quotes, backslashes and control characters would \
     end the field of a mount. Two files cannot have one name, and a file cannot be the folder of another.",
    Node(concat!(
        config_json!(r#"{"docker": {"mounts": ["type=bind,source=cfg//etc/motd,target=/etc/motd"]}}"#),
        "      - name: /etc/motd\n        editable: false\n"
    )),
    Node(concat!(
        config_json!(r#"{"docker": {"mounts": ["type=bind,source=cfg/etc/motd,target=/etc/motd"]}}"#),
        "      - name: etc/motd\n        editable: false\n"
    )),
);

/// What is wrong with the names of the files and of their folder.
pub(crate) fn wrong_names(definition: &NodeDefinition) -> Vec<Finding> {
    let mut findings = Vec::new();
    let volume = definition.provisioning().and_then(|provisioning| provisioning.volume_name.as_ref());
    if let Some(volume) = volume.filter(|volume| !is_plain(&volume.value)) {
        let message = format!("{} is not a plain name of a folder", quoted(&volume.value));
        findings.push(Finding::new(&FILE_NAME, volume.at, "configuration.provisioning.volume_name", message));
    }
    let mut names = BTreeSet::new();
    for (index, file) in definition.files().iter().enumerate() {
        let Some(name) = file.name.as_ref().filter(|_| findings.len() < MOST_FINDINGS) else { continue };
        let text = name.value.as_str();
        let problem = if !is_inner(text) {
            "is not the path of a file in the node's folder (NAME or FOLDER/NAME, without `..`)"
        } else if !names.insert(text) {
            "is the name of another file, too"
        } else if folders(text).any(|folder| names.contains(folder)) || is_folder_of_another(text, &names) {
            "cannot be both a file and a folder with another file in it"
        } else {
            continue;
        };
        let path = format!("configuration.provisioning.files[{index}].name");
        findings.push(Finding::new(&FILE_NAME, name.at, path, format!("{} {problem}", quoted(text))));
    }
    findings
}

/// Whether a name is in the node's folder, or in one below it.
pub(crate) fn is_inner(name: &str) -> bool {
    name.len() <= 4 * 64 && name.split('/').all(is_plain)
}

/// Without a path in it, and without what would end a field of a mount.
fn is_plain(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && !name.contains(['/', '\\', ',', '=', '"', '\'', '`'])
        && !name.chars().any(char::is_control)
}

/// `a` and `a/b` of `a/b/c`.
fn folders(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

fn is_folder_of_another(name: &str, names: &BTreeSet<&str>) -> bool {
    let inside = format!("{name}/");
    names.range(inside.as_str()..).next().is_some_and(|next| next.starts_with(&inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_nodes_folder() {
        for name in ["a", "a.b", "a/b", "openstack/latest/user_data", "..a", "a b", "ä"] {
            assert!(is_inner(name), "{name}");
        }
        for name in
            ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a,b", "a=b", "a\"", "a\\b", "a\nb"]
        {
            assert!(!is_inner(name), "{name}");
        }
    }
}
