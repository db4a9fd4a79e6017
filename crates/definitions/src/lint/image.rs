//! Image definitions: do they agree with the node definition and the archive beside them? [docs/cml.md 3]

use super::node;
use super::subject::{Archive, Peers, Surroundings};
use crate::config::{ConfigFile, Reading};
use crate::finding::Example::{File, Image};
use crate::finding::{Finding, Rule};
use crate::schema::{At, ImageDefinition, NodeDefinition};
use crate::yaml::{Mark, quoted};

pub(super) static ALL: &[&Rule] =
    &[&IMAGE_NODE, &IMAGE_TAG, &IMAGE_TAG_DIFFERS, &IMAGE_SHA256, &IMAGE_ARCHIVE, &ARCHIVE_NAME, &DISK_IMAGE_MISSING];

/// With more node definitions than this, similar ids are not searched.
const MOST_COMPARED: usize = 200;
pub const NO_TAG: &str =
    "neither docker_tag nor docker.image of the node definition's config.json says which image CML should start";
/// What the containers of CML run on. [docs/cml.md 3]
const PLATFORM: &str = "linux/amd64";
/// The most tags of an archive that are shown.
const MOST_LISTED: usize = 5;

static IMAGE_NODE: Rule = Rule::error(
    "image-node",
    "`node_definition_id` is the id of the node definition beside it",
    "Compared are the node definitions of the same run, of the same folder, and of `node-definitions/` in a tree \
     laid out as CML's. An id that none of them has may be that of a node that comes with CML; so it is reported only \
     if there is exactly one node definition, or one with a similar id.",
    Image("node_definition_id: tinny\n"),
    Image("node_definition_id: tiny\n"),
);

static IMAGE_TAG: Rule = Rule::error(
    "image-tag",
    "The archive has the tag with which the container is created",
    "CML 2.10 takes the tag from `docker_tag`, CML 2.9 from `docker.image` in the node definition's `config.json`. \
     If the archive does not have it, the server loads one image and looks for another. Checked where an archive \
     (`.tar`, `.tar.gz`) is beside the definition.",
    Image("docker_tag: \"tiny:1.1\"\n"),
    Image("docker_tag: \"tiny:1.0\"\n"),
);

static IMAGE_TAG_DIFFERS: Rule = Rule::warning(
    "image-tag-differs",
    "`docker_tag` and the node definition name the same tag",
    "CML 2.9 starts `docker.image` of `config.json`, CML 2.10 starts `docker_tag`. Several image definitions of one \
     node may have different tags on purpose (CML 2.10); the node then starts another image on CML 2.9. Not checked \
     if there is an archive, whose tags decide.",
    File("id: tiny-1-1\nnode_definition_id: tiny\nlabel: Tiny\ndocker_tag: \"tiny:1.1\"\n"),
    File("id: tiny-1-1\nnode_definition_id: tiny\nlabel: Tiny\ndocker_tag: \"tiny:1.0\"\n"),
);

static IMAGE_SHA256: Rule = Rule::error(
    "image-sha256",
    "`sha256` is the image ID of the archive",
    "For a container it is the SHA-256 of the image's configuration, which `manifest.json` in the archive names; \
     neither that of the archive nor the digest that `docker inspect` prints on some engines. CML refuses to start an \
     image with another ID.",
    Image("sha256: \"0000000000000000000000000000000000000000000000000000000000000000\"\n"),
    Image("sha256: \"a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4\"\n"),
);

static IMAGE_ARCHIVE: Rule = Rule::error(
    "image-archive",
    "An engine can load the archive",
    "It is what `docker save` writes, complete and undamaged: each layer has the content that the image's \
     configuration names. It has files, folders, and symbolic links within the archive: Docker loads no archive with \
     a hard link, a device, a named pipe or a link that leads elsewhere. Its image is for linux/amd64, as CML's hosts \
     are.",
    Image("disk_image: damaged.tar.gz\n"),
    Image("disk_image: tiny.tar.gz\n"),
);

static ARCHIVE_NAME: Rule = Rule::error(
    "archive-name",
    "A container's archive is called `.tar` or `.tar.gz`",
    "CML's own client uploads no file with another name for a container, and CML's server looks for these two.",
    Image("disk_image: tiny.tgz\n"),
    Image("disk_image: tiny.tar.gz\n"),
);

static DISK_IMAGE_MISSING: Rule = Rule::warning(
    "disk-image-missing",
    "Every `disk_image` exists",
    "On the server the files are in the folder of the image definition. A repository of definitions often leaves \
     them out, so this is a warning.",
    Image("disk_image_2: data.qcow2\n"),
    Image("disk_image: tiny.tar.gz\n"),
);

pub(super) fn judge(
    definition: &ImageDefinition,
    around: &Surroundings,
    peers: &Peers<'_>,
    findings: &mut Vec<Finding>,
) {
    let node = definition.node_definition_id.as_ref().and_then(|id| peers.nodes.get(id.value.as_str()).copied());
    node_id(definition, peers, node, findings);
    match &around.archive {
        Some(Archive::Image { image_id, tags, platform }) => {
            sha256(definition, image_id, findings);
            let disk = definition.disk_image.as_ref().map_or(Mark::START, |name| name.at);
            let foreign = platform.as_deref().and_then(foreign_platform);
            findings.extend(foreign.map(|message| Finding::new(&IMAGE_ARCHIVE, disk, "disk_image", message)));
            tag_in_archive(definition, node, tags, findings);
        }
        Some(Archive::Unreadable(why)) => {
            let at = definition.disk_image.as_ref().map_or(Mark::START, |name| name.at);
            findings.push(Finding::new(&IMAGE_ARCHIVE, at, "disk_image", why.clone()));
        }
        None => tag_of_node(definition, node, findings),
    }
    archive_name(definition, node, findings);
    missing_files(definition, around, findings);
    passwords(definition, findings);
    node::ids_that_differ_in_case(definition.id.as_ref(), &peers.image_ids, findings);
    node::reserved_id(definition.id.as_ref(), findings);
}

/// Why an image for this platform does not run in CML.
pub fn foreign_platform(platform: &str) -> Option<String> {
    let message = || format!("the image is for {}, but CML runs images for {PLATFORM}", quoted(platform));
    (platform != PLATFORM).then(message)
}

fn archive_name(definition: &ImageDefinition, node: Option<&NodeDefinition>, findings: &mut Vec<Finding>) {
    let is_container =
        docker_tag(definition).is_some() || node.and_then(NodeDefinition::domain_driver) == Some("docker");
    let Some(disk) = definition.disk_image.as_ref().filter(|_| is_container) else { return };
    if let Some(message) = wrong_archive_name(&disk.value) {
        findings.push(Finding::new(&ARCHIVE_NAME, disk.at, "disk_image", message).help("give the archive that name"));
    }
}

/// What is wrong with a `disk_image` of this name for a container.
pub fn wrong_archive_name(name: &str) -> Option<String> {
    let is_right = [".tar", ".tar.gz"].iter().any(|end| name.ends_with(end));
    (!is_right).then(|| format!("expected a file that ends in .tar or .tar.gz, found {}", quoted(name)))
}

fn passwords(definition: &ImageDefinition, findings: &mut Vec<Finding>) {
    let read_only = definition.read_only.as_ref().is_some_and(|read_only| read_only.value);
    let Some(pyats) = definition.pyats.as_ref().filter(|_| read_only) else { return };
    node::pyats_passwords(&pyats.password, &pyats.enable_password, findings);
}

fn node_id(
    definition: &ImageDefinition,
    peers: &Peers<'_>,
    node: Option<&NodeDefinition>,
    findings: &mut Vec<Finding>,
) {
    let (Some(wanted), None) = (&definition.node_definition_id, node) else { return };
    // Versions of one node have similar ids, and one of them may be missing here, so the id must be very similar.
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
        let message = format!("expected {}, the node definition's id, found {}", quoted(meant), quoted(&wanted.value));
        findings.push(Finding::new(&IMAGE_NODE, wanted.at, "node_definition_id", message));
    }
}

fn sha256(definition: &ImageDefinition, image_id: &str, findings: &mut Vec<Finding>) {
    let Some(stated) = &definition.sha256 else { return };
    if !stated.value.eq_ignore_ascii_case(image_id) {
        let message = format!("expected `{image_id}`, the image in the archive, found {}", quoted(&stated.value));
        let help = "it must be the SHA-256 of the image's configuration, not that of the archive";
        findings.push(Finding::new(&IMAGE_SHA256, stated.at, "sha256", message).help(help));
    }
}

fn tag_in_config(node: &NodeDefinition) -> Option<String> {
    if let Reading::File(file) = ConfigFile::of(node) { file.config.docker.image } else { None }
}

fn tag_in_archive(
    definition: &ImageDefinition,
    node: Option<&NodeDefinition>,
    tags: &[String],
    findings: &mut Vec<Finding>,
) {
    let (tag, at, path, origin) = if let Some(tag) = docker_tag(definition) {
        (tag.value.clone(), tag.at, "docker_tag", "")
    } else {
        let Some(disk) = &definition.disk_image else { return };
        let Some(tag) = node.and_then(tag_in_config) else { return without_tag(node, disk.at, tags, findings) };
        (tag, disk.at, "disk_image", " of the node definition's config.json")
    };
    if let Some((message, help)) = missing_tag(&tag, tags) {
        findings.push(Finding::new(&IMAGE_TAG, at, path, format!("{message}{origin}")).help(help));
    }
}

/// Says that neither definition names a tag, if the node definition is known to be a container's.
fn without_tag(node: Option<&NodeDefinition>, at: Mark, tags: &[String], findings: &mut Vec<Finding>) {
    let Some(node) = node.filter(|node| node.domain_driver() == Some("docker")) else { return };
    // What a broken config.json says is unknown, and that it is broken has been reported.
    let is_known = match ConfigFile::of(node) {
        Reading::File(file) => file.findings.is_empty(),
        Reading::Missing => true,
        Reading::Wrong(_) | Reading::Undecided => false,
    };
    if is_known {
        let message = format!("{NO_TAG}; the archive has {}", listed(tags));
        findings.push(Finding::new(&IMAGE_TAG, at, "disk_image", message).help("add docker_tag"));
    }
}

/// What is wrong if an archive with these tags does not have the one that a definition names, and what to do.
pub fn missing_tag(tag: &str, tags: &[String]) -> Option<(String, String)> {
    if tags.iter().any(|other| same_tag(other, tag)) {
        return None;
    }
    let message = match tags {
        [] => format!("the archive has no tag at all; it needs the tag {}", quoted(tag)),
        tags => format!("the archive has {}, not the tag {}", listed(tags), quoted(tag)),
    };
    let local = format!("localhost/{tag}");
    let help = if tags.iter().any(|other| same_tag(other, &local)) {
        format!(
            "Podman names its own images so, and Docker keeps that name: `podman tag {local} docker.io/library/{tag}`, \
             and save that"
        )
    } else if tags.is_empty() {
        format!("save the image by its name, not by its ID: `docker save {tag}`")
    } else {
        "name one of them, or save the image by that name".to_owned()
    };
    Some((message, help))
}

/// The first of an archive's tags. It may have any number.
fn listed(tags: &[String]) -> String {
    let first: Vec<String> = tags.iter().take(MOST_LISTED).map(|tag| quoted(tag)).collect();
    match tags.len() {
        0 => "no tag".to_owned(),
        1..=MOST_LISTED => format!("the tag {}", first.join(", ")),
        all => format!("the tags {} and {} more", first.join(", "), all - MOST_LISTED),
    }
}

fn docker_tag(definition: &ImageDefinition) -> Option<&At<String>> {
    definition.docker_tag.as_ref().filter(|tag| !tag.value.is_empty())
}

/// Whether two tags are the same to Docker: it reads `tiny` as `tiny:latest`, and takes `docker.io/library/tiny` for
/// `tiny`. <https://docs.docker.com/reference/cli/docker/image/tag/#description>
fn same_tag(a: &str, b: &str) -> bool {
    let whole = |tag: &str| {
        let hub = ["docker.io/", "index.docker.io/"].iter().find_map(|hub| tag.strip_prefix(hub)).unwrap_or(tag);
        let short = hub.strip_prefix("library/").unwrap_or(hub);
        let has_version = short.rsplit('/').next().is_some_and(|name| name.contains(':'));
        if has_version { short.to_owned() } else { format!("{short}:latest") }
    };
    whole(a) == whole(b)
}

fn tag_of_node(definition: &ImageDefinition, node: Option<&NodeDefinition>, findings: &mut Vec<Finding>) {
    let Some(tag) = docker_tag(definition) else { return };
    if let Some(named) = node.and_then(tag_in_config).filter(|named| !same_tag(named, &tag.value)) {
        let (named, found) = (quoted(&named), quoted(&tag.value));
        let message = format!("expected {named}, as in the node definition's config.json, found {found}");
        findings.push(Finding::new(&IMAGE_TAG_DIFFERS, tag.at, "docker_tag", message));
    }
}

fn missing_files(definition: &ImageDefinition, around: &Surroundings, findings: &mut Vec<Finding>) {
    let Some(folder) = &around.folder else { return };
    for (key, name) in definition.disk_images() {
        if let Some(name) = name.filter(|name| !folder.contains(&name.value)) {
            let message = format!("the file {} is not beside the definition", quoted(&name.value));
            let is_image = |other: &&str| !other.ends_with(".yaml") && !other.ends_with(".yml");
            let others = folder.iter().map(String::as_str).filter(is_image).take(MOST_COMPARED);
            let help = text::nearest(&name.value, others).map(|near| format!("did you mean `{near}`?"));
            findings.push(Finding { help, ..Finding::new(&DISK_IMAGE_MISSING, name.at, key, message) });
        }
    }
}
