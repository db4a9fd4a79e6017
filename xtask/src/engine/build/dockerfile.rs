//! Finds the line of a Dockerfile that a build step came from. Neither BuildKit of Docker 20.10 nor
//! Buildah names it.

use std::collections::BTreeMap;

/// A stage of a Dockerfile.
pub struct Stage {
    /// Its name, else its number.
    pub name: String,
    /// The earlier stage that it begins with, by its place.
    pub base: Option<usize>,
    /// Its instructions, of which the first is its FROM.
    instructions: Vec<Instruction>,
}

/// An instruction of a Dockerfile.
struct Instruction {
    /// Counted from 1: where it starts.
    line: usize,
    /// The stage it stands in: its name, else its number.
    stage: String,
    /// Without flags, on one line, with single blanks.
    text: String,
}

/// The line of the instruction behind the step `vertex`, such as `[build 4/9] RUN make`.
pub fn line_of_step(dockerfile: &str, vertex: &str) -> Option<usize> {
    let (place, text) = vertex.strip_prefix('[')?.split_once("] ")?;
    // `[linux/amd64 build 4/9]` on newer engines; one-stage files have no stage name.
    let mut words: Vec<&str> = place.split_whitespace().collect();
    words.pop();
    let stage = words.pop();
    let instructions = instructions(dockerfile);
    let in_stage = |i: &&Instruction| stage.is_none_or(|name| i.stage == name);
    let wanted = without_flags(text);
    let score = |i: &Instruction| common_prefix(&i.text, &wanted);
    let best = instructions.iter().filter(in_stage).max_by_key(|i| (score(i), std::cmp::Reverse(i.line)))?;
    // At least the instruction's word and the beginning of its argument.
    (score(best) > best.text.find(' ')? + 3).then_some(best.line)
}

/// The line that BuildKit's parser stumbled over: `… parse error line 2: …`, on newer engines
/// `… parse error on line 2: …`.
pub fn line_of_error(error: &str) -> Option<usize> {
    let (_, rest) = error.split_once("parse error ")?;
    let (number, _) = rest.trim_start_matches("on ").strip_prefix("line ")?.split_once(':')?;
    number.parse().ok()
}

/// The stages of a Dockerfile, in its order. `args` are the arguments of the build.
pub fn stages(dockerfile: &str, args: &BTreeMap<String, String>) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    let mut known = BTreeMap::new();
    for instruction in instructions(dockerfile) {
        if instruction.is_from() {
            let from = expanded(&instruction.text, &known);
            let base = stages_of_step(&stages, &from).first().copied();
            stages.push(Stage { name: instruction.stage.clone(), base, instructions: vec![instruction] });
        } else if let Some(stage) = stages.last_mut() {
            stage.instructions.push(instruction);
        } else if let Some((name, default)) = instruction.argument() {
            let value = args.get(name).map_or(default, String::as_str);
            known.insert(name.to_owned(), value.trim_matches(['"', '\'']).to_owned());
        }
    }
    stages
}

/// With the values of `${NAME}` and `$NAME`.
fn expanded(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut pieces = text.split('$');
    let mut expanded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, rest) = match piece.strip_prefix('{').and_then(|piece| piece.split_once('}')) {
            Some(braced) => braced,
            None => piece.split_at(piece.find(|c| !is_of_name(c)).unwrap_or(piece.len())),
        };
        expanded.push_str(values.get(name).map_or("", String::as_str));
        expanded.push_str(rest);
    }
    expanded
}

/// Which of these stages the instruction `text` reads: as its base, or what it copies or mounts.
pub fn stages_of_step(stages: &[Stage], text: &str) -> Vec<usize> {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let base = first.eq_ignore_ascii_case("FROM").then(|| words.clone().find(|word| !word.starts_with("--"))).flatten();
    let flags = words.take_while(|word| word.starts_with("--"));
    let named = flags.flat_map(|flag| flag.trim_start_matches("--").trim_start_matches("mount=").split(','));
    let named = named.filter_map(|field| field.strip_prefix("from="));
    let find = |name: &str| {
        let number = name.parse().ok().filter(|number| *number < stages.len());
        stages.iter().rposition(|stage| stage.name.eq_ignore_ascii_case(name)).or(number)
    };
    base.into_iter().chain(named).filter_map(find).collect()
}

impl Stage {
    /// The line of the instruction `step`, counted from 1, if its words are `text`.
    pub fn line_of(&self, step: usize, text: &str) -> Option<usize> {
        let first = |text: &str| text.split_whitespace().next().map(str::to_ascii_uppercase);
        let instruction = self.instructions.get(step.checked_sub(1)?)?;
        (first(&instruction.text) == first(text)).then_some(instruction.line)
    }
}

impl Instruction {
    /// The name and the default of an `ARG`.
    fn argument(&self) -> Option<(&str, &str)> {
        let argument = self.text.strip_prefix("ARG ")?;
        Some(argument.split_once('=').unwrap_or((argument, "")))
    }

    fn is_from(&self) -> bool {
        self.text.starts_with("FROM ")
    }
}

/// The line of an instruction that Podman does not know: `… Unknown instruction: "COPI" …`
pub fn line_of_unknown(dockerfile: &str, error: &str) -> Option<usize> {
    let word = error.split_once("nknown instruction: \"")?.1.split('"').next()?;
    let found = instructions(dockerfile).into_iter().find(|one| one.text.split(' ').next() == Some(word));
    found.map(|one| one.line)
}

fn instructions(dockerfile: &str) -> Vec<Instruction> {
    let (mut found, mut stage, mut stages) = (Vec::new(), String::new(), 0);
    let mut lines = dockerfile.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if is_comment_or_blank(line) {
            continue;
        }
        let mut text = line.trim().to_owned();
        while let Some(start) = text.strip_suffix('\\') {
            let next = lines.by_ref().map(|(_, line)| line).find(|line| !is_comment_or_blank(line));
            text = format!("{} {}", start.trim_end(), next.unwrap_or_default().trim());
        }
        let text = without_flags(&text);
        let words: Vec<&str> = text.split(' ').collect();
        if words[0].eq_ignore_ascii_case("FROM") {
            let name = words.iter().position(|word| word.eq_ignore_ascii_case("AS")).and_then(|at| words.get(at + 1));
            stage = name.map_or_else(|| format!("stage-{stages}"), |name| name.to_ascii_lowercase());
            stages += 1;
        }
        found.push(Instruction { line: index + 1, stage: stage.clone(), text });
    }
    found
}

fn is_comment_or_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// `RUN --mount=… a  b` → `RUN a b`
pub fn without_flags(text: &str) -> String {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default().to_ascii_uppercase();
    let rest = words.skip_while(|word| word.starts_with("--"));
    std::iter::once(first.as_str()).chain(rest).collect::<Vec<_>>().join(" ")
}

pub fn common_prefix(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "ARG BASE=x
FROM ${BASE} AS build
# a comment
RUN --mount=type=cache,target=/c apt-get update && \\
    # within
    apt-get install make
RUN make   -j2
FROM scratch
COPY --from=build / /
RUN make install
";

    #[test]
    fn steps_are_found_by_stage_and_text() {
        assert_eq!(
            line_of_step(
                FILE,
                "[build 2/3] RUN --mount=type=cache,target=/c apt-get update &&     apt-get install make"
            ),
            Some(4)
        );
        assert_eq!(line_of_step(FILE, "[build 3/3] RUN make -j2"), Some(7));
        assert_eq!(line_of_step(FILE, "[stage-1 2/3] COPY --from=build / /"), Some(9));
        assert_eq!(line_of_step(FILE, "[linux/amd64 stage-1 3/3] RUN make install"), Some(10));
    }

    #[test]
    fn stages_know_their_instructions_and_what_they_read() {
        let stages = stages(FILE, &BTreeMap::new());
        let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(names, ["build", "stage-1"]);
        assert_eq!(stages[0].line_of(1, "FROM debian AS build"), Some(2));
        assert_eq!(stages[0].line_of(3, "RUN make -j2"), Some(7));
        assert_eq!(stages[1].line_of(2, "RUN make"), None);
        assert_eq!(stages_of_step(&stages, "COPY --from=build / /"), [0]);
        assert_eq!(stages_of_step(&stages, "COPY --chown=1 --from=0 / /"), [0]);
        assert_eq!(stages_of_step(&stages, "RUN --mount=type=bind,from=build,target=/x make --from=build"), [0]);
        assert_eq!(stages_of_step(&stages, "FROM build AS next"), [0]);
        assert!(stages_of_step(&stages, "FROM debian AS build").is_empty());
        assert!(stages_of_step(&stages, "RUN make --from=build").is_empty());
    }

    #[test]
    fn a_stage_that_arguments_choose_is_found() {
        let file = "ARG KIND=package\nARG BASE=debian\nFROM ${BASE} AS build-package\nFROM $BASE AS build-context\nFROM build-${KIND} AS build\n";
        let bases = |args: &[(&str, &str)]| {
            let args = args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            stages(file, &args).iter().map(|stage| stage.base).collect::<Vec<_>>()
        };
        assert_eq!(bases(&[]), [None, None, Some(0)]);
        assert_eq!(bases(&[("KIND", "context"), ("BASE", "ubuntu:24.04")]), [None, None, Some(1)]);
        assert_eq!(bases(&[("KIND", "none")]), [None, None, None]);
    }

    #[test]
    fn lines_of_parse_errors_are_read() {
        assert_eq!(line_of_error("failed: dockerfile parse error line 2: unknown instruction: COPI"), Some(2));
        assert_eq!(line_of_error("dockerfile parse error on line 12: unknown instruction: COPI"), Some(12));
        assert_eq!(line_of_error("pull access denied"), None);
    }

    #[test]
    fn an_instruction_that_podman_does_not_know_is_found() {
        let error =
            r#"building at STEP "COPI --from=x ": Build error: Unknown instruction: "COPI" &imagebuilder.Step{}"#;
        assert_eq!(line_of_unknown("FROM a\n# COPI\ncopi --from=x / /\n", error), Some(3));
        assert_eq!(line_of_unknown("FROM a\n", error), None);
    }

    #[test]
    fn steps_of_the_engine_itself_have_no_line() {
        assert_eq!(line_of_step(FILE, "[internal] load build context"), None);
        assert_eq!(line_of_step(FILE, "exporting to image"), None);
    }
}
