//! The steps of a build as they start, what they print, how they end. Each way of building has a
//! story of its own, which is told to the same list of steps.

mod buildah;
mod buildkit;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bollard::models::{BuildInfo, BuildInfoAux};
use indicatif::ProgressBar;

use crate::engine::abilities::Abilities;
use buildah::Buildah;
use buildkit::BuildKit;
use ui::Ui;

/// How many lines of a step's output are kept for the case that it fails.
const LOG_LINES: usize = 30;
/// Columns that a step's name may fill in a pipe.
const WIDTH: usize = 100;

/// Shows the steps of one build.
pub struct Progress<'a>(Story<'a>);

enum Story<'a> {
    BuildKit(BuildKit<'a>),
    Buildah(Buildah<'a>),
}

/// The step that made a build fail.
#[derive(Debug, PartialEq, Eq)]
pub struct FailedStep {
    pub name: String,
    /// The line of the Dockerfile, if the engine's story tells it.
    pub line: Option<usize>,
    pub log: Vec<String>,
    /// The engine did not tell which of several steps printed this.
    pub shared_log: bool,
}

impl<'a> Progress<'a> {
    /// For an engine that builds this Dockerfile with these arguments.
    pub fn new(ui: &'a Ui, abilities: &Abilities, dockerfile: &str, args: &BTreeMap<String, String>) -> Self {
        let steps = Steps::new(ui);
        Self(if abilities.has_buildkit() {
            Story::BuildKit(BuildKit::new(steps))
        } else {
            Story::Buildah(Buildah::new(steps, dockerfile, args))
        })
    }

    /// Takes in one message of the engine.
    pub fn update(&mut self, message: BuildInfo) {
        match (&mut self.0, message) {
            (Story::BuildKit(story), BuildInfo { aux: Some(BuildInfoAux::BuildKit(status)), .. }) => {
                story.update(status);
            }
            (Story::Buildah(story), BuildInfo { stream: Some(text), .. }) => story.update(&text),
            _ => {}
        }
    }

    /// To be called every few seconds. In a pipe, says now and then that a long step is still running.
    pub fn heartbeat(&mut self) {
        match &mut self.0 {
            Story::BuildKit(story) => story.steps.heartbeat(),
            Story::Buildah(story) => story.heartbeat(),
        }
    }

    /// The step that failed with this error of the engine, with the end of its output.
    pub fn failed(&mut self, error: &str) -> Option<FailedStep> {
        match &mut self.0 {
            Story::BuildKit(story) => story.steps.failed(),
            Story::Buildah(story) => story.failed(error),
        }
    }
}

/// The steps of a build, by a key that the engine's story gives them.
struct Steps<'a> {
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

/// How a step ended.
enum End {
    Done(Duration),
    Cached,
    /// Because of another one's failure.
    Stopped,
    Failed,
}

impl<'a> Steps<'a> {
    fn new(ui: &'a Ui) -> Self {
        Self { ui, steps: HashMap::new(), beat: Instant::now() }
    }

    fn know(&mut self, key: &str, name: &str) -> &mut Step {
        self.steps.entry(key.to_owned()).or_insert_with(|| Step::new(name))
    }

    fn begin(&mut self, key: &str) {
        let Some(step) = self.steps.get_mut(key) else { return };
        if step.since.is_none() && !step.done && is_of_interest(&step.name) {
            step.since = Some(Instant::now());
            step.bar = self.ui.is_terminal().then(|| self.ui.spinner(format!("{:>12}{}", "", step.name)));
        }
    }

    fn end(&mut self, key: &str, how: &End) {
        let Some(step) = self.steps.get_mut(key) else { return };
        if step.done || !is_of_interest(&step.name) {
            return;
        }
        step.done = true;
        if let Some(bar) = step.bar.take() {
            bar.finish_and_clear();
        }
        let how = match how {
            End::Done(time) => format!("{:>10}", text::duration(*time)),
            End::Cached => self.ui.paint("2", &format!("{:>10}", "cached")),
            End::Stopped => format!("{:>10}", "stopped"),
            End::Failed => self.ui.paint("1;31", &format!("{:>10}", "FAILED")),
        };
        self.ui.note(format_args!("{how}  {}", clip(&step.name)));
    }

    /// What a step printed. Only if it is said aloud is it shown now.
    fn log(&mut self, key: &str, bytes: &[u8], aloud: bool) {
        let Some(step) = self.steps.get_mut(key) else { return };
        step.partial.extend_from_slice(bytes);
        while let Some(end) = step.partial.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = step.partial.drain(..=end).collect();
            let line = printable(&String::from_utf8_lossy(&line));
            if aloud && self.ui.is_verbose() {
                self.ui.note(format_args!("{:>13}{line}", ""));
            }
            step.keep(line);
        }
    }

    /// In a pipe, says now and then that a long step is still running.
    fn heartbeat(&mut self) {
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
                text::duration(since.elapsed()),
                clip(&step.name),
                "",
                clip(last)
            ));
        }
    }

    /// The step that failed, with the end of its output.
    fn failed(&mut self) -> Option<FailedStep> {
        // Steps that were stopped because of the failure bear "context canceled".
        let failed = |step: &&mut Step| !step.error.is_empty() && !step.error.contains("context canceled");
        let step = self.steps.values_mut().find(failed)?;
        let rest = std::mem::take(&mut step.partial);
        if !rest.is_empty() {
            step.keep(printable(&String::from_utf8_lossy(&rest)));
        }
        let log = step.log.iter().cloned().collect();
        Some(FailedStep { name: step.name.clone(), line: None, log, shared_log: false })
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

    fn keep(&mut self, line: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{:>12}{}: {line}", "", clip(&self.name)));
        }
        self.log.push_back(line);
        if self.log.len() > LOG_LINES {
            self.log.pop_front();
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

/// Engines repeat the whole instruction in their error; the person has seen its place.
pub fn reason(error: &str) -> &str {
    let error = error.trim();
    buildkit::reason(error).or_else(|| buildah::reason(error)).unwrap_or(error)
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
    fn an_error_without_an_instruction_is_told_whole() {
        let parser = "dockerfile parse error line 3: unknown instruction: RUM";
        assert_eq!(reason(parser), parser);
    }

    #[test]
    fn long_steps_are_clipped_to_a_line() {
        assert_eq!(clip(&"x".repeat(500)).chars().count(), WIDTH);
        assert_eq!(one_line("RUN a &&     b"), "RUN a && b");
    }
}
