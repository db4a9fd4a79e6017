//! `docs/lint.md`, generated from the rules.

use std::fmt::Write;

use super::rules;
use crate::finding::{Example, Rule};

const HEAD: &str = "<!-- Generated from the rules in crates/definitions by
     LINT_PAGE=write cargo test --locked --package definitions --lib lint -->

# The rules of `cargo xtask lint`

Rules whose ids begin with `schema` state what CML itself refuses. All others come from experience:
CML accepts such a definition, but the node does not start, or not as expected. Warnings do not
fail the command, except with `--deny warnings`.

The examples show the part that matters; the rest is an ordinary definition of a container.

A node of this repository can silence a rule in its manifest, with a reason (see
[manifest.md](manifest.md#silenced-rules)); rules of the schema cannot be silenced.

| rule | severity | requirement |
| --- | --- | --- |
";

/// The text of the page.
pub(super) fn page() -> String {
    let mut page = String::from(HEAD);
    for rule in rules() {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| [{0}](#{0}) | {1} | {2} |", rule.id, rule.severity.word(), rule.title);
    }
    for rule in rules() {
        describe(&mut page, rule);
    }
    page
}

fn describe(page: &mut String, rule: &Rule) {
    let _ =
        write!(page, "\n## {}\n\n**{}.** ({})\n\n{}\n", rule.id, rule.title, rule.severity.word(), wrapped(rule.why));
    for (word, example) in [("Fails", &rule.failing), ("Fixed", &rule.fixed)] {
        let (kind, text) = match example {
            Example::Node(text) => (", in a node definition", text),
            Example::Image(text) => (", in an image definition", text),
            Example::File(text) => ("", text),
        };
        let _ = write!(page, "\n{word}{kind}:\n\n```yaml\n{text}```\n");
    }
}

/// The text with lines of at most 100 characters.
fn wrapped(text: &str) -> String {
    let (mut wrapped, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 {
            let fits = column + 1 + length <= 100;
            wrapped.push(if fits { ' ' } else { '\n' });
            column = if fits { column + 1 } else { 0 };
        }
        wrapped += word;
        column += length;
    }
    wrapped
}
