//! Whether rendered definitions are those of the node, image and archive that they were rendered for.
//!
//! Whether CML accepts them is for `lint` to say.

use anyhow::{Result, bail};

use crate::config::{ConfigFile, Reading};
use crate::finding::Finding;
use crate::schema::{At, Definition, ImageDefinition, rules};
use crate::template::{Facts, Rendered};

pub(crate) fn node_definition(rendered: &Rendered, facts: &Facts<'_>) -> Result<()> {
    let definition = kind(rendered, rendered.document.as_node(), "a node definition")?;
    must_be(rendered, "id", definition.id.as_ref(), facts.node_id())?;
    let path = rendered.path.display();
    match ConfigFile::of(definition) {
        Reading::File(file) if !file.is_template => {
            let image = file.config.docker.image;
            if facts.shared.is_some() {
                let ok = image.is_none();
                anyhow::ensure!(ok, "{path}: docker.image in config.json names one version, but all versions share it");
                return Ok(());
            }
            let image = image.map_or_else(|| "missing".to_owned(), |image| format!("`{image}`"));
            let expected = format!("`{}`", facts.image);
            // CML 2.9 takes the tag from here. [docs/cml.md 5]
            anyhow::ensure!(image == expected, "{path}: docker.image in config.json is {image}, it must be {expected}");
            Ok(())
        }
        Reading::File(_) | Reading::Undecided => bail!("{path}: config.json has template actions outside strings"),
        Reading::Missing => bail!("{path}: there is no file config.json, which tells CML how to create the container"),
        Reading::Wrong(finding) => bail!("{}", placed(rendered, &finding)),
    }
}

pub(crate) fn image_definition(rendered: &Rendered, facts: &Facts<'_>) -> Result<()> {
    let ImageDefinition { id, node_definition_id, disk_image, docker_tag, sha256, .. } =
        kind(rendered, rendered.document.as_image(), "an image definition")?;
    must_be(rendered, "id", id.as_ref(), facts.id)?;
    must_be(rendered, "node_definition_id", node_definition_id.as_ref(), facts.node_id())?;
    if facts.shared.is_some() {
        must_be(rendered, "docker_tag", docker_tag.as_ref(), facts.image)?;
    }
    must_be(rendered, "disk_image", disk_image.as_ref(), facts.archive)?;
    must_be(rendered, "sha256", sha256.as_ref(), facts.image_id.hex())
}

/// The definition, if the template renders to this kind.
fn kind<'a, T>(rendered: &Rendered, definition: Option<&'a T>, expected: &str) -> Result<&'a T> {
    match (definition, rendered.document.findings.first()) {
        (Some(definition), _) => Ok(definition),
        (None, Some(finding)) if matches!(rendered.document.definition, Definition::Unknown) => {
            bail!("{}", placed(rendered, finding))
        }
        (None, _) => bail!("{}: expected {expected}", rendered.path.display()),
    }
}

fn must_be(rendered: &Rendered, key: &str, found: Option<&At<String>>, expected: &str) -> Result<()> {
    let is_about_it = |finding: &&Finding| finding.path == key && finding.rule.id != rules::REQUIRED.id;
    match (found, rendered.document.findings.iter().find(is_about_it)) {
        (Some(found), _) if found.value == expected => Ok(()),
        (Some(At { value, at }), _) => {
            bail!("{}: `{key}` is `{}`, it must be `{expected}`", rendered.show(*at), text::excerpt(value, 100))
        }
        (None, Some(wrong)) => bail!("{}; `{key}` must be `{expected}`", placed(rendered, wrong)),
        (None, None) => bail!("{}: `{key}` is missing, it must be `{expected}`", rendered.path.display()),
    }
}

fn placed(rendered: &Rendered, finding: &Finding) -> String {
    let (file, at) = rendered.place(finding.at);
    Finding { at, ..finding.clone() }.line(file.display())
}
