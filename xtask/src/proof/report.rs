//! What a proof found, as a table and as JSON.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// The result for one node.
#[derive(Debug, Serialize)]
pub struct VerifyReport {
    /// The node definition's id.
    pub id: String,
    pub ok: bool,
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

/// One check.
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

impl VerifyReport {
    pub(super) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), ok: false, figures: Figures::default(), rows: Vec::new() }
    }

    /// Adds what is still on the engine after everything was removed: nothing, or the row fails.
    pub fn add_leftovers(&mut self, count: usize) {
        let (outcome, message) = match count {
            0 => (Outcome::Passed, String::new()),
            _ => (Outcome::Failed, format!("{count} containers, volumes and images still have the lab's label")),
        };
        self.rows.push(Row::new("afterwards", "nothing is left on the engine", outcome, Duration::ZERO, message));
    }

    /// Sets the verdict, when all rows are there.
    pub fn conclude(&mut self) {
        self.ok = self.count(Outcome::Failed) == 0;
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.outcome == outcome).count()
    }

    /// Which check failed first, and why.
    pub fn first_failure(&self) -> Option<String> {
        let row = self.rows.iter().find(|row| row.outcome == Outcome::Failed)?;
        Some(format!("{}: {}: {}: {}", self.id, row.scene, row.check, row.message.trim_end()))
    }

    /// A table with a line per check; its message follows below it.
    pub fn lines(&self) -> Vec<String> {
        let cells = |scene: &str, check: &str, result: &str, time: &str| {
            [scene.to_owned(), check.to_owned(), result.to_owned(), format!("{time:>9}")]
        };
        let rows =
            self.rows.iter().map(|row| cells(&row.scene, &row.check, row.outcome.word(), &text::duration(row.time)));
        let table: Vec<[String; 4]> = [cells("SCENE", "CHECK", "RESULT", "TIME")].into_iter().chain(rows).collect();
        let mut table = text::table(&table).into_iter();
        let mut lines: Vec<String> = table.next().into_iter().collect();
        for (line, row) in table.zip(&self.rows) {
            lines.push(line);
            lines.extend(row.message.lines().map(|line| format!("    {line}")));
        }
        lines.extend(self.figures.lines());
        lines
    }
}

impl Row {
    pub(super) fn new(scene: &str, check: &str, outcome: Outcome, time: Duration, message: String) -> Self {
        Self { scene: scene.to_owned(), check: check.to_owned(), outcome, time, message }
    }
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::NotProvable => "not provable here",
        }
    }
}

impl Figures {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut put = |what: &str, value: Option<String>| {
            if let Some(value) = value {
                lines.push(format!("{what:<20} {value}"));
            }
        };
        put("create to READY", self.ready.map(|time| format!("{:.2} s", time.as_secs_f64())));
        let unknown = || self.processes.map(|_| "unknown: the kernel does not report it (smaps_rollup)".to_owned());
        put("memory at rest", self.memory.map(text::size).or_else(unknown));
        put("processes at rest", self.processes.map(|count| count.to_string()));
        put("stop", self.stop.map(|time| format!("{:.2} s", time.as_secs_f64())));
        put("image", self.image.map(text::size));
        lines
    }
}

fn seconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((time.as_secs_f64() * 1000.0).round() / 1000.0)
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn seconds_if_any<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => seconds(time, to),
        None => to.serialize_none(),
    }
}
