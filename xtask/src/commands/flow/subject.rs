//! What `verify` proves of the repository's nodes: their manifests' scenes, with the artefacts as they were saved.

use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Result, bail};

use crate::commands::args::{NodeArgs, RecipeArgs};
use crate::commands::flow::inspected::render_as;
use crate::commands::flow::saved::Saved;
use crate::commands::session::Session;
use crate::proof::{SceneSetup, Shipped, Subject};
use catalog::Manifest;
use catalog::scene::Scene;
use cml::Bundle;
use definitions::container::Container;

/// The nodes of a command, each saved once, however many scenes need it.
pub struct Subjects<'a> {
    session: &'a Session<'a>,
    recipe: &'a RecipeArgs,
    saved: Vec<(NodeArgs, Rc<Saved>)>,
}

impl<'a> Subjects<'a> {
    /// `recipe` is that of the nodes that are proved; others, in their scenes, are as their manifests say.
    pub fn new(session: &'a Session<'a>, recipe: &'a RecipeArgs) -> Self {
        Self { session, recipe, saved: Vec::new() }
    }

    /// A node with its scenes; of these only those whose name contains `filter`.
    pub async fn subject(&mut self, node: &Manifest, filter: Option<&str>) -> Result<Subject> {
        let matching = matching(node, filter)?;
        let own = self.saved(NodeArgs { recipe: self.recipe.clone(), ..NodeArgs::of(node.node.as_str()) }).await?;
        let mut scenes = Vec::new();
        for scene in matching {
            scenes.push(self.set_up(scene, &own).await?);
        }
        let plan = &own.built.plan;
        let mut context = plan.check_context();
        context.insert("id", &plan.names.id);
        let node = self.shipped(&own, &BTreeMap::new())?;
        Ok(Subject { id: own.bundle.id.clone(), node, scenes, context, stop_seconds: plan.limits.stop_seconds })
    }

    async fn set_up(&mut self, scene: &Scene, own: &Rc<Saved>) -> Result<SceneSetup> {
        let mut nodes = BTreeMap::new();
        for (name, scene_node) in &scene.nodes {
            let saved = match &scene_node.node {
                None => own.clone(),
                Some(node) => {
                    let recipe = RecipeArgs { yes: self.recipe.yes, ..RecipeArgs::default() };
                    self.saved(NodeArgs { recipe, ..NodeArgs::of(node.as_str()) }).await?
                }
            };
            nodes.insert(name.to_string(), self.shipped(&saved, &scene_node.switches)?);
        }
        Ok(SceneSetup { scene: scene.clone(), nodes })
    }

    async fn saved(&mut self, args: NodeArgs) -> Result<Rc<Saved>> {
        if let Some((_, known)) = self.saved.iter().find(|(other, _)| *other == args) {
            return Ok(known.clone());
        }
        let saved = Rc::new(Saved::up_to_date(self.session, &args).await?);
        self.saved.push((args, saved.clone()));
        Ok(saved)
    }

    /// A saved node with the switches that a scene sets.
    fn shipped(&self, saved: &Saved, switches: &BTreeMap<String, bool>) -> Result<Shipped> {
        let Bundle { id, node_definition, archive, image_id, .. } = &saved.bundle;
        let container = if switches.is_empty() {
            Container::read(&node_definition.text, id)?
        } else {
            let mut plan = saved.built.plan.clone();
            let node = self.session.repository.node(Some(&plan.node))?;
            node.switches_with(switches)?;
            plan.switches.extend(switches.clone());
            let shared = node.shared_node.as_ref().filter(|_| saved.bundle.is_shared());
            Container::read(&render_as(self.session, &plan, shared)?.with_image_id(image_id)?.node, id)?
        };
        Ok(Shipped { container, archive: archive.path.clone() })
    }
}

fn matching<'a>(node: &'a Manifest, filter: Option<&str>) -> Result<Vec<&'a Scene>> {
    let is_asked_for = |scene: &&Scene| filter.is_none_or(|text| scene.name.contains(text));
    let scenes: Vec<&Scene> = node.scenes.iter().filter(is_asked_for).collect();
    if let Some(text) = filter.filter(|_| scenes.is_empty()) {
        let known = node.scenes.iter().map(|scene| scene.name.as_str());
        bail!("{} has no scene `{text}`: {}", node.node, text::near(text, known));
    }
    Ok(scenes)
}
