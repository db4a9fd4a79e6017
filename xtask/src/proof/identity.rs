//! Whether the archive is the one that the definitions name. [docs/cml.md 3]

use anyhow::Result;

use crate::proof::subject::Shipped;
use archive::{self, Contents};
use definitions::Document;
use definitions::lint::same_tag;
use definitions::schema::ImageDefinition;
use files::{Kind, Tree};

/// The contradictions between the archive and the definitions. Reads the whole archive; fails if it is not one.
pub(super) fn contradictions(node: &Shipped) -> Result<Vec<String>> {
    let contents = archive::examine_file(&node.archive)?;
    let mut found = of_image_definition_beside(node, &contents)?;
    let has = |tag: &&String| contents.tags.iter().any(|other| same_tag(other, tag));
    if let Some(tag) = node.container.config.docker.image.as_ref().filter(|tag| !has(tag)) {
        let tags = contents.tags.join(", ");
        found.push(format!("config.json names the image {tag}, but the archive has the tags {tags}"));
    }
    Ok(found.iter().map(|line| text::printable(line)).collect())
}

/// The same for the image definition that is beside the archive and names it, as on the server.
fn of_image_definition_beside(node: &Shipped, contents: &Contents) -> Result<Vec<String>> {
    let (tree, archive) = Tree::around(&node.archive)?;
    let (folder, name) = (archive.parent().unwrap_or(&archive), archive.file_name().unwrap_or_default());
    for (file, kind) in tree.entries(folder)? {
        let path = folder.join(file);
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if !is_yaml || kind != Kind::File {
            continue;
        }
        let document = Document::open(&path)?;
        let names_it =
            |image: &&ImageDefinition| image.disk_image.as_ref().is_some_and(|disk| name == disk.value.as_str());
        if let Some(definition) = document.as_image().filter(names_it) {
            let mut found = document.errors(path.display());
            found.extend(of_image_definition(definition, contents, &node.container.id));
            return Ok(found);
        }
    }
    Ok(Vec::new())
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
