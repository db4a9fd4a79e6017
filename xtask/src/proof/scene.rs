//! Runs a scene: starts its nodes with their links, then goes through the steps.

use std::time::Duration;

use anyhow::Result;

use crate::lab::{COMMAND_LIMIT, unwritable};
use crate::proof::crash;
use crate::proof::expected::{Expected, fill_all};
use crate::proof::report::{Outcome, Row};
use crate::proof::shipped::ENOUGH_MEMORY;
use crate::proof::subject::{SceneSetup, Testbed};
use crate::proof::topology::Topology;
use catalog::scene::{Check, Rewrite, Step};
use retry::Retry;

/// The first check of every scene.
const BOOT: &str = "all nodes boot";

/// The pause between two attempts of a check.
const PAUSE: Duration = Duration::from_millis(250);

/// Yields a row for each check. An error on the way is a row, too. `begin` is told of each step.
pub(super) async fn run(testbed: &Testbed<'_>, setup: &SceneSetup, begin: impl Fn(&str)) -> Vec<Row> {
    let mut topology = Topology::new(testbed, &setup.scene.name);
    begin(BOOT);
    let (outcome, message) =
        topology.start(setup).await.unwrap_or_else(|error| (Outcome::Failed, format!("{error:#}")));
    topology.rows.add_outcome(BOOT, outcome, message);
    if outcome == Outcome::Passed {
        run_steps(&mut topology, &setup.scene.steps, begin).await;
    }
    for outgrown in topology.outgrown().await {
        topology.rows.add(ENOUGH_MEMORY, Some(outgrown), None);
    }
    topology.remove().await;
    topology.rows.rows
}

async fn run_steps(topology: &mut Topology<'_>, steps: &[Step], begin: impl Fn(&str)) {
    for step in steps {
        begin(&name_of(step));
        topology.rows.restart_clock();
        let lab = topology.testbed.lab;
        let done = match step {
            Step::Check(step) => check(topology, step).await,
            Step::Crash(step) => crash::run(topology, step).await,
            Step::Restart(name) => async { lab.restart(topology.node(name)?).await.map(drop) }.await,
            Step::Recreate(name) => async { lab.recreate(topology.node(name)?).await.map(drop) }.await,
            Step::Rewrite(step) => rewrite(topology, step).await,
        };
        if let Err(error) = done {
            // The following steps depend on this one.
            topology.rows.add_outcome(&name_of(step), Outcome::Failed, format!("{error:#}"));
            return;
        }
    }
}

/// Repeats the check's command until its output is as expected, or the time is over.
async fn check(topology: &mut Topology<'_>, check: &Check) -> Result<()> {
    let context = &topology.testbed.subject.context;
    let (args, expected) = (fill_all(&check.run, context)?, Expected::of(&check.expected, context)?);
    let (lab, node) = (topology.testbed.lab, topology.node(&check.on)?);
    let mut retry = Retry::within(check.within, PAUSE);
    let limit = check.within.max(COMMAND_LIMIT);
    let problem = loop {
        let output = lab.exec_within(limit, node, &args).await?;
        match expected.problem(&output) {
            Some(_) if retry.pause().await => {}
            problem => break problem.map(|problem| format!("{problem}{}", unwritable(&node.container, &output.text))),
        }
    };
    let problem = problem.map(|problem| format!("on {}, `{}`: {problem}", check.on, args.join(" ")));
    topology.rows.add(&check.name, problem, None);
    Ok(())
}

async fn rewrite(topology: &mut Topology<'_>, rewrite: &Rewrite) -> Result<()> {
    let lab = topology.testbed.lab;
    let args = fill_all(&rewrite.from.run, &topology.testbed.subject.context)?;
    let output = lab.exec(topology.node(&rewrite.from.on)?, &args).await?;
    anyhow::ensure!(output.code == 0, "on {}, `{}`: {}", rewrite.from.on, args.join(" "), output.text.trim());
    lab.rewrite(topology.node(&rewrite.of)?, &rewrite.file, output.text).await
}

fn name_of(step: &Step) -> String {
    match step {
        Step::Check(check) => check.name.clone(),
        Step::Crash(crash) => crash.name.clone(),
        Step::Restart(node) => format!("{node} restarts"),
        Step::Recreate(node) => format!("{node} is recreated"),
        Step::Rewrite(rewrite) => format!("{} of {} is rewritten", rewrite.file, rewrite.of),
    }
}
