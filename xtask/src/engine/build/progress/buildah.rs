//! Buildah's story of a build, which Podman's service tells: lines as for a person, among them the
//! output of the steps. Stages run side by side, and the end of a step is told without its name.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::engine::build::dockerfile;
use crate::engine::build::dockerfile::Stage;
use crate::engine::build::progress::{End, FailedStep, Steps};

/// The line of a step's end is followed at once by the line of its stage's next step. If it is not,
/// the step was a stage's last one.
const AT_ONCE: Duration = Duration::from_millis(250);

pub struct Buildah<'a> {
    steps: Steps<'a>,
    stages: Vec<Stage>,
    /// Where each stage is, in the stages' order.
    places: Vec<Place>,
    /// Ends of steps that are not known yet.
    loose: Vec<Loose>,
    /// "Using cache" was said, and the end of that step will be.
    cached: bool,
    /// Set when output came while several steps ran.
    shared: bool,
}

/// Where a stage is.
#[derive(Default)]
struct Place {
    /// The step that runs, counted from 1. 0 before the first.
    step: usize,
    /// How many there are.
    steps: usize,
    state: State,
    text: String,
}

#[derive(Default, PartialEq, Eq)]
enum State {
    /// Has a step that can't run yet: another stage must end first.
    #[default]
    Waits,
    Runs(Since),
    /// Its step has ended; the next is not told yet.
    Between,
    Ended,
}

type Since = Instant;

/// The end of a step of some stage.
struct Loose {
    id: String,
    at: Instant,
    cached: bool,
}

/// A line that is not a step's output.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    /// `[2/4] STEP 3/5: RUN make`; a build of one stage leaves out `[1/1]`. Stages and steps count from 1.
    Step {
        stage: usize,
        step: usize,
        steps: usize,
        text: &'a str,
    },
    /// `[4/4] COMMIT docker.io/library/x:1`
    Commit {
        stage: usize,
    },
    /// `--> Using cache 5369e809…`
    Cached,
    /// `--> 5369e809fb0`
    End {
        id: &'a str,
    },
    /// What is said when all is done.
    Result,
    Output,
}

const EXPORT: &str = "exporting to image";

impl<'a> Buildah<'a> {
    pub fn new(steps: Steps<'a>, dockerfile: &str, args: &BTreeMap<String, String>) -> Self {
        let stages = dockerfile::stages(dockerfile, args);
        let places = stages.iter().map(|_| Place::default()).collect();
        Self { steps, stages, places, loose: Vec::new(), cached: false, shared: false }
    }

    pub fn update(&mut self, text: &str) {
        match parse(text) {
            Line::Step { stage, step, steps, text } if self.is_next(stage, step, steps) => {
                self.step(stage, step, steps, text);
            }
            Line::Commit { stage } if self.is_at_end(stage) => {
                // Stages whose end was not told have ended all the same.
                for at in self.running() {
                    self.end(at, None);
                }
                self.loose.clear();
                self.places[stage - 1].state = State::Ended;
                self.steps.know(EXPORT, EXPORT);
                self.steps.begin(EXPORT);
            }
            Line::Cached => self.cached = true,
            Line::End { id } => {
                let end = Loose { id: id.to_owned(), at: Instant::now(), cached: std::mem::take(&mut self.cached) };
                self.ended(end);
            }
            Line::Result => self.export_ended(),
            // A step may print what looks like a line of the engine.
            _ => self.output(text),
        }
    }

    pub fn heartbeat(&mut self) {
        self.settle();
        self.steps.heartbeat();
    }

    /// Marks the step that this error is about.
    pub fn failed(&mut self, error: &str) -> Option<FailedStep> {
        self.settle();
        let wanted = dockerfile::without_flags(step_of_error(error).unwrap_or_default());
        let running = self.running();
        let likeness = |at: &usize| {
            let text = dockerfile::without_flags(&self.places[*at].text);
            (dockerfile::common_prefix(&text, &wanted), std::cmp::Reverse(*at))
        };
        let failed = running.iter().copied().max_by_key(likeness)?;
        for at in running {
            let how = if at == failed { End::Failed } else { End::Stopped };
            self.steps.end(&self.key(at), &how);
        }
        let (name, line) = (self.name(failed), self.line(failed));
        self.steps.know(&self.key(failed), &name).error = error.to_owned();
        let step = self.steps.failed()?;
        Some(FailedStep { line, shared_log: self.shared && !step.log.is_empty(), ..step })
    }

    fn is_next(&self, stage: usize, step: usize, steps: usize) -> bool {
        let place = stage.checked_sub(1).and_then(|at| self.places.get(at));
        place.is_some_and(|place| step == place.step + 1 && (step == 1 || steps == place.steps))
    }

    fn is_at_end(&self, stage: usize) -> bool {
        stage == self.places.len()
            && self.places.last().is_some_and(|place| place.step > 0 && place.step == place.steps)
    }

    fn step(&mut self, stage: usize, step: usize, steps: usize, text: &str) {
        let at = stage - 1;
        let before = if step == 1 { self.stages[at].base } else { Some(at) };
        if let Some(before) = before.filter(|before| matches!(self.places[*before].state, State::Runs(_))) {
            let end = self.claim(text);
            self.end(before, end);
        }
        self.places[at] = Place { step, steps, state: State::Waits, text: text.to_owned() };
        if is_shown(text, &self.stages[..at]) {
            let (key, name) = (self.key(at), self.name(at));
            self.steps.know(&key, &name);
        }
        self.go_on();
    }

    /// The end that belongs to the step before this one: of a base it bears the ID, else it was the last to be told.
    fn claim(&mut self, text: &str) -> Option<Loose> {
        let base = text.split_whitespace().nth(1).unwrap_or_default();
        let of_base = |end: &Loose| end.id.len() >= 10 && base.starts_with(&end.id);
        let found = self.loose.iter().position(of_base).or_else(|| self.loose.len().checked_sub(1))?;
        Some(self.loose.remove(found))
    }

    /// Lets steps run that need not wait any more.
    fn go_on(&mut self) {
        for at in 0..self.places.len() {
            let place = &self.places[at];
            if place.state == State::Waits && place.step > 0 && !self.must_wait(at) {
                self.places[at].state = State::Runs(Instant::now());
                self.steps.begin(&self.key(at));
            }
        }
    }

    fn must_wait(&self, at: usize) -> bool {
        let needed = dockerfile::stages_of_step(&self.stages[..at], &self.places[at].text);
        needed.iter().any(|needed| self.places[*needed].state != State::Ended)
    }

    fn running(&self) -> Vec<usize> {
        let runs = |at: &usize| matches!(self.places[*at].state, State::Runs(_));
        (0..self.places.len()).filter(runs).collect()
    }

    /// Some step has ended.
    fn ended(&mut self, end: Loose) {
        match self.running().as_slice() {
            [] => self.export_ended(),
            [only] => self.end(*only, Some(end)),
            _ => self.loose.push(end),
        }
    }

    /// Ends that no next step has claimed are those of last steps. Where a stage begins with such a stage,
    /// its first step will claim the end.
    fn settle(&mut self) {
        while self.loose.first().is_some_and(|end| end.at.elapsed() > AT_ONCE) {
            let since = |at: &usize| match self.places[*at].state {
                State::Runs(since) => Some(since),
                _ => None,
            };
            let oldest = self.running().into_iter().filter(|at| self.is_last_word(*at)).min_by_key(since);
            let Some(oldest) = oldest else { return };
            let end = self.loose.remove(0);
            self.end(oldest, Some(end));
        }
    }

    /// Whether nobody but the end itself will tell of the end of this stage's step.
    fn is_last_word(&self, at: usize) -> bool {
        let begins_with_it = |next: usize| self.stages[next].base == Some(at) && self.places[next].step == 0;
        self.places[at].step == self.places[at].steps && !(at + 1..self.stages.len()).any(begins_with_it)
    }

    /// The running step of this stage has ended.
    fn end(&mut self, at: usize, end: Option<Loose>) {
        let State::Runs(since) = self.places[at].state else { return };
        let (ended, cached) = end.map_or_else(|| (Instant::now(), false), |end| (end.at, end.cached));
        let how = if cached { End::Cached } else { End::Done(ended.saturating_duration_since(since)) };
        self.steps.end(&self.key(at), &how);
        let place = &mut self.places[at];
        place.state = if place.step == place.steps { State::Ended } else { State::Between };
        self.go_on();
    }

    fn export_ended(&mut self) {
        let since = self.steps.steps.get(EXPORT).and_then(|step| step.since);
        if let Some(since) = since {
            self.steps.end(EXPORT, &End::Done(since.elapsed()));
        }
    }

    fn output(&mut self, text: &str) {
        self.settle();
        let running = self.running();
        self.shared |= running.len() > 1;
        for (nth, at) in running.into_iter().enumerate() {
            self.steps.log(&self.key(at), text.as_bytes(), nth == 0);
        }
    }

    fn key(&self, at: usize) -> String {
        format!("{at} {}", self.places[at].step)
    }

    /// As BuildKit writes it: `[build 2/5] RUN make`
    fn name(&self, at: usize) -> String {
        let Place { step, steps, text, .. } = &self.places[at];
        if self.stages.len() == 1 {
            return format!("[{step}/{steps}] {text}");
        }
        format!("[{} {step}/{steps}] {text}", self.stages[at].name)
    }

    fn line(&self, at: usize) -> Option<usize> {
        let place = &self.places[at];
        self.stages[at].line_of(place.step, &place.text)
    }
}

/// Instructions that only note something are not what the person waits for; nor are bases that are
/// stages of the same file, which Buildah tells by their IDs.
fn is_shown(text: &str, earlier: &[Stage]) -> bool {
    let mut words = text.split_whitespace();
    match words.next().map(str::to_ascii_uppercase).as_deref() {
        Some("RUN" | "COPY" | "ADD" | "WORKDIR") => true,
        Some("FROM") => {
            let base = words.next().unwrap_or_default();
            let is_id = base.len() == 64 && base.bytes().all(|byte| byte.is_ascii_hexdigit());
            base != "scratch" && !is_id && dockerfile::stages_of_step(earlier, text).is_empty()
        }
        _ => false,
    }
}

fn parse(text: &str) -> Line<'_> {
    let Some(line) = text.strip_suffix('\n').filter(|line| !line.contains('\n')) else { return Line::Output };
    parse_line(line).unwrap_or(Line::Output)
}

fn parse_line(line: &str) -> Option<Line<'_>> {
    if let Some(rest) = line.strip_prefix("--> ") {
        let id = rest.strip_prefix("Using cache ").unwrap_or(rest);
        let is_id = id.len() >= 10 && id.bytes().all(|b| b.is_ascii_hexdigit());
        return is_id.then_some(if rest == id { Line::End { id } } else { Line::Cached });
    }
    if line.starts_with("Successfully tagged ") || line.starts_with("Successfully built ") {
        return Some(Line::Result);
    }
    let (stage, rest) = match line.strip_prefix('[') {
        Some(place) => {
            let (place, rest) = place.split_once("] ")?;
            (fraction(place)?.0, rest)
        }
        None => (1, line),
    };
    if rest.starts_with("COMMIT") {
        return Some(Line::Commit { stage });
    }
    let (place, text) = rest.strip_prefix("STEP ")?.split_once(": ")?;
    let (step, steps) = fraction(place)?;
    Some(Line::Step { stage, step, steps, text })
}

/// `3/5`
fn fraction(text: &str) -> Option<(usize, usize)> {
    let (part, whole) = text.split_once('/')?;
    let (part, whole) = (part.parse().ok()?, whole.parse().ok()?);
    (1..=whole).contains(&part).then_some((part, whole))
}

/// What Buildah says of the step in `building at STEP "RUN make": while running runtime: exit status 2`
fn step_of_error(error: &str) -> Option<&str> {
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
    use ui::Ui;

    const FILE: &str = "ARG BASE
FROM $BASE AS a
RUN make a
FROM $BASE AS b
ARG X
RUN make b
FROM scratch
COPY --from=a /a /a
COPY --from=b /b /b
ENV A=b
";

    /// What is said in a pipe can't be looked at from here; what is known of the steps can.
    fn told<'a>(ui: &'a Ui, lines: &[&str]) -> Buildah<'a> {
        let mut story = Buildah::new(Steps::new(ui), FILE, &BTreeMap::new());
        for line in lines {
            story.update(line);
        }
        story
    }

    fn is_done(story: &Buildah<'_>, key: &str) -> bool {
        story.steps.steps[key].done
    }

    const SIDE_BY_SIDE: [&str; 8] = [
        "[3/3] STEP 1/4: FROM scratch\n",
        "[2/3] STEP 1/3: FROM base AS b\n",
        "[1/3] STEP 1/2: FROM base AS a\n",
        "[3/3] STEP 2/4: COPY --from=a /a /a\n",
        "[1/3] STEP 2/2: RUN make a\n",
        "[2/3] STEP 2/3: ARG X\n",
        "--> 839c9cf71af\n",
        "[2/3] STEP 3/3: RUN make b\n",
    ];

    #[test]
    fn stages_side_by_side_are_kept_apart() {
        let ui = Ui::new(false);
        let mut story = told(&ui, &SIDE_BY_SIDE);
        assert_eq!(story.running(), [0, 1], "the copy waits for its stage");
        story.update("cc\n");
        assert!(!is_done(&story, "0 2") && !is_done(&story, "1 3"));
        assert!(story.steps.steps.values().filter(|step| !step.log.is_empty()).count() == 2);
        // One of two last steps has ended: the older one.
        story.update("--> 541fbfb6987\n");
        assert!(!is_done(&story, "0 2"));
        std::thread::sleep(AT_ONCE * 2);
        story.heartbeat();
        assert!(is_done(&story, "0 2") && !is_done(&story, "1 3"));
        assert_eq!(story.running(), [1, 2], "the copy goes on");
        story.update("--> 91c2ddc9136\n");
        story.update("[3/3] STEP 3/4: COPY --from=b /b /b\n");
        assert!(is_done(&story, "2 2") && !is_done(&story, "1 3"));
        story.update("--> d1000494b6b\n");
        assert!(is_done(&story, "1 3"));
        assert_eq!(story.running(), [2]);
    }

    #[test]
    fn a_stage_that_begins_with_another_tells_of_its_end() {
        const FILE: &str = "FROM x AS tools\nRUN install\nFROM x AS runtime\nRUN other\nFROM tools AS frr\nRUN make\nFROM scratch\nCOPY --from=frr / /\n";
        let ui = Ui::new(false);
        let mut story = Buildah::new(Steps::new(&ui), FILE, &BTreeMap::new());
        for line in [
            "[1/4] STEP 1/2: FROM x AS tools\n",
            "[2/4] STEP 1/2: FROM x AS runtime\n",
            "[2/4] STEP 2/2: RUN other\n",
            "[1/4] STEP 2/2: RUN install\n",
            "--> 541fbfb6987\n",
        ] {
            story.update(line);
        }
        let base = format!("[3/4] STEP 1/2: FROM 541fbfb6987{} AS frr\n", "0".repeat(53));
        story.update(&base);
        assert!(is_done(&story, "0 2") && !is_done(&story, "1 2"));
    }

    #[test]
    fn the_failing_step_is_found_among_those_that_run() {
        let ui = Ui::new(false);
        let mut story = told(&ui, &SIDE_BY_SIDE);
        story.update("cc: no such file\n");
        let failed = story.failed("building at STEP \"RUN make b\": while running runtime: exit status 2\n").unwrap();
        assert_eq!((failed.name.as_str(), failed.line), ("[b 3/3] RUN make b", Some(6)));
        assert_eq!(failed.log, ["cc: no such file"]);
        assert!(failed.shared_log);
    }

    #[test]
    fn output_that_looks_like_the_engine_s_is_output() {
        let ui = Ui::new(false);
        let mut story = told(&ui, &["[1/3] STEP 1/2: FROM base AS a\n", "[1/3] STEP 2/2: RUN make a\n"]);
        for line in
            ["[2/3] STEP 7/9: RUN x\n", "[9/9] STEP 1/1: RUN x\n", "STEP 0/0: x\n", "[3/3] COMMIT x\n", "--> x\n"]
        {
            story.update(line);
        }
        assert_eq!(story.steps.steps["0 2"].log.len(), 5);
    }

    #[test]
    fn only_what_takes_time_is_shown() {
        let earlier = dockerfile::stages(FILE, &BTreeMap::new());
        for shown in ["FROM debian:trixie AS x", "RUN make", "COPY --from=a / /", "ADD x /", "WORKDIR /x"] {
            assert!(is_shown(shown, &earlier), "{shown}");
        }
        let id = format!("FROM {} AS x", "5".repeat(64));
        for hidden in ["FROM scratch", "FROM a AS x", &id, "ENV A=b", "LABEL \"a\"=\"b\"", ""] {
            assert!(!is_shown(hidden, &earlier), "{hidden}");
        }
    }

    #[test]
    fn a_step_from_the_cache_is_told_as_such() {
        assert_eq!(parse("--> Using cache 97e24a5ab66652a8\n"), Line::Cached);
        assert_eq!(parse("--> 97e24a5ab66\n"), Line::End { id: "97e24a5ab66" });
        assert_eq!(parse("--> abc\nabc\n"), Line::Output);
        assert_eq!(parse("STEP 2/3: RUN a: b\n"), Line::Step { stage: 1, step: 2, steps: 3, text: "RUN a: b" });
    }

    #[test]
    fn the_reason_is_told_without_the_step() {
        assert_eq!(reason("building at STEP \"RUN a\": while running runtime: exit status 3\n"), Some("exit status 3"));
        let unknown =
            "building at STEP \"COPI \": Build error: Unknown instruction: \"COPI\" &imagebuilder.Step{Env:x}\n";
        assert_eq!(reason(unknown), Some("Build error: Unknown instruction: \"COPI\""));
        assert_eq!(reason("creating build container: no such host"), None);
    }
}
