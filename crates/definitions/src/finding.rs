//! What was found wrong, and the rules by which.

use super::yaml::Mark;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, but not as people expect.
    Warning,
    /// CML refuses it, or the node does not start or work.
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

/// One thing that can be wrong. `docs/lint.md` is made from these.
///
/// The ids of rules that state what CML's own schema refuses begin with `schema`; no others do.
#[derive(Debug)]
pub struct Rule {
    pub id: &'static str,
    pub severity: Severity,
    /// One line.
    pub title: &'static str,
    /// Why it matters, what is looked at, and where the knowledge comes from. Markdown.
    pub why: &'static str,
    pub failing: Example,
    pub mended: Example,
}

/// A definition for a rule's page. A part is shown; the rest is an ordinary definition.
#[derive(Debug)]
pub enum Example {
    /// Part of the node definition of a container.
    Node(&'static str),
    /// Part of an image definition that stands beside that node definition and its archive.
    Image(&'static str),
    /// A whole file.
    File(&'static str),
}

impl Example {
    pub fn text(&self) -> &'static str {
        match self {
            Self::Node(text) | Self::Image(text) | Self::File(text) => text,
        }
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// More findings than anybody reads; a file that has as many is not looked at any further.
pub const MOST_FINDINGS: usize = 1000;

/// A rule that something broke, and where.
#[derive(Debug, Clone)]
pub struct Finding {
    pub rule: &'static Rule,
    pub at: Mark,
    /// The path inside the document, such as `sim.linux_native.ram`; empty for the document itself.
    pub path: String,
    /// What stands there, and what is allowed.
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

    pub fn is_error(&self) -> bool {
        self.rule.severity == Severity::Error
    }
}
