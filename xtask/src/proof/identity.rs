//! Whether the archive is the one that the definitions speak of. [docs/cml.md 3]

use std::path::Path;

use anyhow::{Context, Result};
use serde_yaml::Value;

use crate::proof::Shipped;
use archive::{self, Contents};

/// What does not agree. Reads the whole archive.
///
/// # Errors
/// If the archive can't be read, or is none.
pub(super) fn faults(node: &Shipped) -> Result<Vec<String>> {
    let contents = archive::examine_file(&node.archive).with_context(|| format!("{}", node.archive.display()))?;
    let mut faults = image_definition(&node.archive)?
        .map_or_else(Vec::new, |definition| of_image_definition(&definition, &contents, &node.container.id));
    if let Some(tag) = node.container.config.docker.image.as_ref().filter(|tag| !contents.tags.contains(tag)) {
        faults.push(format!("config.json names the image {tag}, but the archive bears {}", contents.tags.join(", ")));
    }
    Ok(faults)
}

fn of_image_definition(definition: &Value, contents: &Contents, node: &str) -> Vec<String> {
    let mut faults = Vec::new();
    match &definition["sha256"] {
        Value::Null => {}
        Value::String(id) if id.eq_ignore_ascii_case(contents.image_id.hex()) => {}
        other => {
            let says = other.as_str().map_or_else(|| "no string".to_owned(), str::to_owned);
            faults.push(format!(
                "the image definition has sha256 {says}, but the archive's image ID is {}",
                contents.image_id
            ));
        }
    }
    if let Some(of) = definition["node_definition_id"].as_str().filter(|of| *of != node) {
        faults.push(format!("the image definition belongs to the node definition {of}, not to {node}"));
    }
    faults
}

/// The image definition that lies beside an archive and names it, as on the server.
fn image_definition(archive: &Path) -> Result<Option<Value>> {
    let (folder, name) = (archive.parent().unwrap_or(archive), archive.file_name().unwrap_or_default());
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))? {
        let path = entry?.path();
        if !path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
        let document: Option<Value> = serde_yaml::from_str(&text).ok();
        if let Some(document) = document.filter(|document| document["disk_image"].as_str().is_some_and(|it| name == it))
        {
            return Ok(Some(document));
        }
    }
    Ok(None)
}
