//! What the checks and scenes of a manifest name: nodes, their files and arguments, and patterns. Nothing is run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, ensure};

use crate::commands::variant_definitions::{Rendering, forms};
use crate::proof::{Expected, fill_all};
use catalog::names::{Name, Pattern};
use catalog::place::Place;
use catalog::scene::{Command, Expectation, Scene, SceneNode, Step};
use catalog::{Manifest, Repository, Variant, manifest};
use definitions::container::Container;
use definitions::yaml;

/// What is wrong in the checks and scenes of a manifest, each with its place: file, line, column and path.
///
/// # Errors
/// If the manifest cannot be read any more.
pub(super) fn judge(repository: &Repository, node: &Manifest) -> Result<Vec<String>> {
    let path = repository.folder(node).join(manifest::MANIFEST);
    let text = repository.tree.read(&path, manifest::LARGEST)?;
    let document = yaml::read(&text).map_err(|problem| anyhow!("{}: {}", path.display(), problem.message))?;
    let mut judge = Judge { repository, node, containers: BTreeMap::new(), found: BTreeSet::new() };
    for variant in &node.variants {
        judge.variant(variant);
    }
    let line = |(at, why): (Place, String)| {
        let (mark, shown) = at.find(&document.root);
        text::printable_line(&format!("{}:{mark}: {shown}: {why}", path.display()))
    };
    Ok(judge.found.into_iter().map(line).collect())
}

struct Judge<'a> {
    repository: &'a Repository,
    node: &'a Manifest,
    /// Of a node with these switches, in its first variant; nothing if it cannot be rendered, which is found elsewhere.
    containers: BTreeMap<(String, BTreeMap<String, bool>), Option<Container>>,
    found: BTreeSet<(Place, String)>,
}

impl Judge<'_> {
    fn variant(&mut self, variant: &Variant) {
        let mut context = tera::context! { version => &variant.version, variant => &variant.name };
        for (index, check) in self.node.checks.iter().enumerate() {
            let at = Place::default().key("checks").index(index).key("prints");
            let filled = check.prints.as_ref().map_or(Ok(()), |pattern| some_text(pattern, &context));
            self.note(&at, filled);
        }
        // Where that is wrong, no node is read at all.
        if let Ok(names) = self.repository.names(self.node, variant, &variant.version) {
            context.insert("id", &names.id);
        }
        let node = self.node;
        for (index, scene) in node.scenes.iter().enumerate() {
            self.scene(scene, &Place::default().key("scenes").index(index), &context);
        }
    }

    fn note(&mut self, at: &Place, checked: Result<()>) {
        if let Err(error) = checked {
            self.found.insert((at.clone(), format!("{error:#}")));
        }
    }

    fn scene(&mut self, scene: &Scene, at: &Place, context: &tera::Context) {
        let mut containers = BTreeMap::new();
        for (name, node) in &scene.nodes {
            let at = at.key("nodes").key(name.as_str());
            match self.container(node) {
                Ok(container) => {
                    self.node_of_scene(node, &at, container.as_ref(), context);
                    containers.insert(name, container);
                }
                Err((key, error)) => self.note(&at.key(key), Err(error)),
            }
        }
        for (index, step) in scene.steps.iter().enumerate() {
            self.step(step, &at.key("steps").index(index), &containers, context);
        }
    }

    fn node_of_scene(&mut self, node: &SceneNode, at: &Place, container: Option<&Container>, context: &tera::Context) {
        for (file, content) in &node.files {
            let at = at.key("files").key(file);
            self.note(&at, content.render(context).map(drop));
            self.note(&at, has_file(container, file));
        }
        let Some(container) = container else { return };
        for (index, argument) in node.without.iter().enumerate() {
            let mut config = container.config.clone();
            self.note(&at.key("without").index(index), config.docker.remove_argument(argument));
        }
    }

    /// The container of a node of a scene; or the key that is wrong.
    fn container(&mut self, scene_node: &SceneNode) -> Result<Option<Container>, (&'static str, anyhow::Error)> {
        let node = match &scene_node.node {
            None => self.node,
            Some(name) => self.repository.node(Some(name.as_str())).map_err(|error| ("node", error))?,
        };
        let switches = node.switches_with(&scene_node.switches).map_err(|error| ("switches", error))?;
        let key = (node.node.to_string(), switches);
        if let Some(known) = self.containers.get(&key) {
            return Ok(known.clone());
        }
        let container = rendered(self.repository, node, &key.1).ok();
        self.containers.insert(key, container.clone());
        Ok(container)
    }

    fn step(
        &mut self,
        step: &Step,
        at: &Place,
        containers: &BTreeMap<&Name, Option<Container>>,
        context: &tera::Context,
    ) {
        match step {
            Step::Restart(_) | Step::Recreate(_) => {}
            Step::Check(check) => {
                self.note(&at.key("run"), fill_all(&check.run, context).map(drop));
                self.note(at, expected(&check.expected, context));
            }
            Step::Rewrite(rewrite) => {
                let Command { run, .. } = &rewrite.from;
                self.note(&at.key("from").key("run"), fill_all(run, context).map(drop));
                let container = containers.get(&rewrite.of).and_then(Option::as_ref);
                self.note(&at.key("rewrite"), has_file(container, &rewrite.file));
            }
            Step::Crash(crash) => {
                let mut context = context.clone();
                context.insert("round", &1);
                self.note(&at.key("run"), fill_all(&crash.run, &context).map(drop));
                self.note(&at.key("once"), crash.once.as_ref().map_or(Ok(()), |once| some_text(once, &context)));
                if let Some(then) = &crash.then {
                    self.note(&at.key("then"), fill_all(&then.run, &context).map(drop));
                    self.note(at, expected(&then.expected, &context));
                }
            }
        }
    }
}

fn expected(expectation: &Expectation, context: &tera::Context) -> Result<()> {
    Expected::of(expectation, context).map(drop)
}

fn has_file(container: Option<&Container>, file: &str) -> Result<()> {
    container.map_or(Ok(()), |container| container.clone().set_file(file, String::new()))
}

/// Fails if the text of the pattern is empty, which every output contains.
fn some_text(pattern: &Pattern, context: &tera::Context) -> Result<()> {
    ensure!(!pattern.render(context)?.is_empty(), "a text to look for becomes empty, so it checks nothing");
    Ok(())
}

fn rendered(repository: &Repository, node: &Manifest, switches: &BTreeMap<String, bool>) -> Result<Container> {
    let variant = node.variants.first().context("it has no variant")?;
    let rendering = Rendering::of(node, variant, switches, forms(node).next().flatten())?;
    let definitions = rendering.render(repository, &definitions::unknown_image_id())?;
    Container::read(&definitions.node, &rendering.names.id)
}
