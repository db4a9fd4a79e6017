//! Whether the archive is the one that the definitions name. [docs/cml.md 3]

use std::path::PathBuf;

use anyhow::Result;

use crate::proof::subject::Shipped;
use archive::{self, Contents};
use definitions::Document;
use definitions::lint::{NO_TAG, foreign_platform, missing_tag};
use definitions::schema::ImageDefinition;
use files::Tree;

/// The contradictions between the archive and the definitions; or what is wrong with the archive, which is read whole.
pub(super) fn contradictions(node: &Shipped) -> Result<Vec<String>> {
    let contents = match archive::examine_file(&node.archive) {
        Ok(contents) => contents,
        Err(unusable) => return Ok(vec![text::printable(&format!("{unusable:#}"))]),
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
    Ok(found.iter().map(|line| text::printable(line)).collect())
}

/// CML 2.10 and later start `docker_tag`, earlier ones `docker.image`. [docs/cml.md 3]
fn no_tag(named_by: &str, tag: &str, contents: &Contents) -> Option<String> {
    let (message, help) = missing_tag(tag, &contents.tags)?;
    Some(format!("{message}, which is {named_by}: {help}"))
}

type Documents = Vec<(PathBuf, Document)>;

/// The image definitions that are beside the archive and name it, as on the server; and what is wrong with files there
/// that are no definitions.
fn image_definitions_beside(node: &Shipped) -> Result<(Documents, Vec<String>)> {
    let (tree, archive) = Tree::around(&node.archive)?;
    let (folder, name) = (archive.parent().unwrap_or(&archive), archive.file_name().unwrap_or_default());
    let names_it = |image: &ImageDefinition| image.disk_image.as_ref().is_some_and(|disk| name == disk.value.as_str());
    let (mut definitions, mut unreadable) = (Vec::new(), Vec::new());
    for (file, _) in tree.entries(folder)? {
        let path = folder.join(file);
        if path.extension().is_none_or(|extension| extension != "yaml" && extension != "yml") {
            continue;
        }
        let document = Document::examine(&path);
        if document.as_image().is_some_and(names_it) {
            definitions.push((path, document));
        } else if document.is_unknown() {
            unreadable.extend(document.errors(path.display()));
        }
    }
    Ok((definitions, unreadable))
}

fn of_image_definition(definition: &ImageDefinition, contents: &Contents, node: &str) -> impl Iterator<Item = String> {
    let image_id = &contents.image_id;
    let stated = definition.sha256.as_ref().map(|stated| &stated.value);
    let stated = stated.filter(|stated| !stated.eq_ignore_ascii_case(image_id.hex()));
    let of = definition.node_definition_id.as_ref().map(|of| &of.value).filter(|of| *of != node);
    let other_image = stated
        .map(|stated| format!("the image definition has sha256 {stated}, but the archive's image ID is {image_id}"));
    let other_node = of.map(|of| format!("the image definition belongs to the node definition {of}, not to {node}"));
    other_image.into_iter().chain(other_node)
}
