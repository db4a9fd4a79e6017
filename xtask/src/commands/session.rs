//! What every command on nodes works with: the repository, `dist/`, the cache and the way to an engine.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use crate::dist::Dist;
use crate::engine::connect::find::EngineChoice;
use crate::engine::connect::find::Finder;
use crate::engine::{Engine, Unreachable};
use crate::setup;
use crate::setup::Consent;
use catalog::{Manifest, Planner, Repository, manifest};
use definitions::{lint, yaml};
use ui::Ui;

pub struct Session<'a> {
    pub ui: &'a Ui,
    pub repository: Repository,
    pub dist: Dist,
    pub cache: PathBuf,
    finder: Finder,
    /// Whether what is missing on this machine was asked for already.
    is_set_up: Cell<bool>,
}

impl<'a> Session<'a> {
    /// Opens the repository at `root`, else the one around the working directory.
    pub fn open(ui: &'a Ui, root: Option<&Path>, finder: &Finder) -> Result<Self> {
        let root = root.map_or_else(Repository::find_root, |root| Ok(root.to_owned()))?;
        let mut repository = Repository::open(&root)?;
        for (node, why) in wrongly_silenced(&repository) {
            repository.refuse(&node, why);
        }
        let dist = Dist::at(repository.root.join("dist"));
        dist.refuse_links()?;
        let (cache, finder) = (finder.cache.clone(), finder.clone());
        Ok(Self { ui, repository, dist, cache, finder, is_set_up: Cell::new(false) })
    }

    /// The same cache and engine, for the repository at `root`, whose results go to `dist`.
    pub(crate) fn elsewhere<'b>(&self, ui: &'b Ui, root: &Path, dist: &Path) -> Result<Session<'b>> {
        Ok(Session {
            ui,
            repository: Repository::open(root)?,
            dist: Dist::at(dist.to_owned()),
            cache: self.cache.clone(),
            finder: self.finder.clone(),
            is_set_up: self.is_set_up.clone(),
        })
    }

    /// The same on another engine.
    pub(crate) fn with_engine(&self, choice: EngineChoice) -> Result<Self> {
        let finder = Finder::new(choice, self.cache.clone());
        let is_set_up = Cell::new(false);
        Ok(Self { finder, is_set_up, ..self.elsewhere(self.ui, &self.repository.root, &self.dist.root)? })
    }

    /// The command's engine: one connection, however often it is asked for.
    pub(crate) async fn engine(&self) -> Result<Engine> {
        self.engine_if_any().await.map_err(Unreachable::explain)
    }

    /// The same, for commands that can do without an engine.
    pub(crate) async fn engine_if_any(&self) -> Result<Engine, Unreachable> {
        self.finder.connect(self.ui).await
    }

    /// The command's engine, after installing and starting what is missing, with consent.
    pub(crate) async fn ensure_engine(&self, consent: Consent) -> Result<Engine> {
        if self.is_set_up.get() {
            return self.engine().await;
        }
        let engine = setup::ensure_engine(self.ui, consent, &self.finder).await?;
        self.is_set_up.set(true);
        Ok(engine)
    }

    /// Disconnects from the engine: an embedded one ends with its last user.
    pub(crate) fn disconnect(&self) {
        self.finder.forget();
    }

    /// Names the folders that somebody may take for nodes, for commands on all nodes.
    pub(crate) fn warn_of_folders_without_manifest(&self) {
        for name in self.repository.passed_over() {
            let name = text::printable_line(name);
            self.ui.warn(format_args!(
                "docker/{name} has no {}, so it is no node: write one (docs/manifest.md), or move the folder away",
                manifest::MANIFEST
            ));
        }
    }

    pub fn planner(&self) -> Result<Planner<'_>> {
        Planner::new(self.ui, &self.repository, &self.cache)
    }
}

/// The nodes whose manifests silence a rule which does not exist, or which CML itself enforces.
fn wrongly_silenced(repository: &Repository) -> Vec<(String, String)> {
    let check = |node: &Manifest| -> Result<()> {
        for (index, silenced) in node.silenced.iter().enumerate() {
            let path = repository.folder(node).join("node.yaml");
            let place = || place(repository, &path, index);
            let rule = lint::rule(&silenced.rule).map_err(|message| anyhow!("{}: {message}", place()))?;
            if rule.id.starts_with("schema") {
                bail!("{}: `{}` cannot be silenced: CML refuses such a definition", place(), rule.id);
            }
        }
        Ok(())
    };
    let wrong = |node: &Manifest| Some((node.node.to_string(), check(node).err()?.to_string()));
    repository.nodes().filter_map(wrong).collect()
}

/// Where the manifest names the rule: file, line, column and key.
fn place(repository: &Repository, path: &Path, index: usize) -> String {
    let document = repository.tree.read(path, manifest::LARGEST).ok().and_then(|bytes| yaml::read(&bytes).ok());
    let entry = document.as_ref().and_then(|document| document.root.get("silenced")?.list()?.get(index)?.get("rule"));
    let mark = entry.map_or(yaml::Mark::START, |node| node.at);
    format!("{}:{mark}: silenced[{index}].rule", path.display())
}
