//! Kills nodes again and again while they are at work, and checks that they start properly afterwards.

use std::time::{Duration, Instant};

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

/// From when until when the kill may come, so that it falls into the command's work as well as after its end, on a
/// fast machine and on a slow one: up to one and a half times as late as the command was last seen to end, a tenth
/// later after each kill that came before the end, and never later than the scene allows.
struct Window {
    limit: Duration,
    latest: Duration,
}

impl Window {
    fn new(limit: Duration) -> Self {
        Self { limit, latest: limit }
    }

    /// A moment in it, by chance.
    fn moment(&self) -> Duration {
        self.latest.mul_f64(fastrand::f64())
    }

    /// Learns when the command ended, or that it had not ended when the node was killed.
    fn learn(&mut self, end: Option<Duration>) {
        let latest = end.map_or(self.latest.mul_f64(1.1), |end| end.mul_f64(1.5));
        self.latest = latest.min(self.limit);
    }
}

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
    let mut window = Window::new(crash.within);
    for round in 1..=rounds {
        let outcome = run_round(testbed, node, (crash, window.moment()), round).await;
        match outcome.with_context(|| format!("{}, round {round}", node.name))? {
            Ok(end) => {
                cut_off += u32::from(end.is_none());
                window.learn(end);
            }
            Err(problem) => return Ok(Err(format!("{}, round {round}, {problem}", node.name))),
        }
    }
    Ok(Ok(cut_off))
}

/// After what time the command ended, if it ended before the node was killed at this moment; or what is wrong.
async fn run_round(
    testbed: &Testbed<'_>,
    node: &mut Node,
    (crash, moment): (&Crash, Duration),
    round: u32,
) -> Checked<Option<Duration>> {
    let lab = testbed.lab;
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
    let begin = Instant::now();
    let end = tokio::time::timeout(moment, command.end()).await.ok().map(|_| begin.elapsed());
    lab.kill(node).await?;
    lab.revive(node).await?;
    let Some(then) = &crash.then else { return Ok(Ok(end)) };
    let output = lab.exec(node, &fill_all(&then.run, &context)?).await?;
    Ok(match Expected::of(&then.expected, &context)?.problem(&output) {
        Some(problem) => Err(format!("killed after {} ms: {problem}", moment.as_millis())),
        None => Ok(end),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_follow_the_time_that_the_command_takes() {
        let mut window = Window::new(Duration::from_millis(400));
        assert_eq!(window.latest, Duration::from_millis(400));
        window.learn(Some(Duration::from_millis(100)));
        assert_eq!(window.latest, Duration::from_millis(150));
        // A slower machine, in which no command ends any more: later and later, as far as the scene allows.
        window.learn(None);
        assert_eq!(window.latest, Duration::from_millis(165));
        (0..50).for_each(|_| window.learn(None));
        assert_eq!(window.latest, Duration::from_millis(400));
        assert!((0..100).all(|_| window.moment() <= window.limit));
    }
}
