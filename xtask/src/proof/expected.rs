//! Whether a command printed and exited as expected.

use anyhow::Result;

use crate::engine::containers::exec::Output;
use catalog::names::Pattern;
use catalog::scene::{Exit, Expectation, line_expression};

/// [`Expectation`] with its patterns filled in.
pub struct Expected {
    prints: Vec<String>,
    lacks: Vec<String>,
    matches: Option<(String, regex_lite::Regex)>,
    exit: Exit,
}

impl Expected {
    /// # Errors
    /// If a pattern lacks a variable, is no regular expression, or would check nothing.
    pub fn of(expectation: &Expectation, context: &tera::Context) -> Result<Self> {
        let read = |pattern: &Pattern| {
            let text = pattern.render(context)?;
            let expression = line_expression(&text).map_err(anyhow::Error::msg)?;
            anyhow::Ok((text, expression))
        };
        let matches = expectation.matches.as_ref().map(read).transpose()?;
        let (prints, lacks) = (fill_all(&expectation.prints, context)?, fill_all(&expectation.lacks, context)?);
        let mut texts = prints.iter().chain(&lacks);
        anyhow::ensure!(texts.all(|text| !text.is_empty()), "a text to look for becomes empty, so it checks nothing");
        Ok(Self { prints, lacks, matches, exit: expectation.exit })
    }

    /// What is wrong with the output, if anything.
    pub(super) fn problem(&self, output: &Output) -> Option<String> {
        let Output { code, text } = output;
        let wrong = match self.exit {
            Exit::Code(wanted) if wanted != *code => Some(format!("it should exit with {wanted}")),
            // As shells and engines report a program that is not there or cannot be run.
            Exit::Failure if matches!(code, 126 | 127) => Some("it should fail, but it could not be run".to_owned()),
            Exit::Failure if *code == 0 => Some("it should fail".to_owned()),
            _ => None,
        };
        let missing = || self.prints.iter().find(|wanted| !text.contains(wanted.as_str()));
        let unwanted = || self.lacks.iter().find(|unwanted| text.contains(unwanted.as_str()));
        let mismatch = || self.matches.as_ref().filter(|(_, expression)| !expression.is_match(text));
        let wrong = wrong
            .or_else(|| missing().map(|wanted| format!("it should print `{wanted}`")))
            .or_else(|| unwanted().map(|unwanted| format!("it should not print `{unwanted}`")))
            .or_else(|| mismatch().map(|(wanted, _)| format!("its output should match `{wanted}`")))?;
        Some(format!("{wrong}; it exited with {code} and printed:\n{}", quoted(text)))
    }
}

/// # Errors
/// If a pattern lacks a variable.
pub fn fill_all(patterns: &[Pattern], context: &tera::Context) -> Result<Vec<String>> {
    patterns.iter().map(|pattern| pattern.render(context)).collect()
}

/// The beginning of what a command printed, indented.
pub(super) fn quoted(text: &str) -> String {
    const LINES: usize = 20;
    let text = text::printable(text);
    if text.trim().is_empty() {
        return "  (nothing)".to_owned();
    }
    let lines = text.lines().take(LINES).map(|line| format!("  | {}", line.trim_end_matches('\u{fffd}')));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(wanted: Expectation, code: i64, text: &str) -> Option<String> {
        let mut context = tera::Context::new();
        context.insert("version", "10.3");
        Expected::of(&wanted, &context).unwrap().problem(&Output { code, text: text.to_owned() })
    }

    #[test]
    fn a_pattern_that_becomes_empty_checks_nothing() {
        let empty = Expectation { prints: vec![pattern("{{ '' }}")], ..Expectation::default() };
        assert!(Expected::of(&empty, &tera::Context::new()).is_err());
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn each_expectation_can_fail() {
        assert!(problem(Expectation::default(), 0, "").is_none());
        assert!(problem(Expectation::default(), 1, "").unwrap().contains("should exit with 0; it exited with 1"));
        assert!(
            problem(Expectation { exit: Exit::Failure, ..Expectation::default() }, 0, "")
                .unwrap()
                .contains("should fail")
        );
        let fails = || Expectation { exit: Exit::Failure, ..Expectation::default() };
        assert!(problem(fails(), 1, "").is_none());
        for code in [126, 127] {
            assert!(problem(fails(), code, "").unwrap().contains("could not be run"));
        }
        let prints = || Expectation { prints: vec![pattern("FRR {{ version }}")], ..Expectation::default() };
        assert!(problem(prints(), 0, "FRR 10.3").is_none());
        assert!(problem(prints(), 0, "FRR 10.4").unwrap().contains("should print `FRR 10.3`"));
        let lacks = Expectation { lacks: vec![pattern("rror")], ..Expectation::default() };
        assert!(problem(lacks, 0, "Error").unwrap().contains("should not print"));
        let matches = || Expectation { matches: Some(pattern("^up$")), ..Expectation::default() };
        assert!(problem(matches(), 0, "a\nup\nb").is_none());
        assert!(problem(matches(), 0, "cup").unwrap().contains("should match"));
    }
}
