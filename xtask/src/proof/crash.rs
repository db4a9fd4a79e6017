//! Kills nodes again and again while they are at work, and looks at what they start with afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::join_all;

use crate::engine::containers::exec::Output;
use crate::lab::Node;
use crate::proof::judge::{Expected, fill_all, quoted};
use crate::proof::scene::Scene;
use crate::proof::{Outcome, Stage};
use catalog::scene::Crash;

/// How long a command may take to come to the point.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays all rounds, shared out among the nodes, which go through theirs at the same time; each up to
/// the first that goes wrong.
pub(super) async fn play(scene: &mut Scene<'_>, crash: &Crash) -> Result<()> {
    let since = Instant::now();
    let mut nodes = Vec::new();
    for name in &crash.on {
        nodes.push(scene.take(name)?);
    }
    let share = crash.times.div_ceil(u32::try_from(nodes.len()).unwrap_or(1));
    let stage = scene.stage;
    let tortures = nodes.iter_mut().map(|node| torture(stage, node, crash, share));
    let outcomes = join_all(tortures).await;
    for node in nodes {
        scene.put_back(node);
    }
    let (mut cut_off, mut faults) = (0, Vec::new());
    for outcome in outcomes {
        match outcome? {
            Ok(count) => cut_off += count,
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() {
        let times = share * u32::try_from(crash.on.len()).unwrap_or(1);
        let said = format!("killed {times} times, {cut_off} of them before the command had ended");
        scene.put(&crash.name, Outcome::Passed, since, said);
    } else {
        scene.put(&crash.name, Outcome::Failed, since, faults.join("\n"));
    }
    Ok(())
}

/// Yields how often the command had not ended when the node was killed, or what is wrong.
async fn torture(stage: &Stage<'_>, node: &mut Node, crash: &Crash, rounds: u32) -> Result<Result<u32, String>> {
    let mut cut_off = 0;
    for round in 1..=rounds {
        let moment = crash.within.mul_f64(fastrand::f64());
        let played = play_round(stage, node, crash, round, moment).await;
        match played.with_context(|| format!("{}, round {round}", node.name))? {
            Ok(was_at_work) => cut_off += u32::from(was_at_work),
            Err(fault) => return Ok(Err(format!("{}, round {round}, {fault}", node.name))),
        }
    }
    Ok(Ok(cut_off))
}

/// Yields whether the command had not ended when the node was killed, or what is wrong.
async fn play_round(
    stage: &Stage<'_>,
    node: &mut Node,
    crash: &Crash,
    round: u32,
    moment: Duration,
) -> Result<Result<bool, String>> {
    let lab = stage.lab;
    let mut context = stage.subject.context.clone();
    context.insert("round", &round);
    let was_at_work = match work(stage, node, crash, &context, moment).await? {
        Ok(was_at_work) => was_at_work,
        Err(fault) => return Ok(Err(fault)),
    };
    lab.kill(node).await?;
    lab.revive(node).await?;
    let Some(then) = &crash.then else { return Ok(Ok(was_at_work)) };
    let output = lab.exec(node, &fill_all(&then.run, &context)?).await?;
    Ok(match Expected::of(&then.expected, &context)?.fault(&output) {
        Some(fault) => Err(format!("killed after {} ms: {fault}", moment.as_millis())),
        None => Ok(was_at_work),
    })
}

/// Has the node work up to `moment`. Yields whether it had more to do, or what is wrong.
async fn work(
    stage: &Stage<'_>,
    node: &Node,
    crash: &Crash,
    context: &tera::Context,
    moment: Duration,
) -> Result<Result<bool, String>> {
    let mut working = stage.lab.begin(node, &fill_all(&crash.run, context)?).await?;
    if let Some(once) = &crash.once {
        let mark = once.render(context)?;
        let Ok(printed) = tokio::time::timeout(PATIENCE, working.prints(&mark)).await else {
            return Ok(Err(format!("it has not printed `{mark}` for {} s", PATIENCE.as_secs())));
        };
        if !printed? {
            let Output { code, text } = working.end().await?;
            let text = quoted(&text);
            return Ok(Err(format!("it never printed `{mark}`; it exited with {code} and printed:\n{text}")));
        }
    }
    Ok(Ok(tokio::time::timeout(moment, working.end()).await.is_err()))
}
