//! Image definitions: do they agree with the node definition and the archive beside them? [docs/cml.md 3]

use super::config::{Config, Reading};
use super::{Archive, Peers, Surroundings, node};
use crate::finding::{Example, Finding, Rule, Severity};
use crate::schema::{ImageDefinition, NodeDefinition};
use crate::yaml::quoted;

pub(super) static ALL: &[&Rule] =
    &[&IMAGE_NODE, &IMAGE_TAG, &IMAGE_TAG_DIFFERS, &IMAGE_SHA256, &IMAGE_ARCHIVE, &DISK_IMAGE_MISSING];

/// Among more node definitions, nobody looks for a similar id.
const MOST_COMPARED: usize = 200;

static IMAGE_NODE: Rule = Rule {
    id: "image-node",
    severity: Severity::Error,
    title: "`node_definition_id` is the id of the node definition beside it",
    why: "Compared are the node definitions of the same run, of the same folder, and of `node-definitions/` in a tree that is laid out as CML's. An id that none of \
          them has may be that of a node that CML brings along; so something is said only where there is exactly one node definition, or \
          one with a similar id.",
    failing: Example::Image("node_definition_id: tinny\n"),
    mended: Example::Image("node_definition_id: tiny\n"),
};

static IMAGE_TAG: Rule = Rule {
    id: "image-tag",
    severity: Severity::Error,
    title: "The archive bears the tag by which the container is created",
    why: "CML 2.10 takes the tag from `docker_tag`, CML 2.9 from `docker.image` in the node definition's `config.json`. If the archive does not bear it, the \
          server loads an image and looks for another. Looked at where an archive (`.tar`, `.tar.gz`) stands beside the definition.",
    failing: Example::Image("docker_tag: \"tiny:1.1\"\n"),
    mended: Example::Image("docker_tag: \"tiny:1.0\"\n"),
};

static IMAGE_TAG_DIFFERS: Rule = Rule {
    id: "image-tag-differs",
    severity: Severity::Warning,
    title: "`docker_tag` and the node definition name one tag",
    why: "CML 2.9 starts `docker.image` of `config.json`, CML 2.10 starts `docker_tag`. That several image definitions of one node have tags of their own is meant \
          to be (CML 2.10); the node then starts another image on CML 2.9. Nothing is said where the archive settles the matter.",
    failing: Example::File("id: tiny-1-1\nnode_definition_id: tiny\nlabel: Tiny\ndocker_tag: \"tiny:1.1\"\n"),
    mended: Example::File("id: tiny-1-1\nnode_definition_id: tiny\nlabel: Tiny\ndocker_tag: \"tiny:1.0\"\n"),
};

static IMAGE_SHA256: Rule = Rule {
    id: "image-sha256",
    severity: Severity::Error,
    title: "`sha256` is the image ID of the archive",
    why: "For a container it is the SHA-256 of the image's configuration, as `manifest.json` in the archive names it; neither that of the archive, nor the digest \
          that `docker inspect` prints on some engines. CML refuses to start an image with another ID.",
    failing: Example::Image("sha256: \"0000000000000000000000000000000000000000000000000000000000000000\"\n"),
    mended: Example::Image("sha256: \"a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4\"\n"),
};

static IMAGE_ARCHIVE: Rule = Rule {
    id: "image-archive",
    severity: Severity::Error,
    title: "The archive is one that an engine can load",
    why: "What `docker save` writes, as `.tar` or `.tar.gz`, whole and undamaged.",
    failing: Example::Image("disk_image: damaged.tar.gz\n"),
    mended: Example::Image("disk_image: tiny.tar.gz\n"),
};

static DISK_IMAGE_MISSING: Rule = Rule {
    id: "disk-image-missing",
    severity: Severity::Warning,
    title: "Every `disk_image` is there",
    why: "On the server the files stand in the folder of the image definition. In a repository of definitions they are often left out, so this is a warning.",
    failing: Example::Image("disk_image_2: data.qcow2\n"),
    mended: Example::Image("disk_image: tiny.tar.gz\n"),
};

pub(super) fn judge(
    definition: &ImageDefinition,
    around: &Surroundings,
    peers: &Peers<'_>,
    findings: &mut Vec<Finding>,
) {
    let node = node_of(definition, peers);
    node_id(definition, peers, node, findings);
    match &around.archive {
        Some(Archive::Image { image_id, tags }) => {
            sha256(definition, image_id, findings);
            tag_in_archive(definition, node, tags, findings);
        }
        Some(Archive::Unreadable(why)) => {
            let at = definition.disk_images[0].as_ref().map_or(crate::yaml::Mark::START, |name| name.at);
            findings.push(Finding::new(&IMAGE_ARCHIVE, at, "disk_image", why.clone()));
        }
        None => tag_of_node(definition, node, findings),
    }
    missing_files(definition, around, findings);
    passwords(definition, findings);
    node::ids_that_differ_in_case(definition.id.as_ref(), &peers.image_ids, findings);
}

fn passwords(definition: &ImageDefinition, findings: &mut Vec<Finding>) {
    let read_only = definition.read_only.as_ref().is_some_and(|read_only| read_only.value);
    let Some(pyats) = definition.pyats.as_ref().filter(|_| read_only) else { return };
    for (key, password) in [("password", &pyats.password), ("enable_password", &pyats.enable_password)] {
        findings.extend(password.as_ref().map(|password| node::in_the_clear(password.at, format!("pyats.{key}"))));
    }
}

fn node_of<'a>(definition: &ImageDefinition, peers: &Peers<'a>) -> Option<&'a NodeDefinition> {
    peers.nodes.get(definition.node_definition_id.as_ref()?.value.as_str()).copied()
}

fn node_id(
    definition: &ImageDefinition,
    peers: &Peers<'_>,
    node: Option<&NodeDefinition>,
    findings: &mut Vec<Finding>,
) {
    let (Some(wanted), None) = (&definition.node_definition_id, node) else { return };
    // Versions of one node have similar ids, and one of them may be missing here: it must be very similar.
    let is_meant =
        |id: &&&str| id.len().abs_diff(wanted.value.len()) <= 1 && strsim::damerau_levenshtein(id, &wanted.value) == 1;
    let lower = wanted.value.to_lowercase();
    let meant = match (peers.nodes.len(), peers.node_ids.get(&lower)) {
        (1, _) => peers.nodes.keys().next(),
        (_, Some(same)) => same.first(),
        (2..=MOST_COMPARED, None) => peers.nodes.keys().find(is_meant),
        _ => None,
    };
    if let Some(meant) = meant {
        let said = format!("{} stands here, but the node definition's id is {}", quoted(&wanted.value), quoted(meant));
        findings.push(Finding::new(&IMAGE_NODE, wanted.at, "node_definition_id", said));
    }
}

fn sha256(definition: &ImageDefinition, image_id: &str, findings: &mut Vec<Finding>) {
    let Some(stated) = &definition.sha256 else { return };
    if !stated.value.eq_ignore_ascii_case(image_id) {
        let said = format!("{} stands here, but the image in the archive is `{image_id}`", quoted(&stated.value));
        let help = "it must be the SHA-256 of the image's configuration, not that of the archive";
        findings.push(Finding::new(&IMAGE_SHA256, stated.at, "sha256", said).help(help));
    }
}

/// The tag in a node definition's `config.json`.
fn tag_in_config(node: &NodeDefinition) -> Option<String> {
    match Config::of(node) {
        Reading::Config(config) => Some(config.root.get("docker")?.get("image")?.text()?.to_owned()),
        _ => None,
    }
}

fn tag_in_archive(
    definition: &ImageDefinition,
    node: Option<&NodeDefinition>,
    tags: &[String],
    findings: &mut Vec<Finding>,
) {
    let bears = |tag: &str| tags.iter().any(|borne| same_tag(borne, tag));
    let borne = if tags.is_empty() { "none".to_owned() } else { tags.join(", ") };
    if let Some(tag) = definition.docker_tag.as_ref().filter(|tag| !tag.value.is_empty()) {
        if !bears(&tag.value) {
            let said = format!("the archive does not bear the tag {}; it bears {borne}", quoted(&tag.value));
            findings.push(Finding::new(&IMAGE_TAG, tag.at, "docker_tag", said));
        }
        return;
    }
    let (Some(tag), Some(disk)) = (node.and_then(tag_in_config), &definition.disk_images[0]) else { return };
    if !bears(&tag) {
        let said = format!(
            "the archive does not bear the tag {}, which config.json of the node definition names; it bears {borne}",
            quoted(&tag)
        );
        findings.push(Finding::new(&IMAGE_TAG, disk.at, "disk_image", said));
    }
}

/// Docker reads `tiny` as `tiny:latest`.
fn same_tag(a: &str, b: &str) -> bool {
    let whole = |tag: &str| {
        if tag.rsplit('/').next().is_some_and(|name| name.contains(':')) {
            tag.to_owned()
        } else {
            format!("{tag}:latest")
        }
    };
    whole(a) == whole(b)
}

fn tag_of_node(definition: &ImageDefinition, node: Option<&NodeDefinition>, findings: &mut Vec<Finding>) {
    let Some(tag) = definition.docker_tag.as_ref().filter(|tag| !tag.value.is_empty()) else { return };
    if let Some(named) = node.and_then(tag_in_config).filter(|named| !same_tag(named, &tag.value)) {
        let said = format!(
            "{} stands here, but config.json of the node definition names {}",
            quoted(&tag.value),
            quoted(&named)
        );
        findings.push(Finding::new(&IMAGE_TAG_DIFFERS, tag.at, "docker_tag", said));
    }
}

fn missing_files(definition: &ImageDefinition, around: &Surroundings, findings: &mut Vec<Finding>) {
    let Some(folder) = &around.folder else { return };
    let keys = ["disk_image", "disk_image_2", "disk_image_3", "disk_image_4"];
    for (key, name) in keys.iter().zip(&definition.disk_images) {
        if let Some(name) = name.as_ref().filter(|name| !folder.contains(&name.value)) {
            let said = format!("there is no file {} beside the definition", quoted(&name.value));
            let others =
                folder.iter().map(String::as_str).filter(|other| !other.ends_with(".yaml") && !other.ends_with(".yml"));
            let near = text::nearest(&name.value, others.take(MOST_COMPARED));
            let finding = Finding::new(&DISK_IMAGE_MISSING, name.at, *key, said);
            findings.push(match near {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None => finding,
            });
        }
    }
}
