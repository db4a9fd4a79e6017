//! Do rendered definitions speak of the node, image and archive that they were rendered for?

use anyhow::{Result, anyhow, bail};
use serde_yaml::Value;

use super::{Facts, Rendered};

pub(super) fn node_definition(rendered: &Rendered, facts: &Facts<'_>) -> Result<()> {
    let document = parse(rendered)?;
    must_be(rendered, &document, "id", facts.id)?;
    let files = document["configuration"]["provisioning"]["files"].as_sequence();
    let config = files.into_iter().flatten().find(|file| file["name"] == "config.json");
    match config.and_then(|file| file["content"].as_str()) {
        Some(text) => config_json(rendered, text, facts),
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

fn parse(rendered: &Rendered) -> Result<Value> {
    serde_yaml::from_str(&rendered.text).map_err(|error| {
        let place =
            error.location().map_or_else(|| rendered.path.display().to_string(), |at| rendered.place(at.line()));
        anyhow!("{place}: renders to what is not YAML: {error}")
    })
}

fn must_be(rendered: &Rendered, document: &Value, key: &str, wanted: &str) -> Result<()> {
    let path = rendered.path.display();
    match &document[key] {
        Value::String(found) if found == wanted => Ok(()),
        Value::Null => bail!("{path}: `{key}` is missing, it must be `{wanted}`"),
        Value::String(found) => bail!("{path}: `{key}` is `{found}`, it must be `{wanted}`"),
        _ => bail!("{path}: `{key}` must be the string `{wanted}`"),
    }
}

/// CML 2.9 takes the tag from here; the shim refuses what is not JSON. [cml-facts 5]
fn config_json(rendered: &Rendered, text: &str, facts: &Facts<'_>) -> Result<()> {
    let path = rendered.path.display();
    let config: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default().trim();
        anyhow!("{path}: config.json is not JSON, at `{line}`: {error}")
    })?;
    match config["docker"]["image"].as_str() {
        Some(image) if image == facts.image => Ok(()),
        other => {
            bail!("{path}: config.json has docker.image {}, it must be {}", other.unwrap_or("missing"), facts.image)
        }
    }
}
