//! What is judged: definitions, and what is known around them.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::Document;
use crate::schema::NodeDefinition;

/// What is known around a definition. What is unknown is not judged.
#[derive(Debug, Default)]
pub struct Surroundings {
    pub folder: Option<BTreeSet<String>>,
    pub archive: Option<Archive>,
    /// The files that the image is made of: its Dockerfile and what that copies.
    pub image_files: Option<Vec<ImageFile>>,
}

/// What is in an image archive, or why it cannot be read.
#[derive(Clone, Debug)]
pub enum Archive {
    Image {
        /// The SHA-256 of the image's configuration, in hexadecimal.
        image_id: String,
        tags: Vec<String>,
        /// Such as `linux/amd64`.
        platform: Option<String>,
    },
    Unreadable(String),
}

#[derive(Clone, Debug)]
pub struct ImageFile {
    pub path: String,
    pub content: Vec<u8>,
}

#[derive(Debug)]
pub struct Subject<'a> {
    pub document: &'a Document,
    pub around: Surroundings,
}

/// All definitions that are judged together.
pub(super) struct Peers<'a> {
    pub nodes: BTreeMap<&'a str, &'a NodeDefinition>,
    /// The ids of node definitions, by their lower case.
    pub node_ids: BTreeMap<String, Vec<&'a str>>,
    pub image_ids: BTreeMap<String, Vec<&'a str>>,
    /// The ids that several of the judged node definitions have.
    pub twice: BTreeSet<&'a str>,
}

impl<'a> Peers<'a> {
    /// `beside` are those that are not judged themselves.
    pub fn of(judged: &[&'a Document], beside: &'a [Document]) -> Self {
        let mut known = BTreeSet::new();
        let ids = judged.iter().filter_map(|document| Some(document.as_node()?.id.as_ref()?.value.as_str()));
        let twice = ids.filter(|id| !known.insert(*id)).collect();
        let documents: Vec<&Document> = judged.iter().copied().chain(beside).collect();
        let nodes = documents.iter().filter_map(|document| document.as_node());
        let nodes: BTreeMap<_, _> = nodes.filter_map(|node| Some((node.id.as_ref()?.value.as_str(), node))).collect();
        let images = documents.iter().filter_map(|document| document.as_image());
        let image_ids = images.filter_map(|image| Some(image.id.as_ref()?.value.as_str()));
        Self { node_ids: by_lower_case(nodes.keys().copied()), image_ids: by_lower_case(image_ids), nodes, twice }
    }
}

fn by_lower_case<'a>(ids: impl Iterator<Item = &'a str>) -> BTreeMap<String, Vec<&'a str>> {
    let mut map: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for id in ids {
        map.entry(id.to_lowercase()).or_default().push(id);
    }
    map
}
