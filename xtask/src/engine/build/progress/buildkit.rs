//! The progress that BuildKit reports: a graph of vertices, each with its times and its output.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::moby::buildkit::v1::Vertex;
use bollard::models::{BuildInfo, BuildInfoAux};
use indicatif::ProgressBar;
use ui::Ui;

use crate::engine::build::progress::log::{FailedStep, HEARTBEAT, Log, Progress, clip, one_line};

/// What steps say that were stopped because another one failed.
const CANCELED: &str = "context canceled";

pub struct BuildKit<'a> {
    ui: &'a Ui,
    /// By the digests of their vertices.
    steps: HashMap<String, Step>,
    last_heartbeat: Instant,
}

#[derive(Default)]
struct Step {
    name: String,
    bar: Option<ProgressBar>,
    since: Option<Instant>,
    log: Log,
    done: bool,
    error: String,
}

impl<'a> BuildKit<'a> {
    pub fn new(ui: &'a Ui) -> Self {
        Self { ui, steps: HashMap::new(), last_heartbeat: Instant::now() }
    }

    fn vertex(&mut self, vertex: &Vertex) {
        let step = self
            .steps
            .entry(vertex.digest.clone())
            .or_insert_with(|| Step { name: one_line(&vertex.name), ..Step::default() });
        step.error.clone_from(&vertex.error);
        if step.done || is_internal(&step.name) {
            return;
        }
        let Some(started) = vertex.started else { return };
        let Some(completed) = vertex.completed else {
            if step.since.is_none() {
                step.since = Some(Instant::now());
                step.bar = self.ui.is_terminal().then(|| self.ui.spinner(format!("{:>12}{}", "", step.name)));
            }
            return;
        };
        step.done = true;
        if let Some(bar) = step.bar.take() {
            bar.finish_and_clear();
        }
        let seconds = (completed.seconds - started.seconds) as f64 + f64::from(completed.nanos - started.nanos) / 1e9;
        let took = text::duration(Duration::from_secs_f64(seconds.max(0.0)));
        let (colour, end) = match (vertex.error.as_str(), vertex.cached) {
            ("", true) => ("2", "cached"),
            ("", false) => ("0", took.as_str()),
            (error, _) if error.contains(CANCELED) => ("0", "stopped"),
            _ => ("1;31", "FAILED"),
        };
        self.ui.marked_note(colour, &format!("{end:>10}"), format_args!(" {}", clip(&step.name)));
    }
}

impl Progress for BuildKit<'_> {
    fn show(&mut self, message: BuildInfo) {
        let Some(BuildInfoAux::BuildKit(status)) = message.aux else { return };
        status.vertexes.iter().for_each(|vertex| self.vertex(vertex));
        for log in status.logs {
            let Some(step) = self.steps.get_mut(&log.vertex) else { continue };
            for line in step.log.add(&log.msg) {
                if self.ui.is_verbose() {
                    self.ui.note(format_args!("{:>13}{line}", ""));
                }
                if let Some(bar) = &step.bar {
                    bar.set_message(format!("{:>12}{}: {line}", "", clip(&step.name)));
                }
            }
        }
    }

    fn heartbeat(&mut self) {
        if self.ui.is_terminal() || self.last_heartbeat.elapsed() < HEARTBEAT {
            return;
        }
        self.last_heartbeat = Instant::now();
        for step in self.steps.values().filter(|step| !step.done) {
            let Some(since) = step.since else { continue };
            self.ui.note(format_args!("{:>10}… {}", text::duration(since.elapsed()), clip(&step.name)));
            let last = step.log.last();
            if !last.is_empty() {
                self.ui.note(format_args!("{:>13}{last}", ""));
            }
        }
    }

    fn failed(&mut self, _error: &str) -> Option<FailedStep> {
        let has_failed = |step: &&mut Step| !step.error.is_empty() && !step.error.contains(CANCELED);
        let step = self.steps.values_mut().find(has_failed)?;
        let (stage, instruction) = instruction(&step.name);
        Some(FailedStep {
            name: step.name.clone(),
            stage: stage.map(str::to_owned),
            instruction: instruction.to_owned(),
            log: step.log.take(),
            is_log_shared: false,
        })
    }
}

/// `[build 4/9] RUN make`, in newer versions `[linux/amd64 build 4/9] RUN make`; without the stage if there is only
/// one.
fn instruction(name: &str) -> (Option<&str>, &str) {
    let Some((place, text)) = name.strip_prefix('[').and_then(|name| name.split_once("] ")) else {
        return (None, name);
    };
    (place.split_whitespace().rev().nth(1), text)
}

/// Whether it is not an instruction of the Dockerfile, so nothing that the user waits for.
fn is_internal(name: &str) -> bool {
    ["[internal]", "[auth]", "copy /context"].iter().any(|internal| name.starts_with(internal))
}

/// The reason without the step: `executor failed running [/bin/sh -c make]: exit code: 2`, in newer versions
/// `process "/bin/sh -c make" did not complete successfully: exit code: 2`.
pub fn reason(error: &str) -> Option<&str> {
    if let Some((_, rest)) = error.split_once("executor failed running [") {
        return Some(rest.rsplit_once("]: ")?.1);
    }
    Some(error.rsplit_once("\" did not complete successfully: ")?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_shown_without_the_step() {
        let error = "executor failed running [/bin/sh -c [ -f x ]: exit code: 9]: exit code: 2";
        assert_eq!(reason(error), Some("exit code: 2"));
        let error = "process \"/bin/sh -c echo \"a\"; exit 2\" did not complete successfully: exit code: 2";
        assert_eq!(reason(error), Some("exit code: 2"));
        assert_eq!(reason("no such file"), None);
    }

    #[test]
    fn the_name_of_a_step_tells_its_stage() {
        assert_eq!(instruction("[build 4/9] RUN make"), (Some("build"), "RUN make"));
        assert_eq!(instruction("[linux/amd64 stage-1 3/3] RUN make"), (Some("stage-1"), "RUN make"));
        assert_eq!(instruction("[2/3] RUN make"), (None, "RUN make"));
        assert_eq!(instruction("exporting to image"), (None, "exporting to image"));
    }
}
