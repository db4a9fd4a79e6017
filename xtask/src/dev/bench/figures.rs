//! What is measured, and how it is printed.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

use ui::Ui;

/// One line of the result: what was measured, the measurement, and the promise.
pub type Figure = [String; 3];

pub fn figure(what: impl fmt::Display, measured: impl fmt::Display, promised: impl fmt::Display) -> Figure {
    [what.to_string(), measured.to_string(), promised.to_string()]
}

/// Prints the table.
pub fn print(ui: &Ui, figures: &[Figure]) -> Result<()> {
    let head = figure("WHAT", "MEASURED", "PROMISED");
    text::table(&[&[head], figures].concat()).iter().try_for_each(|line| ui.result(line))
}

/// Several measurements of one thing.
#[derive(Default)]
pub struct Times(pub Vec<Duration>);

impl Times {
    /// Adds the time that `work` takes.
    pub async fn measure<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let since = Instant::now();
        let result = work.await;
        self.0.push(since.elapsed());
        result
    }

    pub fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

/// `2.8 s (2.7 s to 3.0 s)`
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&precise(self.median()))?;
        match (self.0.iter().min(), self.0.iter().max()) {
            (Some(least), Some(most)) if self.0.len() > 1 => write!(f, " ({} to {})", precise(*least), precise(*most)),
            _ => Ok(()),
        }
    }
}

fn precise(time: Duration) -> String {
    if time < Duration::from_secs(10) { format!("{:.2} s", time.as_secs_f64()) } else { text::duration(time) }
}

/// How the medians compare.
pub fn ratio(of: &Times, to: &Times) -> f64 {
    of.median().as_secs_f64() / to.median().as_secs_f64()
}
