//! `docs/lint.md`, made from the rules.

use std::fmt::Write;

use super::rules;
use crate::finding::{Example, Rule};

/// The whole page.
pub fn page() -> String {
    let mut page = String::from(
        "<!-- Made from the rules in crates/definitions; `LINT_PAGE=write cargo test --package definitions` writes it anew. -->\n\n\
         # The rules of `cargo xtask lint`\n\n\
         Rules whose ids begin with `schema` state what CML itself refuses. All others come from experience: CML takes such a definition, \
         and the node does not start, or not as people expect. A warning does not fail the command, unless with `--deny warnings`.\n\n\
         The examples show the part that matters; the rest is an ordinary definition of a container.\n\n\
         A rule can be silenced for a node of this repository, with a reason, in its manifest (see [CONTRIBUTING.md](../CONTRIBUTING.md)); \
         rules of the schema can't.\n\n\
         | rule | severity | what it wants |\n| --- | --- | --- |\n",
    );
    for rule in rules() {
        // Writing to a string can't fail.
        let _ = writeln!(page, "| [{0}](#{0}) | {1} | {2} |", rule.id, rule.severity.word(), rule.title);
    }
    for rule in rules() {
        describe(&mut page, rule);
    }
    page
}

fn describe(page: &mut String, rule: &Rule) {
    let _ = write!(page, "\n## {}\n\n**{}.** ({})\n\n{}\n", rule.id, rule.title, rule.severity.word(), rule.why);
    for (word, example) in [("Fails", &rule.failing), ("Mended", &rule.mended)] {
        let _ = write!(page, "\n{word}{}:\n\n```yaml\n{}```\n", kind(example), example.text());
    }
}

fn kind(example: &Example) -> &'static str {
    match example {
        Example::Node(_) => ", in a node definition",
        Example::Image(_) => ", in an image definition",
        Example::File(_) => "",
    }
}
