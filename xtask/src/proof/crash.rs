//! Kills nodes again and again while they are at work, and checks that they start properly afterwards.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::join_all;

use crate::engine::containers::exec::Output;
use crate::lab::Node;
use crate::proof::expected::{Expected, fill_all, quoted};
use crate::proof::report::Outcome;
use crate::proof::subject::Testbed;
use crate::proof::topology::Topology;
use catalog::scene::Crash;

/// How long a command may take until it prints what the step waits for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What was found, or what is wrong with the node; the error is the engine's.
type Checked<T> = Result<Result<T, String>>;

/// Runs all rounds, shared out among the nodes, which go through theirs at the same time; each up to
/// the first that fails.
pub(super) async fn run(topology: &mut Topology<'_>, crash: &Crash) -> Result<()> {
    let testbed = topology.testbed;
    let nodes = topology.nodes_mut(&crash.on);
    let count = u32::try_from(nodes.len()).unwrap_or(1);
    let share = crash.times.div_ceil(count);
    let outcomes = join_all(nodes.into_iter().map(|node| run_rounds(testbed, node, crash, share))).await;
    let (mut cut_off, mut problems) = (0, Vec::new());
    for outcome in outcomes {
        match outcome? {
            Ok(count) => cut_off += count,
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        let message = format!("killed {} times, {cut_off} of them before the command had ended", share * count);
        topology.rows.add_outcome(&crash.name, Outcome::Passed, message);
    } else {
        topology.rows.add_outcome(&crash.name, Outcome::Failed, problems.join("\n"));
    }
    Ok(())
}

/// How often the command had not ended when the node was killed; or what is wrong.
async fn run_rounds(testbed: &Testbed<'_>, node: &mut Node, crash: &Crash, rounds: u32) -> Checked<u32> {
    let mut cut_off = 0;
    for round in 1..=rounds {
        let outcome = run_round(testbed, node, crash, round).await;
        match outcome.with_context(|| format!("{}, round {round}", node.name))? {
            Ok(was_at_work) => cut_off += u32::from(was_at_work),
            Err(problem) => return Ok(Err(format!("{}, round {round}, {problem}", node.name))),
        }
    }
    Ok(Ok(cut_off))
}

/// Whether the command had not ended when the node was killed; or what is wrong.
async fn run_round(testbed: &Testbed<'_>, node: &mut Node, crash: &Crash, round: u32) -> Checked<bool> {
    let (lab, moment) = (testbed.lab, crash.within.mul_f64(fastrand::f64()));
    let mut context = testbed.subject.context.clone();
    context.insert("round", &round);
    let mut command = lab.begin(node, &fill_all(&crash.run, &context)?).await?;
    if let Some(once) = &crash.once {
        let mark = once.render(&context)?;
        let Ok(printed) = tokio::time::timeout(TIMEOUT, command.prints(&mark)).await else {
            return Ok(Err(format!("it did not print `{mark}` within {} s", TIMEOUT.as_secs())));
        };
        if !printed? {
            let Output { code, text } = command.end().await?;
            let text = quoted(&text);
            return Ok(Err(format!("it never printed `{mark}`; it exited with {code} and printed:\n{text}")));
        }
    }
    let was_at_work = tokio::time::timeout(moment, command.end()).await.is_err();
    lab.kill(node).await?;
    lab.revive(node).await?;
    let Some(then) = &crash.then else { return Ok(Ok(was_at_work)) };
    let output = lab.exec(node, &fill_all(&then.run, &context)?).await?;
    Ok(match Expected::of(&then.expected, &context)?.problem(&output) {
        Some(problem) => Err(format!("killed after {} ms: {problem}", moment.as_millis())),
        None => Ok(was_at_work),
    })
}
