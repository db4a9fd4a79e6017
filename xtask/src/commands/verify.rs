//! `cargo xtask verify`: proves that nodes work, from what would be shipped.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::commands::args::{NodeArgs, RecipeArgs};
use crate::commands::inspect;
use crate::commands::running_nodes::helper_image;
use crate::commands::save;
use crate::commands::save::Saved;
use crate::commands::session::Session;
use crate::engine::Engine;
use crate::lab::Lab;
use crate::proof;
use crate::proof::{Act, Outcome, Report, Shipped, Subject};
use crate::setup;
use crate::setup::Consent;
use catalog::scene::{Scene, SceneNode};
use catalog::{BuildPlan, Manifest};
use definitions::container::Container;

#[derive(clap::Args)]
pub struct Args {
    /// The nodes, folders of docker/ [default: frr]
    nodes: Vec<String>,
    /// Every node of the repository
    #[arg(long, conflicts_with = "nodes")]
    all: bool,
    /// Any node definition, instead of this repository's
    #[arg(long, value_name = "FILE", requires = "archive", conflicts_with_all = ["nodes", "all"])]
    definition: Option<PathBuf>,
    /// The image archive that belongs to it
    #[arg(long, value_name = "FILE", requires = "definition")]
    archive: Option<PathBuf>,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Only the scenes whose name contains this
    #[arg(long, value_name = "TEXT", conflicts_with = "definition")]
    scene: Option<String>,
    /// The result as JSON
    #[arg(long)]
    json: bool,
    /// Leave the containers of the scenes running, for a look into them
    #[arg(long)]
    keep: bool,
}

impl Args {
    /// Every node of the repository, as its manifest says.
    pub(crate) fn all(yes: bool) -> Self {
        Self {
            nodes: Vec::new(),
            all: true,
            definition: None,
            archive: None,
            recipe: RecipeArgs { yes, ..RecipeArgs::default() },
            scene: None,
            json: false,
            keep: false,
        }
    }
}

/// # Errors
/// If something fails to be proved, or can't be tried.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let subjects = subjects(session, &args).await?;
    let reports = prove_all(session, &subjects, args.recipe.consent(), args.keep).await?;
    print(session, &reports, args.json)?;
    verdict(session, &reports)
}

/// Proves one node and prints nothing of it.
///
/// # Errors
/// If it can't be tried.
pub(crate) async fn one(session: &Session<'_>, node: &NodeArgs) -> Result<Report> {
    let manifest = session.repository.node(node.node.as_deref())?;
    let subject = subject(session, &node.recipe, manifest, None).await?;
    let mut reports = prove_all(session, &[subject], node.recipe.consent(), false).await?;
    reports.pop().context("nothing was proved")
}

async fn subjects(session: &Session<'_>, args: &Args) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    if let (Some(definition), Some(archive)) = (&args.definition, &args.archive) {
        subjects.push(Subject {
            node: Shipped { container: read(definition)?, archive: archive.clone() },
            acts: Vec::new(),
            context: tera::Context::new(),
            stop_seconds: None,
        });
    }
    for node in nodes(session, args)? {
        subjects.push(subject(session, &args.recipe, node, args.scene.as_deref()).await?);
    }
    Ok(subjects)
}

async fn prove_all(session: &Session<'_>, subjects: &[Subject], consent: Consent, keep: bool) -> Result<Vec<Report>> {
    let engine = setup::engine(session.ui, consent, &session.finder).await?;
    let helper = helper_image(session, consent).await?;
    let mut reports = Vec::new();
    for subject in subjects {
        reports.push(prove(session, &engine, &helper, subject, keep).await?);
    }
    Ok(reports)
}

fn nodes<'a>(session: &'a Session<'_>, args: &Args) -> Result<Vec<&'a Manifest>> {
    if args.definition.is_some() {
        return Ok(Vec::new());
    }
    if args.all {
        return Ok(session.repository.nodes().collect());
    }
    match args.nodes.as_slice() {
        [] => session.repository.node(None).map(|node| vec![node]),
        names => names.iter().map(|name| session.repository.node(Some(name))).collect(),
    }
}

/// A node of this repository with all who play in its scenes.
async fn subject(session: &Session<'_>, recipe: &RecipeArgs, node: &Manifest, only: Option<&str>) -> Result<Subject> {
    let scenes: Vec<&Scene> =
        node.scenes.iter().filter(|scene| only.is_none_or(|text| scene.name.contains(text))).collect();
    if let Some(text) = only.filter(|_| scenes.is_empty()) {
        let known = node.scenes.iter().map(|scene| scene.name.as_str());
        anyhow::bail!("{} has no scene `{text}`: {}", node.node, text::near(text, known));
    }
    let own = NodeArgs { recipe: recipe.clone(), ..NodeArgs::of(node.node.as_str()) };
    let saved = save::up_to_date(session, &own).await?;
    let mut troupe = Troupe { session, yes: recipe.yes, saved: BTreeMap::new() };
    let mut acts = Vec::new();
    for scene in scenes {
        acts.push(troupe.cast(scene, &saved).await?);
    }
    let plan = &saved.inspected.plan;
    let mut context = plan.check_context();
    context.insert("id", &plan.names.id);
    Ok(Subject { node: shipped(session, plan)?, acts, context, stop_seconds: plan.limits.stop_seconds })
}

/// The nodes that play in scenes, each saved once.
struct Troupe<'a> {
    session: &'a Session<'a>,
    yes: bool,
    saved: BTreeMap<String, Saved>,
}

impl Troupe<'_> {
    async fn cast(&mut self, scene: &Scene, own: &Saved) -> Result<Act> {
        let mut cast = BTreeMap::new();
        for (name, actor) in &scene.nodes {
            let shipped = match &actor.node {
                None => role(self.session, own, actor)?,
                Some(node) => role(self.session, self.other(node.as_str()).await?, actor)?,
            };
            cast.insert(name.to_string(), shipped);
        }
        Ok(Act { scene: scene.clone(), cast })
    }

    async fn other(&mut self, node: &str) -> Result<&Saved> {
        if !self.saved.contains_key(node) {
            let recipe = RecipeArgs { yes: self.yes, ..RecipeArgs::default() };
            let args = NodeArgs { recipe, ..NodeArgs::of(node) };
            let saved = save::up_to_date(self.session, &args).await?;
            self.saved.insert(node.to_owned(), saved);
        }
        self.saved.get(node).with_context(|| format!("{node} was not saved"))
    }
}

/// A saved node with the switches that the scene asks for.
fn role(session: &Session<'_>, saved: &Saved, actor: &SceneNode) -> Result<Shipped> {
    if actor.switches.is_empty() {
        return shipped(session, &saved.inspected.plan);
    }
    let mut plan = saved.inspected.plan.clone();
    for (name, value) in &actor.switches {
        let known: Vec<String> = plan.switches.keys().cloned().collect();
        let switch = plan.switches.get_mut(name);
        let near = || text::near(name, known.iter().map(String::as_str));
        *switch.ok_or_else(|| anyhow!("node {} has no switch `{name}`: {}", plan.node, near()))? = *value;
    }
    let texts = inspect::render(session, &plan, &saved.inspected.record.image_id)?;
    Ok(Shipped { container: Container::read(&texts.node)?, archive: session.dist.archive(&plan.names.id) })
}

fn shipped(session: &Session<'_>, plan: &BuildPlan) -> Result<Shipped> {
    let id = &plan.names.id;
    Ok(Shipped { container: read(&session.dist.node_definition(id))?, archive: session.dist.archive(id) })
}

fn read(path: &Path) -> Result<Container> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    Container::read(&text).with_context(|| path.display().to_string())
}

async fn prove(session: &Session<'_>, engine: &Engine, helper: &str, subject: &Subject, keep: bool) -> Result<Report> {
    session.ui.headline(format_args!("verifying {}", subject.node.container.id));
    let lab = Lab::open(engine, session.ui, &session.cache, helper).await?;
    if keep {
        lab.outlive_this_process()?;
    }
    let mut report = proof::prove(&lab, subject).await?;
    if keep {
        session.ui.note("the scenes' containers run on (docker ps --filter label=cml-nodes.actor); `cargo xtask stop --all` ends them");
    } else {
        let left = lab.close().await?;
        report.left_behind(left);
    }
    report.conclude();
    Ok(report)
}

fn print(session: &Session<'_>, reports: &[Report], json: bool) -> Result<()> {
    if json {
        return session.ui.result(serde_json::to_string_pretty(reports)?);
    }
    for report in reports {
        for line in report.lines() {
            session.ui.result(line)?;
        }
    }
    Ok(())
}

fn verdict(session: &Session<'_>, reports: &[Report]) -> Result<()> {
    for report in reports {
        let (passed, unprovable) = (report.count(Outcome::Passed), report.count(Outcome::NotProvable));
        let rest = if unprovable == 0 { String::new() } else { format!(", {unprovable} not provable on this machine") };
        if report.ok {
            session.ui.note(format_args!("{} is proved: {passed} checks passed{rest}", report.id));
        }
    }
    let bad: Vec<String> = reports
        .iter()
        .filter(|report| !report.ok)
        .map(|report| {
            format!("{}: {} of {} checks failed", report.id, report.count(Outcome::Failed), report.rows.len())
        })
        .collect();
    anyhow::ensure!(bad.is_empty(), "{}", bad.join("; "));
    Ok(())
}
