//! What is wrong with definitions: CML's own refusals (`schema`), and what only experience teaches.
//!
//! A document is read by itself first; then all that are judged together look at each other, and at what is known around them
//! ([`Surroundings`]), which comes in as plain values.

mod config;
mod container;
mod image;
mod node;
pub mod page;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Finding, MOST_FINDINGS, Rule};
use super::schema::{self, Definition, ImageDefinition, NodeDefinition};
use super::yaml::Mark;

/// Every rule, in the order of `docs/lint.md`.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    [schema::rules::ALL, reading::ALL, container::ALL, node::ALL, image::ALL].into_iter().flatten().copied()
}

/// The rule of that id.
///
/// # Errors
/// With the near match.
pub fn rule(id: &str) -> Result<&'static Rule, String> {
    rules()
        .find(|rule| rule.id == id)
        .ok_or_else(|| format!("there is no rule `{id}`: {}", text::near(id, rules().map(|rule| rule.id))))
}

/// A definition, and what was found while it was read.
#[derive(Debug)]
pub struct Document {
    pub definition: Definition,
    findings: Vec<Finding>,
}

impl Document {
    /// Reads any bytes as a definition.
    pub fn read(bytes: &[u8]) -> Self {
        let mut findings = Vec::new();
        let definition = match super::yaml::read(bytes) {
            Ok(document) => {
                findings.extend(document.duplicates.iter().take(MOST_FINDINGS).map(reading::duplicate));
                schema::read(&document.root, &mut findings)
            }
            Err(problem) => {
                findings.push(reading::unreadable(problem));
                Definition::Unknown
            }
        };
        Self { definition, findings }
    }

    /// A file that can't even be read into memory.
    pub fn too_large(bytes: u64) -> Self {
        let said = format!("the file has {bytes} bytes; CML takes no more than {}", super::yaml::LARGEST);
        Self { definition: Definition::Unknown, findings: vec![Finding::new(&reading::LIMITS, Mark::START, "", said)] }
    }

    pub fn as_node(&self) -> Option<&NodeDefinition> {
        match &self.definition {
            Definition::Node(node) => Some(node),
            _ => None,
        }
    }

    pub fn as_image(&self) -> Option<&ImageDefinition> {
        match &self.definition {
            Definition::Image(image) => Some(image),
            _ => None,
        }
    }
}

/// What is known around a definition. What is not known is not judged.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The names of the files in its folder.
    pub folder: Option<BTreeSet<String>>,
    /// The image archive that its `disk_image` names.
    pub archive: Option<Archive>,
    /// The files that the image is made of: its Dockerfile, and what that copies in.
    pub image_files: Option<Vec<ImageFile>>,
}

/// What an image archive is, or why it can't be read.
#[derive(Clone, Debug)]
pub enum Archive {
    Image {
        /// The SHA-256 of the image's configuration, in hexadecimal.
        image_id: String,
        tags: Vec<String>,
    },
    Unreadable(String),
}

/// A file that goes into an image.
#[derive(Clone, Debug)]
pub struct ImageFile {
    pub path: String,
    pub content: Vec<u8>,
}

/// A document and what is around it.
#[derive(Debug)]
pub struct Subject {
    pub document: Document,
    pub around: Surroundings,
}

/// Judges documents together; yields the findings of each, in the order of the text. `beside` are further documents that belong to
/// them, and are not judged themselves.
pub fn judge(subjects: &[Subject], beside: &[Document]) -> Vec<Vec<Finding>> {
    let documents: Vec<&Document> = subjects.iter().map(|subject| &subject.document).chain(beside).collect();
    let peers = Peers::of(&documents);
    subjects.iter().map(|subject| judge_one(subject, &peers)).collect()
}

fn judge_one(subject: &Subject, peers: &Peers<'_>) -> Vec<Finding> {
    let mut findings = subject.document.findings.clone();
    match &subject.document.definition {
        Definition::Node(definition) => {
            node::judge(definition, &subject.around, peers, &mut findings);
            container::judge(definition, &subject.around, &mut findings);
        }
        Definition::Image(definition) => image::judge(definition, &subject.around, peers, &mut findings),
        Definition::Unknown => {}
    }
    findings.sort_by_key(|finding| finding.at);
    findings
}

/// All definitions that are looked at together.
struct Peers<'a> {
    nodes: BTreeMap<&'a str, &'a NodeDefinition>,
    /// The ids of node definitions, by their lower case.
    node_ids: BTreeMap<String, Vec<&'a str>>,
    image_ids: BTreeMap<String, Vec<&'a str>>,
}

impl<'a> Peers<'a> {
    fn of(documents: &[&'a Document]) -> Self {
        let nodes = documents.iter().filter_map(|document| document.as_node());
        let nodes: BTreeMap<_, _> = nodes.filter_map(|node| Some((node.id.as_ref()?.value.as_str(), node))).collect();
        let images = documents.iter().filter_map(|document| document.as_image());
        let image_ids = images.filter_map(|image| Some(image.id.as_ref()?.value.as_str()));
        Self { node_ids: by_lower_case(nodes.keys().copied()), image_ids: by_lower_case(image_ids), nodes }
    }
}

fn by_lower_case<'a>(ids: impl Iterator<Item = &'a str>) -> BTreeMap<String, Vec<&'a str>> {
    let mut map: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for id in ids {
        map.entry(id.to_lowercase()).or_default().push(id);
    }
    map
}
