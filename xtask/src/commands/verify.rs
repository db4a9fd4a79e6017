//! `cargo xtask verify`: proves that nodes work, from what would be shipped.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::commands::args::{NodeArgs, RecipeArgs};
use crate::commands::flow::Subjects;
use crate::commands::running_nodes::helper_image;
use crate::commands::session::Session;
use crate::lab::{HostAccess, Lab};
use crate::proof::{self, Outcome, Shipped, Subject, VerifyReport};
use crate::setup::Consent;
use definitions::container::Container;

#[derive(Default, clap::Args)]
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
    /// Only the scenes whose name contains TEXT
    #[arg(long, value_name = "TEXT", conflicts_with = "definition")]
    scene: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Leave the containers of the scenes running, to look into them
    #[arg(long)]
    keep: bool,
    /// Run nodes even if they could reach this engine's host
    #[arg(long)]
    allow_host_access: bool,
}

/// How the containers of a proof are treated.
#[derive(Clone, Copy, Default)]
struct Containers {
    /// They keep running.
    keep: bool,
    host_access: HostAccess,
}

impl Args {
    /// Every node of the repository, as its manifest says.
    pub(crate) fn all(yes: bool) -> Self {
        Self { all: true, recipe: RecipeArgs { yes, ..RecipeArgs::default() }, ..Self::default() }
    }
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let subjects = subjects(session, &args).await?;
    let containers = Containers { keep: args.keep, host_access: HostAccess::from_flag(args.allow_host_access) };
    let (reports, done) = prove(session, &subjects, args.recipe.consent(), containers).await?;
    if args.json {
        session.ui.json(&serde_json::to_string_pretty(&reports)?)?;
    } else {
        reports.iter().flat_map(VerifyReport::lines).try_for_each(|line| session.ui.result(line))?;
    }
    let verdict = verdict(session, &reports, args.scene.as_deref());
    match (done, verdict) {
        (Err(error), Err(failures)) => {
            session.ui.error(&failures);
            Err(error)
        }
        (done, verdict) => done.and(verdict),
    }
}

/// Proves one node and prints nothing about it.
pub(crate) async fn one(session: &Session<'_>, node: &NodeArgs) -> Result<VerifyReport> {
    let manifest = session.repository.node(node.node.as_deref())?;
    let subject = Subjects::new(session, &node.recipe).subject(manifest, None).await?;
    let (mut reports, done) = prove(session, &[subject], node.recipe.consent(), Containers::default()).await?;
    done?;
    reports.pop().context("nothing was verified")
}

/// In the order in which the user named them.
async fn subjects(session: &Session<'_>, args: &Args) -> Result<Vec<Subject>> {
    if let (Some(definition), Some(archive)) = (&args.definition, &args.archive) {
        let node = Shipped { container: Container::open(definition)?, archive: archive.clone() };
        let id = node.container.id.clone();
        return Ok(vec![Subject { id, node, scenes: Vec::new(), context: tera::Context::new(), stop_seconds: None }]);
    }
    let repository = &session.repository;
    let nodes = if args.all { repository.all()? } else { repository.named(&args.nodes)? };
    let mut all = Subjects::new(session, &args.recipe);
    let mut subjects = Vec::new();
    for node in nodes {
        subjects.push(all.subject(node, args.scene.as_deref()).await?);
    }
    Ok(subjects)
}

/// The reports of all nodes, or up to the one at which an error of the engine's ended the proof.
async fn prove(
    session: &Session<'_>,
    subjects: &[Subject],
    consent: Consent,
    containers: Containers,
) -> Result<(Vec<VerifyReport>, Result<()>)> {
    for container in subjects.iter().flat_map(Subject::containers) {
        containers.host_access.judge(session.ui, container)?;
    }
    let engine = session.ensure_engine(consent).await?;
    let helper = helper_image(session, consent).await?;
    let mut reports = Vec::new();
    for subject in subjects {
        session.ui.headline(format_args!("verifying {}", subject.id));
        let lab = match Lab::open(&engine, session.ui, &session.cache, &helper, containers.host_access).await {
            Ok(lab) => lab,
            Err(error) => return Ok((reports, Err(error))),
        };
        if containers.keep {
            lab.outlive_this_process()?;
        }
        let (mut report, done) = prove_one(session, lab, subject, containers.keep).await;
        report.error = done.as_ref().err().map(|error| format!("{error:#}"));
        report.ok = done.is_ok() && report.count(Outcome::Failed) == 0;
        reports.push(report);
        if done.is_err() {
            return Ok((reports, done));
        }
    }
    Ok((reports, Ok(())))
}

async fn prove_one(session: &Session<'_>, lab: Lab<'_>, subject: &Subject, keep: bool) -> (VerifyReport, Result<()>) {
    let (mut report, done) = proof::prove(&lab, subject).await;
    if keep {
        session.ui.note(
            "the scenes' containers keep running (docker ps --filter label=cml-nodes.actor); `cargo xtask stop --all` \
             removes them",
        );
        return (report, done);
    }
    match (lab.close().await, done) {
        (Ok(left), done) => {
            report.add_leftovers(left);
            (report, done)
        }
        // Why the proof ended says more than that nothing can be removed.
        (Err(left), Err(first)) => {
            session.ui.warn(format_args!("{left:#}"));
            (report, Err(first))
        }
        (Err(error), Ok(())) => (report, Err(error)),
    }
}

/// With `scene`, only the scenes with that text in their names were run, which proves no node.
fn verdict(session: &Session<'_>, reports: &[VerifyReport], scene: Option<&str>) -> Result<()> {
    let mut failed = Vec::new();
    for report in reports {
        if !report.ok {
            if report.count(Outcome::Failed) > 0 {
                failed.push(report.failures());
            }
            continue;
        }
        let rest = match report.count(Outcome::NotProvable) {
            0 => String::new(),
            count => format!(", {count} not provable on this machine"),
        };
        let passed = text::plural(report.count(Outcome::Passed), "check");
        match scene {
            None => session.ui.note(format_args!("{} is proved: {passed} passed{rest}", report.id)),
            Some(scene) => session.ui.note(format_args!(
                "{}: {passed} passed{rest}, of the node as shipped and the scenes named `{scene}`; without --scene, \
                 all scenes are run",
                report.id
            )),
        }
    }
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}
