//! What is to be proved, and in which lab.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use futures_util::future::join_all;

use crate::lab::{Lab, Loaded};
use catalog::scene::Scene;
use definitions::container::Container;

/// A node as it is shipped.
#[derive(Clone)]
pub struct Shipped {
    pub container: Container,
    pub archive: PathBuf,
}

/// A node, and the scenes of its manifest.
pub struct Subject {
    /// Of the image definition.
    pub id: String,
    pub node: Shipped,
    pub scenes: Vec<SceneSetup>,
    /// What patterns in scenes can use.
    pub context: tera::Context,
    /// Seconds that the node may take to stop.
    pub stop_seconds: Option<f64>,
}

impl Subject {
    /// The node as it is shipped, and those of its scenes that are another node, or have another definition.
    pub fn containers(&self) -> Vec<&Container> {
        let mut all = vec![&self.node.container];
        let others = self.scenes.iter().flat_map(|setup| setup.nodes.values()).map(|shipped| &shipped.container);
        for other in others {
            let access = other.config.host_access();
            if !all.iter().any(|known| known.id == other.id && known.config.host_access() == access) {
                all.push(other);
            }
        }
        all
    }
}

/// A scene and the nodes that it needs.
pub struct SceneSetup {
    pub scene: Scene,
    /// By their names in the scene.
    pub nodes: BTreeMap<String, Shipped>,
}

/// The lab in which a subject is proved, and the images that were loaded into it.
pub(super) struct Testbed<'a> {
    pub lab: &'a Lab<'a>,
    pub subject: &'a Subject,
    images: HashMap<&'a Path, Result<Loaded>>,
}

impl<'a> Testbed<'a> {
    /// Loads the archives of all nodes at the same time.
    pub async fn load(lab: &'a Lab<'a>, subject: &'a Subject) -> Self {
        let others = subject.scenes.iter().flat_map(|setup| setup.nodes.values());
        let archives: BTreeSet<&Path> =
            others.chain([&subject.node]).map(|shipped| shipped.archive.as_path()).collect();
        let loads = archives.into_iter().map(async |archive| (archive, lab.load(archive).await));
        Self { lab, subject, images: join_all(loads).await.into_iter().collect() }
    }

    /// The image of an archive. If it could not be loaded, each scene that needs it reports why.
    pub fn image(&self, archive: &Path) -> Result<&Loaded> {
        let loaded = self.images.get(archive).with_context(|| format!("{} was not loaded", archive.display()))?;
        loaded.as_ref().map_err(|error| anyhow!("{error:#}"))
    }
}
