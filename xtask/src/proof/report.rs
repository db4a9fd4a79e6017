//! What a proof found, as a table and as JSON.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// What a proof found of one node.
#[derive(Debug, Serialize)]
pub struct Report {
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
    /// From `docker create` to the words on the console.
    #[serde(serialize_with = "seconds_if_any", rename = "ready_seconds")]
    pub ready: Option<Duration>,
    /// Bytes that the node's processes hold when it is at rest.
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
    /// Why it failed or could not be proved; what else there is to say.
    pub said: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    Failed,
    /// This machine can't show it.
    NotProvable,
}

impl Report {
    pub(super) fn new(id: &str) -> Self {
        Self { id: id.to_owned(), ok: false, figures: Figures::default(), rows: Vec::new() }
    }

    /// Takes over what another report of the same node has.
    pub(super) fn adopt(&mut self, other: Self) {
        self.rows.extend(other.rows);
        let Figures { memory, processes, stop, .. } = other.figures;
        self.figures = Figures { memory, processes, stop, ..std::mem::take(&mut self.figures) };
    }

    /// What was still on the engine after everything had been removed: nothing, or the row fails.
    pub fn left_behind(&mut self, count: usize) {
        self.rows.push(Row {
            scene: "afterwards".to_owned(),
            check: "nothing is left on the engine".to_owned(),
            outcome: if count == 0 { Outcome::Passed } else { Outcome::Failed },
            time: Duration::ZERO,
            said: if count == 0 { String::new() } else { format!("{count} things bore the lab's label") },
        });
    }

    /// All rows are there.
    pub fn conclude(&mut self) {
        self.ok = self.count(Outcome::Failed) == 0;
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.outcome == outcome).count()
    }

    /// One line a check, under a headline; what there is to say of it stands below.
    pub fn lines(&self) -> Vec<String> {
        let head = ["SCENE", "CHECK", "RESULT", "TIME"];
        let width = |name: &str, cell: fn(&Row) -> &str| {
            self.rows.iter().map(|row| cell(row).chars().count()).chain([name.len()]).max().unwrap_or_default()
        };
        let (scene, check) = (width(head[0], |row| &row.scene), width(head[1], |row| &row.check));
        let result = width(head[2], |row| row.outcome.word());
        let mut lines = vec![format!("{:scene$}  {:check$}  {:result$}  {:>9}", head[0], head[1], head[2], head[3])];
        for row in &self.rows {
            let (time, word) = (text::duration(row.time), row.outcome.word());
            lines.push(format!("{:scene$}  {:check$}  {word:result$}  {time:>9}", row.scene, row.check));
            lines.extend(row.said.lines().map(|line| format!("    {line}")));
        }
        lines.extend(self.figures.lines());
        lines
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
        let unknown = || self.processes.map(|_| "unknown: the kernel does not tell it (smaps_rollup)".to_owned());
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
