//! Finds the line of a Dockerfile that a build failed at. Neither BuildKit of Docker 20.10 nor Buildah reports it.

/// An instruction of a Dockerfile.
struct Instruction {
    /// Where it starts, counted from 1.
    line: usize,
    /// The name of its stage, else `stage-N` with N counted from 0.
    stage: String,
    /// Its stage, counted from 1.
    stage_number: usize,
    /// Without flags, on one line, with single blanks.
    text: String,
}

/// The line of the instruction that is most like `text`, in the stage of that name or number (counted from 1).
pub fn line_of(dockerfile: &str, stage: Option<&str>, text: &str) -> Option<usize> {
    let wanted = without_flags(text);
    let is_in_stage = |i: &&Instruction| stage.is_none_or(|s| i.stage == s || i.stage_number.to_string() == s);
    let likeness = |i: &Instruction| i.text.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
    let instructions = instructions(dockerfile);
    let candidates = instructions.iter().filter(is_in_stage);
    let best = candidates.max_by_key(|i| (likeness(i), std::cmp::Reverse(i.line)))?;
    // At least the instruction's name and the beginning of its argument.
    (likeness(best) > best.text.find(' ')? + 3).then_some(best.line)
}

/// The line that BuildKit's parser reports: `… parse error line 2: …`, in newer versions `… parse error on line 2: …`.
pub fn line_of_parse_error(error: &str) -> Option<usize> {
    let (_, rest) = error.split_once("parse error ")?;
    let (number, _) = rest.trim_start_matches("on ").strip_prefix("line ")?.split_once(':')?;
    number.parse().ok()
}

/// The line of an instruction that Podman does not know: `… Unknown instruction: "COPI" …`
pub fn line_of_unknown(dockerfile: &str, error: &str) -> Option<usize> {
    let name = error.split_once("nknown instruction: \"")?.1.split('"').next()?;
    let found = instructions(dockerfile).into_iter().find(|one| one.text.split(' ').next() == Some(name));
    found.map(|one| one.line)
}

fn instructions(dockerfile: &str) -> Vec<Instruction> {
    let (mut found, mut stage, mut stage_number) = (Vec::new(), String::new(), 0);
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
        if words[0] == "FROM" {
            let name = words.iter().position(|word| word.eq_ignore_ascii_case("AS")).and_then(|at| words.get(at + 1));
            stage = name.map_or_else(|| format!("stage-{stage_number}"), |name| name.to_ascii_lowercase());
            stage_number += 1;
        }
        found.push(Instruction { line: index + 1, stage: stage.clone(), stage_number, text });
    }
    found
}

fn is_comment_or_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// `run --mount=… a  b` → `RUN a b`
fn without_flags(text: &str) -> String {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default().to_ascii_uppercase();
    let rest = words.skip_while(|word| word.starts_with("--"));
    std::iter::once(first.as_str()).chain(rest).collect::<Vec<_>>().join(" ")
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
RUN make -j2
";

    #[test]
    fn instructions_are_found_by_stage_and_text() {
        let step = "RUN --mount=type=cache,target=/c apt-get update &&     apt-get install make";
        assert_eq!(line_of(FILE, Some("build"), step), Some(4));
        assert_eq!(line_of(FILE, Some("build"), "RUN make -j2"), Some(7));
        assert_eq!(line_of(FILE, Some("1"), "RUN make -j2"), Some(7));
        assert_eq!(line_of(FILE, Some("2"), "RUN make -j2"), Some(11));
        assert_eq!(line_of(FILE, Some("stage-1"), "COPY --from=build / /"), Some(9));
        assert_eq!(line_of(FILE, Some("stage-1"), "RUN make install"), Some(10));
        assert_eq!(line_of(FILE, None, "RUN make -j2"), Some(7));
        assert_eq!(line_of(FILE, None, "exporting to image"), None);
    }

    #[test]
    fn lines_of_parse_errors_are_read() {
        assert_eq!(line_of_parse_error("failed: dockerfile parse error line 2: unknown instruction: COPI"), Some(2));
        assert_eq!(line_of_parse_error("dockerfile parse error on line 12: unknown instruction: COPI"), Some(12));
        assert_eq!(line_of_parse_error("pull access denied"), None);
    }

    #[test]
    fn an_instruction_that_podman_does_not_know_is_found() {
        let error =
            r#"building at STEP "COPI --from=x ": Build error: Unknown instruction: "COPI" &imagebuilder.Step{}"#;
        assert_eq!(line_of_unknown("FROM a\n# COPI\ncopi --from=x / /\n", error), Some(3));
        assert_eq!(line_of_unknown("FROM a\n", error), None);
    }
}
