//! Findings, and the rules that they come from.

use std::fmt::Display;

use crate::yaml::Mark;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The node works, but not as people expect.
    Warning,
    /// CML refuses the definition, or the node does not start or work.
    Error,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A rule of `lint`. `docs/lint.md` is made from these.
///
/// The ids of rules that restate CML's own schema begin with `schema`; no others do.
#[derive(Debug)]
pub struct Rule {
    pub id: &'static str,
    pub severity: Severity,
    /// One line.
    pub title: &'static str,
    /// Why it matters, what is checked, and where the knowledge comes from. Markdown.
    pub why: &'static str,
    pub failing: Example,
    pub fixed: Example,
}

impl Rule {
    pub(crate) const fn error(
        id: &'static str,
        title: &'static str,
        why: &'static str,
        failing: Example,
        fixed: Example,
    ) -> Self {
        Self { id, severity: Severity::Error, title, why, failing, fixed }
    }

    pub(crate) const fn warning(
        id: &'static str,
        title: &'static str,
        why: &'static str,
        failing: Example,
        fixed: Example,
    ) -> Self {
        Self { id, severity: Severity::Warning, title, why, failing, fixed }
    }
}

/// An example for a rule's documentation. Only this part is shown; the rest is an ordinary definition.
#[derive(Debug)]
pub enum Example {
    /// Part of the node definition of a container.
    Node(&'static str),
    /// Part of an image definition beside that node definition and its archive.
    Image(&'static str),
    /// A whole file.
    File(&'static str),
}

/// More findings than anybody reads; a file with this many is not checked any further.
pub const MOST_FINDINGS: usize = 1000;

/// A violation of a rule, and its place.
#[derive(Debug, Clone)]
pub struct Finding {
    pub rule: &'static Rule,
    pub at: Mark,
    /// The path inside the document, such as `sim.linux_native.ram`; empty for the document itself.
    pub path: String,
    /// What was expected, and what was found.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Finding {
    pub fn new(rule: &'static Rule, at: Mark, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { rule, at, path: path.into(), message: message.into(), help: None }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// `FILE:LINE:COLUMN: error[RULE]: PATH: MESSAGE`, which editors can jump to.
    pub fn line(&self, file: impl Display) -> String {
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        let (severity, rule) = (self.rule.severity.word(), self.rule.id);
        text::printable_line(&format!("{file}:{}: {severity}[{rule}]: {path}{}", self.at, self.message))
    }

    pub fn is_error(&self) -> bool {
        self.rule.severity == Severity::Error
    }
}
