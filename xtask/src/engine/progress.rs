//! BuildKit's story of a build: steps as they start, what they print, how they end.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bollard::moby::buildkit::v1::{StatusResponse, Vertex};
use indicatif::ProgressBar;

use ui::{self, Ui};

/// How many lines of a step's output are kept for the case that it fails.
const LOG_LINES: usize = 30;
/// Columns that a step's name may fill in a pipe.
const WIDTH: usize = 100;

/// Shows the steps of one build.
pub struct Progress<'a> {
    ui: &'a Ui,
    steps: HashMap<String, Step>,
    beat: Instant,
}

struct Step {
    name: String,
    bar: Option<ProgressBar>,
    /// When it began to run.
    since: Option<Instant>,
    log: VecDeque<String>,
    partial: Vec<u8>,
    done: bool,
    error: String,
}

/// The step that made a build fail.
pub struct FailedStep {
    pub name: String,
    pub log: Vec<String>,
}

impl<'a> Progress<'a> {
    pub fn new(ui: &'a Ui) -> Self {
        Self { ui, steps: HashMap::new(), beat: Instant::now() }
    }

    /// Takes in one message of the engine.
    pub fn update(&mut self, status: StatusResponse) {
        for vertex in status.vertexes {
            self.vertex(&vertex);
        }
        for log in status.logs {
            self.log(&log.vertex, &log.msg);
        }
    }

    /// In a pipe, says now and then that a long step is still running.
    pub fn heartbeat(&mut self) {
        const PAUSE: Duration = Duration::from_secs(30);
        if self.ui.is_terminal() || self.beat.elapsed() < PAUSE {
            return;
        }
        self.beat = Instant::now();
        for step in self.steps.values().filter(|step| !step.done && is_of_interest(&step.name)) {
            let Some(since) = step.since else { continue };
            let last = step.log.back().map(String::as_str).unwrap_or_default();
            self.ui.note(format_args!(
                "{:>10}… {}\n{:>13}{}",
                ui::duration(since.elapsed()),
                clip(&step.name),
                "",
                clip(last)
            ));
        }
    }

    /// The step that failed, with the end of its output.
    pub fn failed(&self) -> Option<FailedStep> {
        // Steps that were stopped because of the failure bear "context canceled".
        let failed = |step: &&Step| !step.error.is_empty() && !step.error.contains("context canceled");
        let step = self.steps.values().find(failed)?;
        Some(FailedStep { name: step.name.clone(), log: step.log.iter().cloned().collect() })
    }

    fn vertex(&mut self, vertex: &Vertex) {
        let step = self.steps.entry(vertex.digest.clone()).or_insert_with(|| Step::new(&vertex.name));
        step.error.clone_from(&vertex.error);
        if step.done || !is_of_interest(&vertex.name) {
            return;
        }
        if let (Some(started), Some(completed)) = (vertex.started, vertex.completed) {
            step.done = true;
            if let Some(bar) = step.bar.take() {
                bar.finish_and_clear();
            }
            let seconds =
                (completed.seconds - started.seconds) as f64 + f64::from(completed.nanos - started.nanos) / 1e9;
            let how = match (vertex.error.as_str(), vertex.cached) {
                ("", true) => self.ui.paint("2", &format!("{:>10}", "cached")),
                ("", false) => format!("{:>10}", ui::duration(Duration::from_secs_f64(seconds.max(0.0)))),
                (error, _) if error.contains("context canceled") => format!("{:>10}", "stopped"),
                _ => self.ui.paint("1;31", &format!("{:>10}", "FAILED")),
            };
            self.ui.note(format_args!("{how}  {}", clip(&step.name)));
        } else if vertex.started.is_some() && step.since.is_none() {
            step.since = Some(Instant::now());
            step.bar = self.ui.is_terminal().then(|| self.ui.spinner(format!("{:>12}{}", "", step.name)));
        }
    }

    fn log(&mut self, vertex: &str, bytes: &[u8]) {
        let Some(step) = self.steps.get_mut(vertex) else { return };
        step.partial.extend_from_slice(bytes);
        while let Some(end) = step.partial.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = step.partial.drain(..=end).collect();
            let line = printable(&String::from_utf8_lossy(&line));
            if self.ui.is_verbose() {
                self.ui.note(format_args!("{:>13}{line}", ""));
            }
            if let Some(bar) = &step.bar {
                bar.set_message(format!("{:>12}{}: {line}", "", clip(&step.name)));
            }
            step.log.push_back(line);
            if step.log.len() > LOG_LINES {
                step.log.pop_front();
            }
        }
    }
}

impl Step {
    fn new(name: &str) -> Self {
        Self {
            name: one_line(name),
            bar: None,
            since: None,
            log: VecDeque::new(),
            partial: Vec::new(),
            done: false,
            error: String::new(),
        }
    }
}

/// The engine's own housekeeping is not what the person waits for.
fn is_of_interest(name: &str) -> bool {
    !["[internal]", "[auth]", "copy /context"].iter().any(|housekeeping| name.starts_with(housekeeping))
}

/// Output of a build is untrusted: no escape sequence of it reaches the terminal.
fn printable(text: &str) -> String {
    let last = text.trim_end().rsplit('\r').next().unwrap_or_default();
    last.chars().map(|c| if c.is_control() && c != '\t' { '·' } else { c }).collect()
}

fn one_line(text: &str) -> String {
    printable(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// One line of a pipe's width.
pub fn clip(text: &str) -> String {
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    text.chars().take(WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_of_a_build_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b]0;title\x07b\n"), "a·]0;title·b");
        assert_eq!(printable("10%\r20%\r\n"), "20%");
    }

    #[test]
    fn long_steps_are_clipped_to_a_line() {
        assert_eq!(clip(&"x".repeat(500)).chars().count(), WIDTH);
        assert_eq!(one_line("RUN a &&     b"), "RUN a && b");
    }
}
