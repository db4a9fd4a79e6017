//! What is measured, and how it is printed.

use std::time::{Duration, Instant};

use anyhow::Result;

use ui::Ui;

/// One line of the result.
pub struct Figure {
    what: String,
    measured: String,
    promised: String,
}

impl Figure {
    pub fn new(what: &str, measured: impl Into<String>, promised: &str) -> Self {
        Self { what: what.to_owned(), measured: measured.into(), promised: promised.to_owned() }
    }
}

/// Prints the table.
pub fn print(ui: &Ui, figures: Vec<Figure>) -> Result<()> {
    let head = ["WHAT", "MEASURED", "PROMISED"].map(str::to_owned);
    let rows = figures.into_iter().map(|figure| [figure.what, figure.measured, figure.promised]);
    let rows: Vec<[String; 3]> = std::iter::once(head).chain(rows).collect();
    text::table(&rows).iter().try_for_each(|line| ui.result(line))
}

/// Several measurements of one thing.
#[derive(Default)]
pub struct Times(pub Vec<Duration>);

impl Times {
    pub fn add(&mut self, since: Instant) {
        self.0.push(since.elapsed());
    }

    pub fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    /// `2.8 s (2.7 s to 3.0 s)`
    pub fn describe(&self) -> String {
        let (least, most) = (self.0.iter().min(), self.0.iter().max());
        match (least, most) {
            (Some(least), Some(most)) if self.0.len() > 1 => {
                format!("{} ({} to {})", precise(self.median()), precise(*least), precise(*most))
            }
            _ => precise(self.median()),
        }
    }
}

fn precise(time: Duration) -> String {
    if time < Duration::from_secs(10) { format!("{:.2} s", time.as_secs_f64()) } else { text::duration(time) }
}

pub fn ratio(of: Duration, to: Duration) -> f64 {
    of.as_secs_f64() / to.as_secs_f64()
}
