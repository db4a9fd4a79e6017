//! What is wrong with a file before it is looked at as a definition.

use crate::finding::{Example, Finding, Rule, Severity};
use crate::schema;
use crate::yaml::{Duplicate, Problem, ProblemKind, quoted};

pub(super) static ALL: &[&Rule] = &[&DUPLICATE_KEY, &LIMITS];

static DUPLICATE_KEY: Rule = Rule {
    id: "duplicate-key",
    severity: Severity::Error,
    title: "No key stands twice in one mapping",
    why: "CML takes the last of them without a word, other programs the first. What was meant, nobody can tell.",
    failing: Example::File(
        "id: tiny\nnode_definition_id: tiny\nlabel: Tiny\nlabel: Tiny 1.0\ndocker_tag: \"tiny:1.0\"\n",
    ),
    mended: Example::File("id: tiny\nnode_definition_id: tiny\nlabel: Tiny 1.0\ndocker_tag: \"tiny:1.0\"\n"),
};

pub(super) static LIMITS: Rule = Rule {
    id: "limits",
    severity: Severity::Error,
    title: "The file is no larger than a definition can be",
    why: "A file with more than 20 MB, 64 levels, 50 000 values or 100 000 keys merged by `<<` is not read: no definition needs as much, \
          and CML's web server takes no larger body.",
    failing: Example::File(
        "ui: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n",
    ),
    mended: Example::Node("ui:\n  label: Tiny\n"),
};

pub(super) fn duplicate(duplicate: &Duplicate) -> Finding {
    let said = format!("the key {} stands in line {} already", quoted(&duplicate.key), duplicate.first.line);
    Finding::new(&DUPLICATE_KEY, duplicate.at, duplicate.key.clone(), said).help("remove one of them")
}

pub(super) fn unreadable(problem: Problem) -> Finding {
    let rule = match problem.kind {
        ProblemKind::NotYaml => &schema::rules::YAML,
        ProblemKind::TooMuch => &LIMITS,
    };
    Finding::new(rule, problem.at, "", problem.message)
}
