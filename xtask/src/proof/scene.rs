//! Plays a scene: sets the nodes up with their links, then goes through the steps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::lab::{Asked, Bridge, Node};
use crate::proof::judge::{Expected, fill_all};
use crate::proof::{Act, Outcome, Row, Shipped, Stage, crash};
use catalog::names::Name;
use catalog::scene::{Check, Rewrite, SceneNode, Step};

/// The pause between two tries of a check.
const PAUSE: Duration = Duration::from_millis(250);

/// The nodes of a scene that runs.
pub(super) struct Scene<'a> {
    pub stage: &'a Stage<'a>,
    name: &'a str,
    nodes: BTreeMap<String, Node>,
    pub rows: Vec<Row>,
}

/// Yields a row for each check. What goes wrong on the way is a row, too.
pub(super) async fn play(stage: &Stage<'_>, act: &Act) -> Vec<Row> {
    let mut scene = Scene { stage, name: &act.scene.name, nodes: BTreeMap::new(), rows: Vec::new() };
    let since = Instant::now();
    match scene.set_up(act).await {
        Ok(Ready::Yes { without }) => {
            scene.put("all nodes boot", Outcome::Passed, since, without);
            scene.go_through(&act.scene.steps).await;
        }
        Ok(Ready::No { lacking }) => scene.put("all nodes boot", Outcome::NotProvable, since, lacking),
        Err(error) => scene.put("all nodes boot", Outcome::Failed, since, format!("{error:#}")),
    }
    scene.take_down().await;
    scene.rows
}

/// Whether the nodes of a scene run.
enum Ready {
    /// Perhaps without something that their definitions ask for. That it is not proved stands with the node as shipped.
    Yes { without: String },
    /// This host lacks something.
    No { lacking: String },
}

impl Scene<'_> {
    pub(super) fn put(&mut self, check: &str, outcome: Outcome, since: Instant, said: String) {
        let (scene, check) = (self.name.to_owned(), check.to_owned());
        self.rows.push(Row { scene, check, outcome, time: since.elapsed(), said });
    }

    /// Boots all nodes at once, unless this host lacks something for one of them.
    async fn set_up(&mut self, act: &Act) -> Result<Ready> {
        let lab = self.stage.lab;
        let mut plugs: BTreeMap<&str, Vec<Bridge>> = BTreeMap::new();
        for [one, other] in &act.scene.links {
            let bridge = lab.link().await?;
            plugs.entry(one.as_str()).or_default().push(bridge.clone());
            plugs.entry(other.as_str()).or_default().push(bridge);
        }
        let mut without = BTreeSet::new();
        for (name, actor) in &act.scene.nodes {
            let shipped = act.cast.get(name.as_str()).with_context(|| format!("nobody plays {name}"))?;
            let mut shipped = self.dress(shipped, actor)?;
            let lacks = lab.fit(&mut shipped.container).await?;
            if let Some(lack) = lacks.missing.into_iter().next() {
                return Ok(Ready::No { lacking: format!("{name}: {}: {}", lack.what, lack.remedy) });
            }
            without.extend(lacks.left_out.into_iter().map(|lack| format!("without {}", lack.what)));
            let image = self.stage.image(&shipped.archive).await?.image;
            let asked = Asked { name: name.to_string(), ..Asked::default() };
            let mut node = lab.create(shipped.container, &image, asked).await?;
            for bridge in plugs.remove(name.as_str()).unwrap_or_default() {
                lab.add_interface(&mut node, Some(&bridge))?;
            }
            self.nodes.insert(name.to_string(), node);
        }
        let starts = self.nodes.values_mut().map(async |node| {
            let booted = lab.start(node).await?;
            match booted.day0 {
                Some(day0) if day0.code != 0 => Err(anyhow!(
                    "day0cmd of {} exited with {}:\n{}",
                    node.name,
                    day0.code,
                    crate::lab::tail(&day0.text)
                )),
                _ => Ok(()),
            }
        });
        for started in futures_util::future::join_all(starts).await {
            started?;
        }
        Ok(Ready::Yes { without: without.into_iter().collect::<Vec<_>>().join("\n") })
    }

    /// A node's definition as the scene has it.
    fn dress(&self, shipped: &Shipped, actor: &SceneNode) -> Result<Shipped> {
        let mut shipped = shipped.clone();
        for (file, content) in &actor.files {
            shipped.container.set_file(file, content.render(&self.stage.subject.context)?)?;
        }
        for argument in &actor.without {
            shipped.container.config.docker.remove_argument(argument)?;
        }
        Ok(shipped)
    }

    async fn go_through(&mut self, steps: &[Step]) {
        for step in steps {
            let since = Instant::now();
            let done = match step {
                Step::Check(check) => self.check(check).await,
                Step::Crash(crash) => crash::play(self, crash).await,
                Step::Restart(node) => self.again(node, false).await,
                Step::Recreate(node) => self.again(node, true).await,
                Step::Rewrite(rewrite) => self.rewrite(rewrite).await,
            };
            if let Err(error) = done {
                // What follows builds on it.
                self.put(&name_of(step), Outcome::Failed, since, format!("{error:#}"));
                return;
            }
        }
    }

    async fn check(&mut self, check: &Check) -> Result<()> {
        let since = Instant::now();
        let context = &self.stage.subject.context;
        let (words, expected) = (fill_all(&check.run, context)?, Expected::of(&check.expected, context)?);
        let fault = loop {
            let output = self.stage.lab.exec(self.node(&check.on)?, &words).await?;
            match expected.fault(&output) {
                Some(_) if since.elapsed() < check.within => tokio::time::sleep(PAUSE).await,
                fault => break fault,
            }
        };
        let outcome = if fault.is_none() { Outcome::Passed } else { Outcome::Failed };
        let said = fault.map(|fault| format!("on {}, `{}`: {fault}", check.on, words.join(" "))).unwrap_or_default();
        self.put(&check.name, outcome, since, said);
        Ok(())
    }

    async fn again(&mut self, name: &Name, anew: bool) -> Result<()> {
        let lab = self.stage.lab;
        let node = self.node_mut(name)?;
        if anew {
            lab.recreate(node).await?
        } else {
            lab.restart(node).await?
        };
        Ok(())
    }

    async fn rewrite(&mut self, rewrite: &Rewrite) -> Result<()> {
        let lab = self.stage.lab;
        let words = fill_all(&rewrite.from.run, &self.stage.subject.context)?;
        let output = lab.exec(self.node(&rewrite.from.on)?, &words).await?;
        anyhow::ensure!(output.code == 0, "on {}, `{}`: {}", rewrite.from.on, words.join(" "), output.text.trim());
        lab.rewrite(self.node_mut(&rewrite.of)?, &rewrite.file, output.text).await
    }

    fn node(&self, name: &Name) -> Result<&Node> {
        self.nodes.get(name.as_str()).with_context(|| format!("the scene has no node {name}"))
    }

    /// For a step that works with several nodes at the same time; [`Self::put_back`] follows.
    pub(super) fn take(&mut self, name: &Name) -> Result<Node> {
        self.nodes.remove(name.as_str()).with_context(|| format!("the scene has no node {name}, or names it twice"))
    }

    pub(super) fn put_back(&mut self, node: Node) {
        self.nodes.insert(node.name.clone(), node);
    }

    fn node_mut(&mut self, name: &Name) -> Result<&mut Node> {
        self.nodes.get_mut(name.as_str()).with_context(|| format!("the scene has no node {name}"))
    }

    /// Makes room for the next scene; what can't be removed now goes with the lab.
    async fn take_down(&self) {
        if self.stage.lab.is_lasting() {
            return;
        }
        let removals = self.nodes.values().map(|node| self.stage.lab.engine.remove_container(node.id()));
        futures_util::future::join_all(removals).await;
    }
}

fn name_of(step: &Step) -> String {
    match step {
        Step::Check(check) => check.name.clone(),
        Step::Crash(crash) => crash.name.clone(),
        Step::Restart(node) => format!("{node} restarts"),
        Step::Recreate(node) => format!("{node} is created anew"),
        Step::Rewrite(rewrite) => format!("{} of {} is rewritten", rewrite.file, rewrite.of),
    }
}
