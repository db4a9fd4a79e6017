//! A file, read as a definition: the only way by which the text of a definition becomes values.

use std::fmt::Display;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::finding::{Example, Finding, MOST_FINDINGS, Rule};
use crate::schema::{self, Definition, ImageDefinition, NodeDefinition};
use crate::yaml::{self, Duplicate, Mark, Problem, ProblemKind, quoted};
use files::Tree;

pub(crate) static RULES: &[&Rule] = &[&DUPLICATE_KEY, &LIMITS];

pub(crate) static DUPLICATE_KEY: Rule = Rule::error(
    "duplicate-key",
    "No mapping has a key twice",
    "CML silently takes the last one, other programs the first. Nobody can tell which was meant. The same holds for \
     `config.json`.",
    Example::File("id: tiny\nnode_definition_id: tiny\nlabel: Tiny\nlabel: Tiny 1.0\ndocker_tag: \"tiny:1.0\"\n"),
    Example::File("id: tiny\nnode_definition_id: tiny\nlabel: Tiny 1.0\ndocker_tag: \"tiny:1.0\"\n"),
);

static LIMITS: Rule = Rule::error(
    "limits",
    "The file is no larger than a definition can be",
    "A file with more than 20 MB, 64 levels, 50 000 values or 100 000 keys merged by `<<` is not read: no definition \
     needs that much, and CML's web server accepts no larger body.",
    Example::File(concat!(
        "ui: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
        "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n"
    )),
    Example::Node("ui:\n  label: Tiny\n"),
);

/// A definition, and what was found wrong while it was read.
#[derive(Debug)]
pub struct Document {
    pub definition: Definition,
    pub(crate) findings: Vec<Finding>,
}

impl Document {
    pub fn read(bytes: &[u8]) -> Self {
        let mut findings = Vec::new();
        let definition = match yaml::read(bytes) {
            Ok(document) => {
                findings.extend(document.duplicates.iter().take(MOST_FINDINGS).map(duplicate));
                schema::read(&document.root, &mut findings)
            }
            Err(problem) => {
                findings.push(unreadable(problem));
                Definition::Unknown
            }
        };
        Self { definition, findings }
    }

    /// Reads a regular file, but no more of it than a definition may have.
    ///
    /// # Errors
    /// If it is not one, or is reached through a link within a checkout.
    pub fn open(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot read {}", path.display());
        let (tree, path) = Tree::around(path)?;
        let file = tree.open(&path)?;
        let size = file.metadata().with_context(cannot)?.len();
        let most = yaml::LARGEST as u64;
        if size > most {
            let message = format!("expected at most {most} bytes, found {size}");
            let finding = Finding::new(&LIMITS, Mark::START, "", message);
            return Ok(Self { definition: Definition::Unknown, findings: vec![finding] });
        }
        let mut bytes = Vec::new();
        // It may grow meanwhile.
        file.take(most + 1).read_to_end(&mut bytes).with_context(cannot)?;
        Ok(Self::read(&bytes))
    }

    /// The same for one of several files, of which none must keep the others from being judged: that it cannot be read
    /// is a finding.
    pub fn examine(path: &Path) -> Self {
        Self::open(path).unwrap_or_else(|error| Self::unusable(format!("{error:#}")))
    }

    /// What could not be read, and why.
    pub fn unusable(why: impl Into<String>) -> Self {
        let finding = Finding::new(&schema::rules::YAML, Mark::START, "", why);
        Self { definition: Definition::Unknown, findings: vec![finding] }
    }

    /// Whether it is neither a node definition nor an image definition.
    pub fn is_unknown(&self) -> bool {
        matches!(self.definition, Definition::Unknown)
    }

    pub fn as_node(&self) -> Option<&NodeDefinition> {
        if let Definition::Node(node) = &self.definition { Some(node) } else { None }
    }

    pub fn as_image(&self) -> Option<&ImageDefinition> {
        if let Definition::Image(image) = &self.definition { Some(image) } else { None }
    }

    /// What makes the document unusable: the errors of reading it, as `lint` prints them for a file of that name.
    pub fn errors(&self, file: impl Display) -> Vec<String> {
        self.findings.iter().filter(|finding| finding.is_error()).map(|finding| finding.line(&file)).collect()
    }

    /// Fails if `lint` would report an error in what was read, with the same words.
    pub fn refuse_errors(&self, file: impl Display) -> Result<()> {
        match self.errors(file).as_slice() {
            [] => Ok(()),
            [error] => bail!("{error}"),
            errors => bail!("the definition has {} errors:\n  {}", errors.len(), errors.join("\n  ")),
        }
    }
}

fn duplicate(duplicate: &Duplicate) -> Finding {
    let message = format!("the key {} is already on line {}", quoted(&duplicate.key), duplicate.first.line);
    Finding::new(&DUPLICATE_KEY, duplicate.at, duplicate.key.clone(), message).help("remove one of them")
}

fn unreadable(problem: Problem) -> Finding {
    let rule = match problem.kind {
        ProblemKind::NotYaml => &schema::rules::YAML,
        ProblemKind::TooMuch => &LIMITS,
    };
    Finding::new(rule, problem.at, "", problem.message)
}
