//! Whether the archive is the one that the definitions name. [docs/cml.md 3]

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::proof::subject::Shipped;
use archive::{self, Contents};
use definitions::Document;
use definitions::lint::{NO_TAG, foreign_platform, missing_tag, wrong_archive_name};
use definitions::schema::ImageDefinition;
use files::Tree;

/// What the comparison of an archive with its definitions has found.
#[derive(Default)]
pub(super) struct Comparison {
    /// The contradictions; or what is wrong with the archive.
    pub contradictions: Vec<String>,
    /// How many image definitions were compared.
    pub image_definitions: usize,
}

/// Reads the archive whole, and compares it with the node definition and with the image definitions beside it.
pub(super) fn compare(node: &Shipped) -> Result<Comparison> {
    let contents = match archive::examine_file(&node.archive) {
        Ok(contents) => contents,
        Err(unusable) => {
            let contradictions = vec![text::printable(&format!("{unusable:#}"))];
            return Ok(Comparison { contradictions, ..Comparison::default() });
        }
    };
    let mut found: Vec<String> = contents.platform.as_deref().and_then(foreign_platform).into_iter().collect();
    let (definitions, unreadable) =
        image_definitions_beside(node).unwrap_or_else(|error| (Vec::new(), vec![format!("{error:#}")]));
    found.extend(unreadable);
    let config = node.container.config.docker.image.as_ref();
    let mut has_tag = config.is_some();
    found.extend(config.and_then(|tag| no_tag("docker.image of config.json", tag, &contents)));
    for (path, document) in &definitions {
        let Some(definition) = document.as_image() else { continue };
        found.extend(document.errors(path.display()));
        found.extend(of_image_definition(definition, &contents, &node.container.id));
        let tag = definition.docker_tag.as_ref().map(|tag| &tag.value).filter(|tag| !tag.is_empty());
        found.extend(tag.and_then(|tag| no_tag(&format!("docker_tag of {}", path.display()), tag, &contents)));
        has_tag |= tag.is_some();
    }
    if !has_tag {
        found.push(NO_TAG.to_owned());
    }
    let contradictions = found.iter().map(|line| text::printable(line)).collect();
    Ok(Comparison { contradictions, image_definitions: definitions.len() })
}

/// CML 2.10 and later start `docker_tag`, earlier ones `docker.image`. [docs/cml.md 3]
fn no_tag(named_by: &str, tag: &str, contents: &Contents) -> Option<String> {
    let (message, help) = missing_tag(tag, &contents.tags)?;
    Some(format!("{message}, which is {named_by}: {help}"))
}

type Documents = Vec<(PathBuf, Document)>;

/// The image definitions that are beside the archive and name it, as on the server; and what is wrong with the other
/// files there: those that are no definitions, and image definitions of an archive that is not there.
fn image_definitions_beside(node: &Shipped) -> Result<(Documents, Vec<String>)> {
    let (tree, archive) = Tree::around(&node.archive)?;
    let (folder, name) = (archive.parent().unwrap_or(&archive), archive.file_name().unwrap_or_default());
    let (mut definitions, mut unreadable) = (Vec::new(), Vec::new());
    for (file, _) in tree.entries(folder)? {
        let path = folder.join(file);
        if path.extension().is_none_or(|extension| extension != "yaml" && extension != "yml") {
            continue;
        }
        let document = Document::examine(&path);
        let Some(image) = document.as_image() else {
            if document.is_unknown() {
                unreadable.extend(document.errors(path.display()));
            }
            continue;
        };
        let disk = image.disk_image.as_ref().map(|disk| disk.value.as_str());
        if disk.is_some_and(|disk| name == disk) {
            definitions.push((path, document));
        } else if !disk.is_some_and(|disk| !disk.contains('/') && tree.has_file(folder.join(disk))) {
            unreadable.extend(document.errors(path.display()));
            unreadable.push(names_no_archive(&path, disk, &name.to_string_lossy()));
        }
    }
    Ok((definitions, unreadable))
}

/// What is wrong with an image definition beside the archive whose own archive is not there.
fn names_no_archive(path: &Path, disk: Option<&str>, archive: &str) -> String {
    let named = match disk {
        Some(disk) => format!("its disk_image is `{}`, and no such file is beside it", text::excerpt(disk, 100)),
        None => "it has no usable disk_image".to_owned(),
    };
    format!("{}: {named}; expected `{archive}`, the name of the archive", path.display())
}

fn of_image_definition(definition: &ImageDefinition, contents: &Contents, node: &str) -> impl Iterator<Item = String> {
    let image_id = &contents.image_id;
    let stated = definition.sha256.as_ref().map(|stated| &stated.value);
    let stated = stated.filter(|stated| !stated.eq_ignore_ascii_case(image_id.hex()));
    let of = definition.node_definition_id.as_ref().map(|of| &of.value).filter(|of| *of != node);
    let other_image = stated
        .map(|stated| format!("the image definition has sha256 {stated}, but the archive's image ID is {image_id}"));
    let other_node = of.map(|of| format!("the image definition belongs to the node definition {of}, not to {node}"));
    let disk = definition.disk_image.as_ref().and_then(|disk| wrong_archive_name(&disk.value));
    let wrong_name = disk.map(|why| format!("disk_image of the image definition: {why}"));
    other_image.into_iter().chain(other_node).chain(wrong_name)
}
