//! The plan of a build: everything that decides the image, settled before the engine is asked.
//!
//! Its digest, the *recipe*, goes onto the image as a label. An image whose recipe is the plan's
//! is up to date; no other record is needed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::context::{self, ContextFile};
use super::manifest::{Bootstrap, Check, Limits, Source};
use super::names::{Pattern, is_definition_id, version_id};
use super::source::{Pin, Sources};
use super::{Manifest, Repository, Variant, labels};
use digests::Digest;
use ui::Ui;

/// Raise it when this program starts to build something else from the same data.
const RECIPE_FORMAT: u32 = 1;

/// The time that files get whose source has none of its own: 2025-01-01. Any fixed one does.
const FIXED_EPOCH: u64 = 1_735_689_600;

/// The build arguments that every Dockerfile is given; a manifest can't set them.
const RESERVED: [&str; 6] = ["BASE", "SOURCE", "VERSION", "REVISION", "SOURCE_DATE_EPOCH", "FRESH"];

/// What the command line changes of a variant.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub version: Option<String>,
    pub source: Option<String>,
    pub base: Option<String>,
    pub build_args: BTreeMap<String, String>,
    pub platform: Option<String>,
    pub switches: BTreeMap<String, bool>,
    /// Fetch git sources anew, even where a pinned commit is there.
    pub refresh: bool,
}

/// The names under which a variant at some version is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub id: String,
    pub image: String,
    pub label: String,
}

/// See the module's head.
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
    /// The base as the manifest or `--base` names it.
    pub base: String,
    pub bootstrap: Option<Bootstrap>,
    pub dockerfile: String,
    pub folder: PathBuf,
    pub files: Vec<ContextFile>,
    /// The node's main source is called as the node.
    pub sources: BTreeMap<String, Pin>,
    pub build_args: BTreeMap<String, String>,
    /// The time that the image's files bear, in Unix seconds.
    pub epoch: u64,
    pub switches: BTreeMap<String, bool>,
    pub checks: Vec<Check>,
    pub limits: Limits,
    pub node_definition: String,
    pub image_definition: String,
    pub recipe: Digest,
}

impl Names {
    /// Fills in the manifest's patterns.
    ///
    /// # Errors
    /// If CML or Docker would not take the result.
    pub fn of(node: &Manifest, variant: &Variant, version: &str) -> Result<Self> {
        let context = pattern_context(node, variant, version);
        let fill =
            |key: &str, pattern: &Pattern| pattern.render(&context).with_context(|| format!("the pattern `{key}`"));
        let names =
            Self { id: fill("id", &node.id)?, image: fill("image", &node.image)?, label: fill("label", &node.label)? };
        anyhow::ensure!(is_definition_id(&names.id), "`id` becomes `{}`, which CML does not take as an id", names.id);
        anyhow::ensure!(is_tag(&names.image), "`image` becomes `{}`, which is no NAME:TAG", names.image);
        let length = names.label.chars().count();
        anyhow::ensure!(
            (1..=32).contains(&length),
            "`label` becomes `{}`: {length} characters, CML takes 1 to 32",
            names.label
        );
        Ok(names)
    }
}

/// What patterns in the manifest can use.
fn pattern_context(node: &Manifest, variant: &Variant, version: &str) -> tera::Context {
    let mut context = tera::Context::new();
    context.insert("node", node.node.as_str());
    context.insert("title", &node.title);
    context.insert("variant", variant.name.as_str());
    context.insert("suffix", &variant.suffix);
    context.insert("version", version);
    context.insert("version_id", &version_id(version));
    context
}

/// `NAME:TAG` as Docker takes it, without a registry's host.
fn is_tag(image: &str) -> bool {
    let name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'/');
    let tag = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    image.split_once(':').is_some_and(|(left, right)| {
        !left.is_empty()
            && left.bytes().all(name)
            && (1..=128).contains(&right.len())
            && right.bytes().all(tag)
            && !right.starts_with(['.', '-'])
    })
}

/// Makes plans.
pub struct Planner<'a> {
    pub repository: &'a Repository,
    pub sources: Sources<'a>,
}

/// Whether a plan may use the network.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Allowed,
    Unused,
}

impl<'a> Planner<'a> {
    /// # Errors
    /// If there is no working folder.
    pub fn new(ui: &'a Ui, repository: &'a Repository, cache: &Path) -> Result<Self> {
        Ok(Self { repository, sources: Sources::new(ui, cache)? })
    }

    /// Whether the overrides make sense for the node at all, whichever variant is built.
    ///
    /// # Errors
    /// Says which one does not.
    pub fn check(&self, node: &Manifest, overrides: &Overrides) -> Result<()> {
        switches(node, overrides)?;
        refuse_reserved(overrides.build_args.keys())?;
        match &overrides.source {
            Some(spec) => self.sources.check_given(spec),
            None => Ok(()),
        }
    }

    /// The plan of a variant; `None` if it needs a source that is not on this machine and the
    /// network must not be used.
    ///
    /// # Errors
    /// If the data or the overrides don't fit together, or a source can't be had.
    pub fn plan(
        &self,
        node: &Manifest,
        variant: &Variant,
        overrides: &Overrides,
        network: Network,
    ) -> Result<Option<BuildPlan>> {
        let Some(main) = self.main_source(node, variant, overrides, network)? else { return Ok(None) };
        let version = self.version(node, variant, overrides, main.as_ref())?;
        let Some(mut sources) = self.further_sources(variant, &version, overrides, network)? else { return Ok(None) };
        if let Some(main) = main {
            sources.insert(node.node.to_string(), main);
        }
        self.assemble(node, variant, overrides, version, sources).map(Some)
    }

    /// Asks for every git source of a variant whether it is on this machine or can be fetched.
    ///
    /// # Errors
    /// Says which one can't.
    pub fn probe_sources(&self, variant: &Variant, overrides: &Overrides) -> Result<()> {
        let version = overrides.version.as_deref().unwrap_or(&variant.version);
        let main = variant.source.as_ref().filter(|_| overrides.source.is_none());
        for source in main.into_iter().chain(variant.sources.values()) {
            if let Source::Git { url, reference } = source {
                let reference = fill_reference(reference, version)?;
                if overrides.refresh || self.sources.pinned(url, &reference).is_none() {
                    self.sources.probe(url, &reference)?;
                }
            }
        }
        Ok(())
    }

    fn main_source(
        &self,
        node: &Manifest,
        variant: &Variant,
        overrides: &Overrides,
        network: Network,
    ) -> Result<Option<Option<Pin>>> {
        if let Some(spec) = &overrides.source {
            anyhow::ensure!(
                variant.source.is_some(),
                "variant {} of {} is built from no source: --source has no meaning",
                variant.name,
                node.node
            );
            return self.sources.given(spec, overrides.refresh).map(|pin| Some(Some(pin)));
        }
        let Some(source) = &variant.source else { return Ok(Some(None)) };
        if let (Source::Package(package), Some(version)) = (source, &overrides.version) {
            anyhow::ensure!(
                *version == variant.version,
                "variant {} builds the distribution's own package {package}, which is {}; for {version} give --source, or another --variant",
                variant.name,
                variant.version
            );
        }
        let version = overrides.version.as_deref().unwrap_or(&variant.version);
        Ok(self.resolve(source, version, overrides, network)?.map(Some))
    }

    fn further_sources(
        &self,
        variant: &Variant,
        version: &str,
        overrides: &Overrides,
        network: Network,
    ) -> Result<Option<BTreeMap<String, Pin>>> {
        let mut pins = BTreeMap::new();
        for (name, source) in &variant.sources {
            let Some(pin) = self.resolve(source, version, overrides, network)? else { return Ok(None) };
            pins.insert(name.to_string(), pin);
        }
        Ok(Some(pins))
    }

    fn resolve(&self, source: &Source, version: &str, overrides: &Overrides, network: Network) -> Result<Option<Pin>> {
        let (url, reference) = match source {
            Source::Package(name) => return Ok(Some(Pin::Package(name.to_string()))),
            Source::Git { url, reference } => (url, fill_reference(reference, version)?),
        };
        let pinned = self.sources.pinned(url, &reference).filter(|_| !overrides.refresh);
        match (pinned, network) {
            (Some(pin), _) => Ok(Some(Pin::Git(pin))),
            (None, Network::Unused) => Ok(None),
            (None, Network::Allowed) => self.sources.fetch(url, &reference).map(|pin| Some(Pin::Git(pin))),
        }
    }

    /// What the source says of itself wins: an image must not bear another version's name.
    fn version(&self, node: &Manifest, variant: &Variant, overrides: &Overrides, main: Option<&Pin>) -> Result<String> {
        let asked = overrides.version.as_deref();
        let stated = match (main, &node.version_from) {
            (Some(pin @ (Pin::Git(_) | Pin::Tarball { .. })), Some(from)) => Some(self.sources.version(pin, from)?),
            _ => None,
        };
        match (stated, asked) {
            (Some(stated), Some(asked)) if stated != asked => {
                bail!("--version {asked}, but the source is version {stated}")
            }
            (Some(stated), _) => Ok(stated),
            (None, asked) => Ok(asked.unwrap_or(&variant.version).to_owned()),
        }
    }

    fn assemble(
        &self,
        node: &Manifest,
        variant: &Variant,
        overrides: &Overrides,
        version: String,
        sources: BTreeMap<String, Pin>,
    ) -> Result<BuildPlan> {
        let folder = self.repository.folder(node);
        let epoch = epoch(sources.get(node.node.as_str()))?;
        let mut plan = BuildPlan {
            node: node.node.to_string(),
            variant: variant.name.to_string(),
            title: node.title.clone(),
            description: node.description.clone(),
            names: Names::of(node, variant, &version)?,
            untested: variant.untested.clone(),
            platform: overrides.platform.as_ref().unwrap_or(&node.platform).clone(),
            base: overrides.base.as_ref().unwrap_or(&variant.base.image).clone(),
            bootstrap: variant.base.bootstrap.clone().filter(|_| overrides.base.is_none()),
            dockerfile: variant.dockerfile.as_str().to_owned(),
            files: context::scan(&folder, &not_for_the_build(node, variant))?,
            folder,
            build_args: build_args(node, variant, overrides, &version, &sources, epoch)?,
            version,
            sources,
            epoch,
            switches: switches(node, overrides)?,
            checks: node.checks.clone(),
            limits: node.limits.clone(),
            node_definition: template(node.node_definition.as_ref(), &format!("{}.yaml", node.node)),
            image_definition: template(node.image_definition.as_ref(), "container.yaml"),
            recipe: Digest::of(""),
        };
        plan.recipe = recipe(&plan)?;
        Ok(plan)
    }
}

impl BuildPlan {
    /// The commit that the node's main source is pinned to.
    pub fn revision(&self) -> Option<&str> {
        match self.sources.get(&self.node) {
            Some(Pin::Git(pin)) => Some(&pin.commit),
            _ => None,
        }
    }

    /// What patterns of checks can use.
    pub fn check_context(&self) -> tera::Context {
        let mut context = tera::Context::new();
        context.insert("version", &self.version);
        context.insert("variant", &self.variant);
        context
    }
}

fn template(named: Option<&super::names::InnerPath>, default: &str) -> String {
    named.map_or(default, |path| path.as_str()).to_owned()
}

fn fill_reference(reference: &str, version: &str) -> Result<String> {
    let mut context = tera::Context::new();
    context.insert("version", version);
    tera::Tera::one_off(reference, &context, false).with_context(|| format!("the ref `{reference}`"))
}

/// The manifest itself and other variants' Dockerfiles don't reach the build, so a change to them
/// does not make the image stale.
fn not_for_the_build<'a>(node: &'a Manifest, variant: &Variant) -> Vec<&'a str> {
    let others =
        node.variants.iter().map(|other| other.dockerfile.as_str()).filter(|file| *file != variant.dockerfile.as_str());
    std::iter::once("node.yaml").chain(others).collect()
}

fn switches(node: &Manifest, overrides: &Overrides) -> Result<BTreeMap<String, bool>> {
    let mut switches = node.switches.clone();
    for (name, value) in &overrides.switches {
        match switches.get_mut(name) {
            Some(switch) => *switch = *value,
            None => bail!(
                "node {} has no switch `{name}`: {}",
                node.node,
                text::near(name, node.switches.keys().map(String::as_str))
            ),
        }
    }
    Ok(switches)
}

fn build_args(
    node: &Manifest,
    variant: &Variant,
    overrides: &Overrides,
    version: &str,
    sources: &BTreeMap<String, Pin>,
    epoch: u64,
) -> Result<BTreeMap<String, String>> {
    refuse_reserved(node.build_args.keys().chain(variant.build_args.keys()))?;
    let mut args = BTreeMap::new();
    for (key, value) in node.build_args.iter().chain(&variant.build_args).chain(&overrides.build_args) {
        args.insert(key.clone(), value.clone());
    }
    for (name, pin) in sources {
        let is_main = name == node.node.as_str();
        let key = if is_main { "SOURCE".to_owned() } else { name.to_uppercase().replace('-', "_") };
        args.insert(key, pin.kind().to_owned());
        if let (true, Pin::Git(pin)) = (is_main, pin) {
            args.insert("REVISION".to_owned(), pin.commit.clone());
        }
    }
    args.insert("VERSION".to_owned(), version.to_owned());
    args.insert("SOURCE_DATE_EPOCH".to_owned(), epoch.to_string());
    Ok(args)
}

fn refuse_reserved<'a>(mut keys: impl Iterator<Item = &'a String>) -> Result<()> {
    match keys.find(|key| RESERVED.contains(&key.as_str())) {
        Some(key) => {
            bail!("the build argument {key} is set by this program (--base, --source, --version, --no-cache decide it)")
        }
        None => Ok(()),
    }
}

/// <https://reproducible-builds.org/specs/source-date-epoch/>; else the time of the source's
/// commit, else a fixed one.
fn epoch(main: Option<&Pin>) -> Result<u64> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return given.parse().with_context(|| format!("SOURCE_DATE_EPOCH is `{given}`, not a number of seconds"));
    }
    Ok(match main {
        Some(Pin::Git(pin)) => pin.time,
        _ => FIXED_EPOCH,
    })
}

fn recipe(plan: &BuildPlan) -> Result<Digest> {
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

impl BuildPlan {
    /// The image's labels, apart from the recipe: OCI's predefined ones
    /// (<https://specs.opencontainers.org/image-spec/annotations/>) and this project's mark.
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
