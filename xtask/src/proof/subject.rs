//! What is to be proved.

use std::collections::BTreeMap;
use std::path::PathBuf;

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
    pub node: Shipped,
    pub scenes: Vec<SceneSetup>,
    /// What patterns in scenes can use.
    pub context: tera::Context,
    /// Seconds that the node may take to stop.
    pub stop_seconds: Option<f64>,
}

/// A scene and the nodes that it needs.
pub struct SceneSetup {
    pub scene: Scene,
    /// By their names in the scene.
    pub nodes: BTreeMap<String, Shipped>,
}
