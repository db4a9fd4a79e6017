//! The progress that Buildah reports through Podman's service: lines for people, mixed with the output of the steps.
//! Neither output nor the end of a step names its step, so lines are shown as they come.

use std::collections::BTreeMap;
use std::time::Instant;

use bollard::models::BuildInfo;
use indicatif::ProgressBar;
use ui::Ui;

use crate::engine::build::progress::log::{FailedStep, HEARTBEAT, Log, Progress, clip, one_line};

pub struct Buildah<'a> {
    ui: &'a Ui,
    since: Instant,
    last_note: Instant,
    bar: Option<ProgressBar>,
    /// The step that each stage has reached, by the stage's number.
    reached: BTreeMap<usize, Step>,
    has_stages: bool,
    /// Of all steps; of one step if there is only one stage.
    log: Log,
}

struct Step {
    number: usize,
    text: String,
}

/// A line of Buildah itself.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    /// `[2/4] STEP 3/5: RUN make`; a build of one stage leaves out `[1/1]`. Both count from 1.
    Step { stage: usize, stages: usize, number: usize, text: &'a str },
    /// `--> Using cache 5369e809…`
    Cached,
    /// `--> 5369e809fb0`, `COMMIT …`, `Successfully tagged …`
    Result,
}

impl<'a> Buildah<'a> {
    pub fn new(ui: &'a Ui) -> Self {
        let bar = ui.is_terminal().then(|| ui.spinner(format!("{:>12}building", "")));
        let now = Instant::now();
        let (reached, log) = (BTreeMap::new(), Log::default());
        Self { ui, since: now, last_note: now, bar, reached, has_stages: false, log }
    }

    fn update(&mut self, text: &str) {
        match parse(text) {
            // A step may print what looks like a line of Buildah.
            Some(Line::Step { stage, stages, number, text }) if self.is_next(stage, number) => {
                self.reached.insert(stage, Step { number, text: one_line(text) });
                self.has_stages = stages > 1;
                if !self.has_stages {
                    self.log = Log::default();
                }
                if is_shown(text) {
                    self.note(&one_line(&format!("[{stage}/{stages}] {text}")));
                }
            }
            Some(Line::Cached) => self.note("the step before is cached"),
            Some(Line::Result) => {}
            _ => self.output(text),
        }
    }

    fn is_next(&self, stage: usize, number: usize) -> bool {
        number == self.reached.get(&stage).map_or(0, |step| step.number) + 1
    }

    fn note(&mut self, line: &str) {
        self.last_note = Instant::now();
        self.ui.note(format_args!("{:>12}{}", "", clip(line)));
    }

    fn output(&mut self, text: &str) {
        for line in self.log.add(text.as_bytes()) {
            if self.ui.is_verbose() {
                self.ui.note(format_args!("{:>13}{line}", ""));
            }
            if let Some(bar) = &self.bar {
                bar.set_message(format!("{:>12}{}", "", clip(&line)));
            }
        }
    }
}

impl Progress for Buildah<'_> {
    fn show(&mut self, message: BuildInfo) {
        if let Some(text) = message.stream {
            self.update(&text);
        }
    }

    fn heartbeat(&mut self) {
        if self.bar.is_none() && self.last_note.elapsed() >= HEARTBEAT {
            let time = text::duration(self.since.elapsed());
            self.note(&format!("still building after {time}: {}", self.log.last()));
        }
    }

    fn failed(&mut self, error: &str) -> Option<FailedStep> {
        let instruction = one_line(step_in(error)?);
        let stage = self.reached.iter().find(|(_, step)| step.text == instruction).map(|(stage, _)| stage.to_string());
        let log = self.log.take();
        let is_log_shared = self.has_stages && !log.is_empty();
        Some(FailedStep { name: instruction.clone(), stage, instruction, log, is_log_shared })
    }
}

impl Drop for Buildah<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Whether the instruction takes time; others only set something.
fn is_shown(text: &str) -> bool {
    let name = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    ["RUN", "COPY", "ADD", "WORKDIR", "FROM"].contains(&name.as_str())
}

fn parse(text: &str) -> Option<Line<'_>> {
    let line = text.strip_suffix('\n').filter(|line| !line.contains('\n'))?;
    if let Some(rest) = line.strip_prefix("--> ") {
        let id = rest.strip_prefix("Using cache ").unwrap_or(rest);
        let is_id = id.len() >= 10 && id.bytes().all(|b| b.is_ascii_hexdigit());
        return is_id.then_some(if rest == id { Line::Result } else { Line::Cached });
    }
    let ((stage, stages), rest) = match line.strip_prefix('[') {
        Some(line) => {
            let (place, rest) = line.split_once("] ")?;
            (fraction(place)?, rest)
        }
        None => ((1, 1), line),
    };
    if ["COMMIT", "Successfully tagged ", "Successfully built "].iter().any(|start| rest.starts_with(start)) {
        return Some(Line::Result);
    }
    let (place, text) = rest.strip_prefix("STEP ")?.split_once(": ")?;
    Some(Line::Step { stage, stages, number: fraction(place)?.0, text })
}

/// `3/5`
fn fraction(text: &str) -> Option<(usize, usize)> {
    let (part, whole) = text.split_once('/')?;
    let (part, whole) = (part.parse().ok()?, whole.parse().ok()?);
    (1..=whole).contains(&part).then_some((part, whole))
}

/// The step in `building at STEP "RUN make": while running runtime: exit status 2`
fn step_in(error: &str) -> Option<&str> {
    let (_, rest) = error.split_once("at STEP \"")?;
    Some(rest.rsplit_once("\": while running").or_else(|| rest.split_once("\": "))?.0)
}

/// The reason without the step.
pub fn reason(error: &str) -> Option<&str> {
    let (_, rest) = error.split_once("at STEP \"")?;
    let (_, reason) = rest.rsplit_once("\": while running runtime: ").or_else(|| rest.split_once("\": "))?;
    Some(reason.split(" &imagebuilder.Step{").next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build<'a>(ui: &'a Ui, lines: &[&str]) -> Buildah<'a> {
        let mut build = Buildah::new(ui);
        lines.iter().for_each(|line| build.update(line));
        build
    }

    #[test]
    fn the_failed_step_is_named_with_its_stage_and_a_shared_log() {
        let ui = Ui::new(false);
        let lines =
            ["[2/3] STEP 1/3: FROM base AS b\n", "[1/3] STEP 1/2: FROM base AS a\n", "[1/3] STEP 2/2: RUN make a\n"];
        let mut build = build(&ui, &lines);
        build.update("--> 839c9cf71af\n");
        build.update("[2/3] STEP 2/3: RUN make b\n");
        build.update("cc: no such file\n");
        let failed = build.failed("building at STEP \"RUN make b\": while running runtime: exit status 2\n").unwrap();
        assert_eq!((failed.name.as_str(), failed.stage.as_deref()), ("RUN make b", Some("2")));
        assert_eq!(failed.log, ["cc: no such file"]);
        assert!(failed.is_log_shared);
    }

    #[test]
    fn the_log_of_a_single_stage_is_that_of_the_failed_step() {
        let ui = Ui::new(false);
        let lines = ["STEP 1/3: FROM base\n", "STEP 2/3: RUN a\n", "fine\n", "--> 839c9cf71af\n", "STEP 3/3: RUN b\n"];
        let mut build = build(&ui, &lines);
        build.update("not fine");
        let failed = build.failed("building at STEP \"RUN b\": while running runtime: exit status 2\n").unwrap();
        assert_eq!((failed.log, failed.is_log_shared), (vec!["not fine".to_owned()], false));
        assert!(build.failed("creating build container: no such host").is_none());
    }

    #[test]
    fn output_that_looks_like_buildahs_is_output() {
        let ui = Ui::new(false);
        let mut build = build(&ui, &["[1/3] STEP 1/2: FROM base AS a\n", "[1/3] STEP 2/2: RUN make a\n"]);
        let lines =
            ["[2/3] STEP 7/9: RUN x\n", "[1/3] STEP 2/2: RUN x\n", "STEP 0/0: x\n", "--> x\n", "--> abc\nabc\n"];
        lines.iter().for_each(|line| build.update(line));
        assert_eq!(build.log.take().len(), 6);
    }

    #[test]
    fn lines_of_buildah_are_recognised() {
        assert_eq!(parse("--> Using cache 97e24a5ab66652a8\n"), Some(Line::Cached));
        assert_eq!(parse("--> 97e24a5ab66\n"), Some(Line::Result));
        assert_eq!(parse("[3/3] COMMIT x\n"), Some(Line::Result));
        let step = Line::Step { stage: 1, stages: 1, number: 2, text: "RUN a: b" };
        assert_eq!(parse("STEP 2/3: RUN a: b\n"), Some(step));
        assert!(is_shown("COPY --from=a / /") && !is_shown("ENV A=b"));
    }

    #[test]
    fn the_reason_is_shown_without_the_step() {
        assert_eq!(reason("building at STEP \"RUN a\": while running runtime: exit status 3\n"), Some("exit status 3"));
        let unknown =
            "building at STEP \"COPI \": Build error: Unknown instruction: \"COPI\" &imagebuilder.Step{Env:x}\n";
        assert_eq!(reason(unknown), Some("Build error: Unknown instruction: \"COPI\""));
        assert_eq!(reason("creating build container: no such host"), None);
    }
}
