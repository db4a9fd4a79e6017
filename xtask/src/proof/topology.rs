//! The running nodes of a scene, with the links between them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;

use crate::engine::containers::exec::Output;
use crate::lab::{Bridge, MemoryUse, Node, NodeOptions, QUOTED_LINES, unwritable};
use crate::proof::report::{Outcome, Rows};
use crate::proof::subject::{SceneSetup, Shipped, Testbed};
use catalog::names::Name;
use catalog::scene::SceneNode;

pub(super) struct Topology<'a> {
    pub testbed: &'a Testbed<'a>,
    nodes: BTreeMap<String, Node>,
    /// What was checked so far.
    pub rows: Rows,
}

impl<'a> Topology<'a> {
    pub fn new(testbed: &'a Testbed<'a>, scene: &str) -> Self {
        Self { testbed, nodes: BTreeMap::new(), rows: Rows::new(scene) }
    }

    /// Boots all nodes at once. Not provable if something is missing on this host for one of them; passed even without
    /// something that their definitions ask for, since that is reported of the node as shipped.
    pub async fn start(&mut self, setup: &SceneSetup) -> Result<(Outcome, String)> {
        let lab = self.testbed.lab;
        let mut links: BTreeMap<&str, Vec<Bridge>> = BTreeMap::new();
        for [one, other] in &setup.scene.links {
            let bridge = lab.link().await?;
            links.entry(one.as_str()).or_default().push(bridge.clone());
            links.entry(other.as_str()).or_default().push(bridge);
        }
        let mut without = BTreeSet::new();
        for (name, scene_node) in &setup.scene.nodes {
            let shipped = setup.nodes.get(name.as_str()).with_context(|| format!("node {name} was not saved"))?;
            let mut shipped = self.adapt(shipped, scene_node)?;
            let unmet = lab.check_host(&mut shipped.container).await?;
            if let Some(need) = unmet.missing.into_iter().next() {
                return Ok((Outcome::NotProvable, format!("{name}: {}: {}", need.what, need.remedy)));
            }
            without.extend(unmet.left_out.into_iter().map(|need| format!("without {}", need.what)));
            let image = &self.testbed.image(&shipped.archive)?.image;
            let options = NodeOptions { name: name.to_string(), ..NodeOptions::default() };
            let mut node = lab.create(shipped.container, image, options).await?;
            for bridge in links.remove(name.as_str()).unwrap_or_default() {
                lab.add_interface(&mut node, Some(&bridge))?;
            }
            self.nodes.insert(name.to_string(), node);
        }
        let starts = self.nodes.values_mut().map(async |node| {
            let booted = lab.start(node).await?;
            if let Some(Output { code, text }) = booted.day0.filter(|day0| day0.code != 0) {
                let (name, why) = (&node.name, unwritable(&node.container, &text));
                bail!("day0cmd of {name} exited with {code}:\n{}{why}", ui::tail(&text, QUOTED_LINES));
            }
            Ok(())
        });
        join_all(starts).await.into_iter().collect::<Result<()>>()?;
        Ok((Outcome::Passed, without.into_iter().collect::<Vec<_>>().join("\n")))
    }

    /// A node with the changes that the scene makes to its definition.
    fn adapt(&self, shipped: &Shipped, scene_node: &SceneNode) -> Result<Shipped> {
        let mut shipped = shipped.clone();
        for (file, content) in &scene_node.files {
            shipped.container.set_file(file, content.render(&self.testbed.subject.context)?)?;
        }
        for argument in &scene_node.without {
            shipped.container.config.docker.remove_argument(argument)?;
        }
        Ok(shipped)
    }

    pub fn node(&mut self, name: &Name) -> Result<&mut Node> {
        self.nodes.get_mut(name.as_str()).with_context(|| format!("the scene has no node {name}"))
    }

    pub fn nodes_mut(&mut self, names: &[Name]) -> Vec<&mut Node> {
        let is_named = |name: &String| names.iter().any(|other| other.as_str() == name);
        self.nodes.iter_mut().filter(|(name, _)| is_named(name)).map(|(_, node)| node).collect()
    }

    /// Which nodes lost processes because they needed more memory than their definition gives them.
    pub async fn outgrown(&self) -> Vec<String> {
        let looks = self.nodes.values().map(async |node| {
            match self.testbed.lab.memory_use(node).await {
                Ok(MemoryUse::Outgrown(why)) => Some(format!("{}: {why}", node.name)),
                // Of the node as shipped, it is reported whether that can be seen.
                _ => None,
            }
        });
        join_all(looks).await.into_iter().flatten().collect()
    }

    /// Removes the containers, for the next scene; what cannot be removed now goes with the lab.
    pub async fn remove(&self) {
        if self.testbed.lab.is_lasting() {
            return;
        }
        let removals = self.nodes.values().map(|node| self.testbed.lab.engine.remove_container(&node.id));
        join_all(removals).await;
    }
}
