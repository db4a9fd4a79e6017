//! The data repository, read and checked: nodes, their variants, and the plan of a build.

pub mod context;
pub mod manifest;
pub mod names;
pub mod plan;
pub mod scene;
pub mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub use manifest::{Manifest, Variant};
pub use plan::{BuildPlan, Overrides, Planner};

/// The labels by which this project knows its own images. Nothing without them is ever removed.
pub mod labels {
    /// Which node an image is.
    pub const NODE: &str = "cml-nodes.node";
    pub const VARIANT: &str = "cml-nodes.variant";
    /// The tag that was made. An image that a person builds from ours inherits the labels, but not
    /// the tag.
    pub const IMAGE: &str = "cml-nodes.image";
    /// The digest of the plan that an image was built by.
    pub const RECIPE: &str = "cml-nodes.recipe";
    /// On a container that runs a check: which node's. Containers that a person starts inherit the
    /// other labels, but not this.
    pub const CHECK: &str = "cml-nodes.check";
    /// On everything that belongs to a running lab: which one.
    pub const LAB: &str = "cml-nodes.lab";
    /// On the container of a node of a lab: what it is called there.
    pub const LAB_NODE: &str = "cml-nodes.actor";
    /// On the container of a node that `run` started: which node.
    pub const RUN: &str = "cml-nodes.run";
    /// On the container of a node that `run` started: what its second console runs.
    pub const SHELL: &str = "cml-nodes.shell";
    /// On a bootstrapped base: the digest of what it was bootstrapped with.
    pub const BASE: &str = "cml-nodes.base";
}

/// The node that commands mean when none is named, if the repository has it.
const DEFAULT_NODE: &str = "frr";

/// A repository of node recipes.
pub struct Repository {
    pub root: PathBuf,
    nodes: BTreeMap<String, Manifest>,
}

impl Repository {
    /// Reads every manifest below `root`.
    ///
    /// # Errors
    /// If there is none, one is wrong, or two nodes claim one id or tag.
    pub fn open(root: &Path) -> Result<Self> {
        let root = root.canonicalize().with_context(|| format!("{} can't be opened", root.display()))?;
        let docker = root.join("docker");
        let folders = std::fs::read_dir(&docker)
            .with_context(|| format!("{} is no repository of nodes: it has no folder docker/", root.display()))?;
        let mut nodes = BTreeMap::new();
        for folder in folders {
            let path = folder?.path().join("node.yaml");
            if path.is_file() {
                let manifest = Manifest::read(&path)?;
                nodes.insert(manifest.node.to_string(), manifest);
            }
        }
        anyhow::ensure!(!nodes.is_empty(), "{} holds no node: no docker/<node>/node.yaml", root.display());
        let repository = Self { root, nodes };
        repository.check_claims()?;
        Ok(repository)
    }

    /// The repository around the working folder, else the one this program was built from.
    pub fn find_root() -> Result<PathBuf> {
        let here = std::env::current_dir().context("the working folder is gone")?;
        let is_root = |path: &&Path| path.join("docker").is_dir() && path.join("node-definitions").is_dir();
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        match here.ancestors().find(is_root).or(built_from.filter(|path| is_root(path))) {
            Some(root) => Ok(root.to_owned()),
            None => bail!(
                "{} is not inside a repository of nodes (folders docker/ and node-definitions/); go there, or name one with --root",
                here.display()
            ),
        }
    }

    /// The node of that name; without a name `frr`, or the only one there is.
    ///
    /// # Errors
    /// If there is none, with the near match.
    pub fn node(&self, name: Option<&str>) -> Result<&Manifest> {
        let only = self.nodes.keys().next().filter(|_| self.nodes.len() == 1);
        let name = match (name, only) {
            (Some(name), _) => name,
            (None, _) if self.nodes.contains_key(DEFAULT_NODE) => DEFAULT_NODE,
            (None, Some(only)) => only,
            (None, None) => bail!("which node? {}", text::near("", self.names())),
        };
        match self.nodes.get(name) {
            Some(node) => Ok(node),
            None => bail!(
                "there is no node `{name}` in {}: {}",
                self.root.join("docker").display(),
                text::near(name, self.names())
            ),
        }
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Manifest> {
        self.nodes.values()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The folder of a node.
    pub fn folder(&self, node: &Manifest) -> PathBuf {
        self.root.join("docker").join(node.node.as_str())
    }

    /// Two variants with one id would overwrite each other on the server; CML tells ids apart by
    /// case only, which a person does not.
    fn check_claims(&self) -> Result<()> {
        let mut claimed: BTreeMap<String, String> = BTreeMap::new();
        for node in self.nodes() {
            for variant in &node.variants {
                let who = format!("{}/node.yaml, variant {}", node.node, variant.name);
                let path = self.folder(node).join("node.yaml");
                let names = plan::Names::of(node, variant, &variant.version)
                    .with_context(|| format!("{}, variant {}", path.display(), variant.name))?;
                for claim in [format!("id `{}`", names.id), format!("image `{}`", names.image)] {
                    if let Some(other) = claimed.insert(claim.to_lowercase(), who.clone()) {
                        bail!("two nodes claim the {claim}: docker/{other}, and docker/{who}");
                    }
                }
            }
        }
        Ok(())
    }
}
