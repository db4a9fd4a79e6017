//! Do rendered definitions speak of the node, image and archive that they were rendered for?
//!
//! Whether CML takes them at all is for `lint` to say.

use anyhow::{Result, anyhow, bail};

use super::render::{Facts, Rendered};
use super::yaml::{self, Mark, Node};

pub(super) fn node_definition(rendered: &Rendered, facts: &Facts<'_>) -> Result<()> {
    let document = parse(rendered)?;
    must_be(rendered, &document, "id", facts.id)?;
    let files =
        document.get("configuration").and_then(|node| node.get("provisioning")).and_then(|node| node.get("files"));
    let mut files = files.and_then(|files| files.list()).unwrap_or_default().iter();
    let config = files.find(|file| file.get("name").and_then(|name| name.text()) == Some("config.json"));
    match config.and_then(|file| file.get("content")) {
        Some(content) => config_json(rendered, content, facts),
        None => bail!(
            "{}: there is no file config.json, which tells CML how to start the container",
            rendered.path.display()
        ),
    }
}

pub(super) fn image_definition(rendered: &Rendered, facts: &Facts<'_>) -> Result<()> {
    let document = parse(rendered)?;
    must_be(rendered, &document, "id", facts.id)?;
    must_be(rendered, &document, "node_definition_id", facts.id)?;
    must_be(rendered, &document, "disk_image", facts.archive)?;
    must_be(rendered, &document, "sha256", facts.image_id.hex())
}

fn parse(rendered: &Rendered) -> Result<std::sync::Arc<Node>> {
    match yaml::read(rendered.text.as_bytes()) {
        Ok(document) => Ok(document.root),
        Err(problem) => bail!("{}: renders to what is not YAML: {}", rendered.show(problem.at), problem.message),
    }
}

fn must_be(rendered: &Rendered, document: &Node, key: &str, wanted: &str) -> Result<()> {
    let Some(found) = document.get(key) else {
        bail!("{}: `{key}` is missing, it must be `{wanted}`", rendered.path.display());
    };
    if found.text() == Some(wanted) {
        return Ok(());
    }
    bail!("{}: `{key}` is {}, it must be `{wanted}`", rendered.show(found.at), found.describe())
}

/// CML 2.9 takes the tag from here; the shim refuses what is not JSON. [docs/cml.md 5]
fn config_json(rendered: &Rendered, content: &Node, facts: &Facts<'_>) -> Result<()> {
    let config: serde_json::Value = serde_json::from_str(content.text().unwrap_or_default()).map_err(|error| {
        let inside = Mark { line: error.line().max(1), column: error.column().max(1) };
        anyhow!("{}: config.json is not JSON: {error}", rendered.show(content.place_inside(inside)))
    })?;
    match config["docker"]["image"].as_str() {
        Some(image) if image == facts.image => Ok(()),
        other => bail!(
            "{}: config.json has docker.image {}, it must be {}",
            rendered.show(content.at),
            other.unwrap_or("missing"),
            facts.image
        ),
    }
}
