//! The plan of a build: everything that decides the image, settled before the engine is asked.
//!
//! Its digest, the *recipe*, goes onto the image as a label. An image with the plan's recipe is up to date; no other
//! record is needed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::context::ContextFile;
use crate::labels;
use crate::manifest::{Bootstrap, Check, Limits, Names};
use crate::pin::Pin;
use crate::prebuilt::Prebuilt;
use digests::Digest;

/// Raise it when this program starts to build a different image from the same data.
const RECIPE_FORMAT: u32 = 2;

/// The largest Dockerfile has a fraction of this.
const LARGEST_DOCKERFILE: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub struct BuildPlan {
    pub node: String,
    pub variant: String,
    pub title: String,
    pub description: String,
    pub version: String,
    pub names: Names,
    pub untested: Option<String>,
    pub platform: String,
    /// The image, if it is taken as it is; then there is nothing to build.
    pub prebuilt: Option<Prebuilt>,
    /// As the manifest or `--base` names it.
    pub base: String,
    pub bootstrap: Option<Bootstrap>,
    pub dockerfile: String,
    pub folder: PathBuf,
    pub files: Vec<ContextFile>,
    /// By name; the main source has the node's name.
    pub sources: BTreeMap<String, Pin>,
    pub build_args: BTreeMap<String, String>,
    /// The modification time of the image's files, in Unix seconds.
    pub epoch: u64,
    pub switches: BTreeMap<String, bool>,
    pub checks: Vec<Check>,
    pub limits: Limits,
    pub recipe: Digest,
}

impl BuildPlan {
    /// The text of the Dockerfile.
    ///
    /// # Errors
    /// If it is not a regular file of the node's folder.
    pub fn dockerfile_text(&self) -> Result<String> {
        let file = self.files.iter().find(|file| file.path == self.dockerfile);
        let file = file.with_context(|| format!("{} has no {}", self.folder.display(), self.dockerfile))?;
        Ok(String::from_utf8_lossy(&file.read(LARGEST_DOCKERFILE)?).into_owned())
    }

    /// The commit of the node's main source, if it comes from git.
    pub fn revision(&self) -> Option<&str> {
        match self.sources.get(&self.node) {
            Some(Pin::Git(pin)) => Some(&pin.commit),
            _ => None,
        }
    }

    /// What the image is made from, for those who get it. Nothing in it depends on the machine that builds it.
    pub fn origins(&self, base: Option<sbom::Base>) -> sbom::Origins {
        sbom::Origins {
            node: self.node.clone(),
            variant: self.variant.clone(),
            version: self.version.clone(),
            base,
            sources: self.sources.iter().map(|(name, pin)| (name.clone(), pin.origin())).collect(),
        }
    }

    /// The variables of patterns in checks.
    pub fn check_context(&self) -> tera::Context {
        tera::context! { version => &self.version, variant => &self.variant }
    }

    /// The digest of what decides whether an image is accepted. It is no part of the recipe, since it changes no image.
    pub fn checks_digest(&self) -> Result<Digest> {
        Ok(Digest::of(serde_json::to_vec(&(&self.checks, self.limits.image_mb))?))
    }

    /// The image's labels, apart from the recipe: those that OCI defines
    /// (<https://specs.opencontainers.org/image-spec/annotations/>) and this project's own.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        let mut oci =
            |key: &str, value: &str| labels.insert(format!("org.opencontainers.image.{key}"), value.to_owned());
        oci("title", &self.title);
        oci("description", &self.description);
        oci("version", &self.version);
        oci("base.name", &self.base);
        if let Some(Pin::Git(pin)) = self.sources.get(&self.node) {
            oci("revision", &pin.commit);
            if pin.origin.contains("://") {
                oci("source", &pin.origin);
            }
        }
        labels.insert(labels::NODE.to_owned(), self.node.clone());
        labels.insert(labels::VARIANT.to_owned(), self.variant.clone());
        labels.insert(labels::IMAGE.to_owned(), self.names.image.clone());
        labels
    }
}

pub(crate) fn recipe(plan: &BuildPlan) -> Result<Digest> {
    #[derive(Serialize)]
    struct Recipe<'a> {
        format: u32,
        base: &'a str,
        dockerfile: &'a str,
        platform: &'a str,
        files: &'a [ContextFile],
        sources: BTreeMap<&'a str, String>,
        build_args: &'a BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
    }
    let recipe = Recipe {
        format: RECIPE_FORMAT,
        base: &plan.base,
        dockerfile: &plan.dockerfile,
        platform: &plan.platform,
        files: &plan.files,
        sources: plan.sources.iter().map(|(name, pin)| (name.as_str(), pin.identity())).collect(),
        build_args: &plan.build_args,
        labels: plan.labels(),
    };
    Ok(Digest::of(serde_json::to_vec(&recipe)?))
}
