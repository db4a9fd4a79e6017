//! What a proof found, as a table and as JSON.

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

/// How many failed checks are named at the end, and how many lines of the reason of each.
const MOST_NAMED: usize = 10;
const MOST_REASONS: usize = 6;
/// Of these lines, in characters: a terminal's 80, of which `dev ci` indents by some.
const WIDTH: usize = 76;

/// The result for one node.
#[derive(Debug, Serialize)]
pub struct VerifyReport {
    /// The node definition's id.
    pub id: String,
    /// Whether no row failed, and nothing kept the proof from its end.
    pub ok: bool,
    /// What ended the proof before its end, such as an engine that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub figures: Figures,
    #[serde(rename = "checks")]
    pub rows: Vec<Row>,
}

/// What was measured on the way.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// From `docker create` until the console shows what `boot.completed` names.
    #[serde(serialize_with = "seconds_if_any", rename = "ready_seconds")]
    pub ready: Option<Duration>,
    /// Bytes that the node's processes use when it is at rest.
    pub memory: Option<u64>,
    pub processes: Option<usize>,
    /// Bytes of the image in the engine.
    pub image: Option<u64>,
    #[serde(serialize_with = "seconds_if_any", rename = "stop_seconds")]
    pub stop: Option<Duration>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub scene: String,
    pub check: String,
    pub outcome: Outcome,
    #[serde(serialize_with = "seconds", rename = "seconds")]
    pub time: Duration,
    /// Why it failed or could not be proved, or a remark.
    #[serde(rename = "said")]
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    Failed,
    /// Not on this machine.
    NotProvable,
}

/// The rows of one scene. The time of each is that since the row before it.
pub(super) struct Rows {
    scene: String,
    since: Instant,
    pub rows: Vec<Row>,
}

impl Rows {
    pub fn new(scene: &str) -> Self {
        Self { scene: scene.to_owned(), since: Instant::now(), rows: Vec::new() }
    }

    /// The next check begins now, not at the end of the one before.
    pub fn restart_clock(&mut self) {
        self.since = Instant::now();
    }

    /// Adds a check: failed with a problem, else not provable with a reason for that, else passed.
    pub fn add(&mut self, check: &str, problem: Option<String>, unproved: Option<String>) {
        let (outcome, message) = match (problem, unproved) {
            (Some(problem), _) => (Outcome::Failed, problem),
            (None, Some(unproved)) => (Outcome::NotProvable, unproved),
            (None, None) => (Outcome::Passed, String::new()),
        };
        self.add_outcome(check, outcome, message);
    }

    pub fn add_outcome(&mut self, check: &str, outcome: Outcome, message: String) {
        let (scene, check, time) = (self.scene.clone(), check.to_owned(), self.since.elapsed());
        self.rows.push(Row { scene, check, outcome, time, message });
        self.restart_clock();
    }
}

impl VerifyReport {
    /// Adds what is still on the engine after everything was removed: nothing, or the row fails.
    pub fn add_leftovers(&mut self, count: usize) {
        let left = (count > 0).then(|| format!("{count} containers, volumes and images still have the lab's label"));
        let mut rows = Rows::new("afterwards");
        rows.add("nothing is left on the engine", left, None);
        self.rows.append(&mut rows.rows);
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.outcome == outcome).count()
    }

    /// Which checks failed, and the beginning of why: the last lines of a log that may be cut elsewhere.
    pub fn failures(&self) -> String {
        let failed: Vec<&Row> = self.rows.iter().filter(|row| row.outcome == Outcome::Failed).collect();
        let mut lines = vec![format!("{}: {} of {} checks failed", self.id, failed.len(), self.rows.len())];
        for Row { scene, check, message, .. } in failed.iter().take(MOST_NAMED) {
            lines.extend(text::wrapped(&format!("  {scene}: {check}"), WIDTH));
            let reasons = message.lines().map(|line| text::wrapped(&format!("    {line}"), WIDTH));
            let mut reasons: Vec<String> = reasons.flatten().take(MOST_REASONS + 1).collect();
            if reasons.len() > MOST_REASONS {
                reasons[MOST_REASONS] = "    …".to_owned();
            }
            lines.extend(reasons);
        }
        if let Some(more @ 1..) = failed.len().checked_sub(MOST_NAMED) {
            lines.push(format!("  and {more} more"));
        }
        lines.join("\n")
    }

    /// A table with a line per check; its message follows below it.
    pub fn lines(&self) -> Vec<String> {
        let mut cells = vec![["SCENE", "CHECK", "RESULT", "     TIME"].map(str::to_owned)];
        cells.extend(self.rows.iter().map(|row| {
            let result = match row.outcome {
                Outcome::Passed => "ok",
                Outcome::Failed => "FAILED",
                Outcome::NotProvable => "not provable here",
            };
            [row.scene.clone(), row.check.clone(), result.to_owned(), format!("{:>9}", text::duration(row.time))]
        }));
        let mut table = text::table(&cells).into_iter();
        let mut lines: Vec<String> = table.next().into_iter().collect();
        for (line, row) in table.zip(&self.rows) {
            lines.push(line);
            lines.extend(row.message.lines().map(|line| format!("    {line}")));
        }
        lines.extend(self.figures.lines());
        lines
    }
}

impl Figures {
    fn lines(&self) -> impl Iterator<Item = String> {
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let unknown = || self.processes.map(|_| "unknown: the kernel does not report it (smaps_rollup)".to_owned());
        let figures = [
            ("create to READY", self.ready.map(seconds)),
            ("memory at rest", self.memory.map(text::size).or_else(unknown)),
            ("processes at rest", self.processes.map(|count| count.to_string())),
            ("stop", self.stop.map(seconds)),
            ("image", self.image.map(text::size)),
        ];
        figures.into_iter().filter_map(|(what, value)| Some(format!("{what:<20} {}", value?)))
    }
}

fn seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((time.as_secs_f64() * 1000.0).round() / 1000.0)
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn seconds_if_any<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    if let Some(time) = time { seconds(time, to) } else { to.serialize_none() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(messages: &[&str]) -> VerifyReport {
        let mut rows = Rows::new("two routers");
        rows.add("it boots", None, None);
        messages.iter().for_each(|message| rows.add("packets arrive", Some((*message).to_owned()), None));
        VerifyReport { id: "tiny".to_owned(), ok: false, error: None, figures: Figures::default(), rows: rows.rows }
    }

    #[test]
    fn the_failures_are_named_with_the_beginning_of_their_reasons() {
        let long = format!("on r1, `ping`: {}\n  | line\n{}", "it should print words ".repeat(5), "more\n".repeat(9));
        let text = report(&["no route", &long]).failures();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["tiny: 2 of 3 checks failed", "  two routers: packets arrive", "    no route"]);
        assert!(
            lines[4].starts_with("    on r1, `ping`: it should print") && lines.contains(&"      | line"),
            "{text}"
        );
        assert_eq!(lines.last(), Some(&"    …"));
        assert!(lines.iter().all(|line| line.chars().count() <= 80) && lines.len() == 11, "{text}");
    }

    #[test]
    fn of_many_failures_the_rest_is_counted() {
        let text = report(&["no route"; 12]).failures();
        assert_eq!(text.matches("no route").count(), 10);
        assert!(text.ends_with("\n  and 2 more"), "{text}");
        assert!(!report(&["no route"; 10]).failures().contains("more"));
    }
}
