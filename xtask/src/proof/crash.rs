//! Kills a node again and again while it is at work, and looks at what it starts with afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Outcome;
use super::judge::{Expected, fill_all};
use super::scene::Scene;
use crate::catalog::scene::Crash;

/// Plays all rounds, up to the first that goes wrong.
pub(super) async fn play(scene: &mut Scene<'_>, crash: &Crash) -> Result<()> {
    let since = Instant::now();
    let mut cut_off = 0;
    for round in 1..=crash.times {
        let moment = crash.within.mul_f64(fastrand::f64());
        match play_round(scene, crash, round, moment).await.with_context(|| format!("round {round}"))? {
            Round { fault: Some(fault), .. } => {
                let said = format!("round {round}, killed after {} ms: {fault}", moment.as_millis());
                scene.put(&crash.name, Outcome::Failed, since, said);
                return Ok(());
            }
            Round { was_at_work, .. } => cut_off += u32::from(was_at_work),
        }
    }
    let said = format!("killed {} times, {cut_off} of them before the command had ended", crash.times);
    scene.put(&crash.name, Outcome::Passed, since, said);
    Ok(())
}

struct Round {
    /// Whether the command had not ended when the node was killed.
    was_at_work: bool,
    fault: Option<String>,
}

async fn play_round(scene: &mut Scene<'_>, crash: &Crash, round: u32, moment: Duration) -> Result<Round> {
    let lab = scene.stage.lab;
    let mut context = scene.stage.subject.context.clone();
    context.insert("round", &round);
    let (run, then) = (fill_all(&crash.run, &context)?, fill_all(&crash.then, &context)?);
    let expected = Expected::of(&crash.wanted, &context)?;
    let node = scene.node(&crash.on)?;
    let was_at_work = {
        let working = std::pin::pin!(lab.exec(node, &run));
        tokio::time::timeout(moment, working).await.is_err()
    };
    let node = scene.node_mut(&crash.on)?;
    lab.kill(node).await?;
    lab.start(node).await?;
    let output = lab.exec(node, &then).await?;
    Ok(Round { was_at_work, fault: expected.fault(&output) })
}
