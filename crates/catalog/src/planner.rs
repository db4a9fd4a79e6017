//! Makes plans of builds, from manifests and the overrides of the command line.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::context::ContextFile;
use crate::manifest::{Manifest, Source, Variant};
use crate::names::Pattern;
use crate::pin::Pin;
use crate::plan::{self, BuildPlan};
use crate::repository::Repository;
use crate::source::Sources;
use digests::Digest;
use ui::Ui;

/// The time of an image's files if its source has none: 2025-01-01. Any fixed time would do.
const FIXED_EPOCH: u64 = 1_735_689_600;

/// The build arguments that this program sets; a manifest cannot.
const RESERVED: [&str; 6] = ["BASE", "SOURCE", "VERSION", "REVISION", "SOURCE_DATE_EPOCH", "FRESH"];

#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub version: Option<String>,
    pub source: Option<String>,
    pub base: Option<String>,
    pub build_args: BTreeMap<String, String>,
    pub platform: Option<String>,
    pub switches: BTreeMap<String, bool>,
    /// Fetch git sources again, even if a commit is pinned already.
    pub refresh: bool,
}

impl Overrides {
    /// Nothing decides what an image is that is taken as it is.
    fn refuse_for_prebuilt(&self, node: &Manifest, variant: &Variant) -> Result<()> {
        let given = [
            (self.version.is_some(), "--version"),
            (self.source.is_some(), "--source"),
            (self.base.is_some(), "--base"),
            (!self.build_args.is_empty(), "--build-arg"),
            (self.platform.is_some(), "--platform"),
        ];
        match given.into_iter().find(|(is_given, _)| *is_given) {
            Some((_, option)) => bail!(
                "variant {} of {} takes its image as it is (`prebuilt`), so {option} has no effect on it",
                variant.name,
                node.node
            ),
            None => Ok(()),
        }
    }
}

pub struct Planner<'a> {
    pub repository: &'a Repository,
    pub sources: Sources<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Allowed,
    Unused,
}

impl<'a> Planner<'a> {
    pub fn new(ui: &'a Ui, repository: &'a Repository, cache: &Path) -> Result<Self> {
        Ok(Self { repository, sources: Sources::new(ui, cache)? })
    }

    /// Refuses overrides that make no sense for the node, whichever variant is built.
    pub fn check(&self, node: &Manifest, overrides: &Overrides) -> Result<()> {
        node.switches_with(&overrides.switches)?;
        refuse_reserved(overrides.build_args.keys())?;
        overrides.source.as_ref().map_or(Ok(()), |spec| self.sources.check_given(spec))
    }

    /// The plan of a variant; `None` if it needs a source that is not on this machine and the network must not be used.
    pub fn plan(
        &self,
        node: &Manifest,
        variant: &Variant,
        overrides: &Overrides,
        network: Network,
    ) -> Result<Option<BuildPlan>> {
        match (Draft { planner: self, node, variant, overrides, network }).plan() {
            Err(error) if error.is::<NotFetched>() => Ok(None),
            plan => plan.map(Some),
        }
    }

    /// Checks that every git source of a variant is on this machine or can be fetched.
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
}

/// A source that would have to be fetched, while the network must not be used.
#[derive(Debug, thiserror::Error)]
#[error("a source is not on this machine")]
struct NotFetched;

struct Draft<'a> {
    planner: &'a Planner<'a>,
    node: &'a Manifest,
    variant: &'a Variant,
    overrides: &'a Overrides,
    network: Network,
}

impl Draft<'_> {
    fn plan(&self) -> Result<BuildPlan> {
        let Self { node, variant, overrides, .. } = self;
        if variant.prebuilt.is_some() {
            overrides.refuse_for_prebuilt(node, variant)?;
        }
        let (main, base) = (self.main_source()?, variant.base.as_ref());
        let version = self.version(main.as_ref())?;
        let mut sources = BTreeMap::new();
        for (name, source) in &variant.sources {
            sources.insert(name.to_string(), self.resolve(source, &version)?);
        }
        let epoch = epoch(main.as_ref())?;
        sources.extend(main.map(|pin| (node.node.to_string(), pin)));
        let mut plan = BuildPlan {
            node: node.node.to_string(),
            variant: variant.name.to_string(),
            title: node.title.clone(),
            description: node.description.clone(),
            names: self.planner.repository.names(node, variant, &version)?,
            untested: variant.untested.clone(),
            platform: overrides.platform.as_ref().unwrap_or(&node.platform).clone(),
            prebuilt: variant.prebuilt.clone(),
            base: overrides.base.clone().or_else(|| Some(base?.image.clone())).unwrap_or_default(),
            bootstrap: base.and_then(|base| base.bootstrap.clone()).filter(|_| overrides.base.is_none()),
            dockerfile: variant.dockerfile.as_str().to_owned(),
            files: self.context()?,
            folder: self.planner.repository.folder(node),
            build_args: self.build_args(&version, &sources, epoch)?,
            version,
            sources,
            epoch,
            switches: node.switches_with(&overrides.switches)?,
            checks: node.checks.clone(),
            limits: node.limits.clone(),
            recipe: Digest::of(""),
        };
        plan.recipe = plan::recipe(&plan)?;
        Ok(plan)
    }

    fn main_source(&self) -> Result<Option<Pin>> {
        let Self { node, variant, overrides, .. } = self;
        if let Some(spec) = &overrides.source {
            anyhow::ensure!(
                variant.source.is_some(),
                "variant {} of {} is not built from a source, so --source has no effect on it",
                variant.name,
                node.node
            );
            return self.planner.sources.given(spec, overrides.refresh).map(Some);
        }
        let Some(source) = &variant.source else { return Ok(None) };
        if let (Source::Package(package), Some(version)) = (source, &overrides.version) {
            anyhow::ensure!(
                *version == variant.version,
                "variant {} builds the distribution's own package {package}, which is version {}; \
                 for {version} pass --source or another --variant",
                variant.name,
                variant.version
            );
        }
        self.resolve(source, overrides.version.as_ref().unwrap_or(&variant.version)).map(Some)
    }

    fn resolve(&self, source: &Source, version: &str) -> Result<Pin> {
        let (url, reference) = match source {
            Source::Package(name) => return Ok(Pin::Package(name.to_string())),
            Source::Git { url, reference } => (url, fill_reference(reference, version)?),
        };
        let sources = &self.planner.sources;
        match sources.pinned(url, &reference).filter(|_| !self.overrides.refresh) {
            Some(pin) => Ok(Pin::Git(pin)),
            None if self.network == Network::Unused => Err(NotFetched.into()),
            None => sources.fetch(url, &reference).map(Pin::Git),
        }
    }

    /// The version that the source itself states, if it does: an image must not have another version's name.
    fn version(&self, main: Option<&Pin>) -> Result<String> {
        let asked = self.overrides.version.as_deref();
        let main = main.filter(|pin| !matches!(pin, Pin::Package(_))).zip(self.node.version_from.as_ref());
        let stated = main.map(|(pin, from)| self.planner.sources.version(pin, from)).transpose()?;
        match (stated, asked) {
            (Some(stated), Some(asked)) if stated != asked => {
                bail!("--version is {asked}, but the source is version {stated}")
            }
            (Some(stated), _) => Ok(stated),
            (None, asked) => Ok(asked.unwrap_or(&self.variant.version).to_owned()),
        }
    }

    /// The files of the build context, without the Dockerfiles of other variants: a change to those does not make this
    /// image stale.
    fn context(&self) -> Result<Vec<ContextFile>> {
        if self.variant.prebuilt.is_some() {
            return Ok(Vec::new());
        }
        let is_dockerfile = |path: &str| self.node.variants.iter().any(|variant| variant.dockerfile.as_str() == path);
        let mut files = self.planner.repository.context(self.node)?;
        files.retain(|file| file.path == self.variant.dockerfile.as_str() || !is_dockerfile(&file.path));
        Ok(files)
    }

    fn build_args(
        &self,
        version: &str,
        sources: &BTreeMap<String, Pin>,
        epoch: u64,
    ) -> Result<BTreeMap<String, String>> {
        let Self { node, variant, overrides, .. } = self;
        refuse_reserved(node.build_args.keys().chain(variant.build_args.keys()))?;
        let mut args = node.build_args.clone();
        args.extend(variant.build_args.clone());
        args.extend(overrides.build_args.clone());
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
}

fn fill_reference(reference: &Pattern, version: &str) -> Result<String> {
    reference.render(&tera::context! { version }).context("the pattern `ref`")
}

fn refuse_reserved<'a>(mut keys: impl Iterator<Item = &'a String>) -> Result<()> {
    if let Some(key) = keys.find(|key| RESERVED.contains(&key.as_str())) {
        bail!("the build argument {key} is set by this program, from --base, --source, --version and --no-cache");
    }
    Ok(())
}

/// `SOURCE_DATE_EPOCH` (<https://reproducible-builds.org/specs/source-date-epoch/>), else the time of the source's
/// commit, else a fixed time.
fn epoch(main: Option<&Pin>) -> Result<u64> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return given.parse().with_context(|| format!("SOURCE_DATE_EPOCH must be a number of seconds, not `{given}`"));
    }
    Ok(if let Some(Pin::Git(pin)) = main { pin.time } else { FIXED_EPOCH })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::tests::{repository, write};

    fn recipe(root: &Path, node: &str) -> String {
        let (ui, repository) = (Ui::new(false), Repository::open(root).unwrap());
        let node = repository.node(Some(node)).unwrap();
        let planner = Planner::new(&ui, &repository, root).unwrap();
        let plan = planner.plan(node, &node.variants[0], &Overrides::default(), Network::Unused).unwrap();
        plan.unwrap().recipe.hex().to_owned()
    }

    #[test]
    fn a_change_to_a_shared_file_changes_the_recipes_of_the_nodes_that_use_it_alone() {
        let folder = repository();
        let recipes = || (recipe(folder.path(), "one"), recipe(folder.path(), "two"));
        let before = recipes();
        write(folder.path(), "common/unused", "changed");
        assert_eq!(recipes(), before);
        write(folder.path(), "common/shell/lib/say.sh", "changed");
        let after = recipes();
        assert_ne!(after.0, before.0);
        assert_eq!(after.1, before.1);
    }
}
