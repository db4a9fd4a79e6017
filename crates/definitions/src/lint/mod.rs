//! What is wrong with definitions: what CML itself refuses (`schema`), and what experience teaches.
//!
//! Each document is read by itself; then all that are judged together are compared with each other and with what is
//! known around them ([`Surroundings`]), which comes in as plain values.

mod container;
mod image;
mod node;
mod subject;
#[cfg(test)]
mod tests;

use crate::document::{self, Document};
use crate::finding::{Finding, Rule};
use crate::schema::{self, Definition};
use subject::Peers;

pub use image::{NO_TAG, foreign_platform, missing_tag, wrong_archive_name};
pub use subject::{Archive, ImageFile, Subject, Surroundings};

/// Every rule, in the order of `docs/lint.md`.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    [schema::rules::ALL, document::RULES, container::ALL, node::ALL, image::ALL].into_iter().flatten().copied()
}

/// The rule of that id; or a message, with the most similar id.
pub fn rule(id: &str) -> Result<&'static Rule, String> {
    rules()
        .find(|rule| rule.id == id)
        .ok_or_else(|| format!("there is no rule `{id}`: {}", text::near(id, rules().map(|rule| rule.id))))
}

/// Judges documents together; returns the findings of each, in the order of its text. `beside` are further documents
/// that these may refer to; they are not judged themselves.
pub fn judge(subjects: &[Subject<'_>], beside: &[Document]) -> Vec<Vec<Finding>> {
    let documents: Vec<&Document> = subjects.iter().map(|subject| subject.document).collect();
    let peers = Peers::of(&documents, beside);
    subjects.iter().map(|subject| judge_one(subject, &peers)).collect()
}

fn judge_one(subject: &Subject<'_>, peers: &Peers<'_>) -> Vec<Finding> {
    let mut findings = subject.document.findings.clone();
    match &subject.document.definition {
        Definition::Node(definition) => {
            node::judge(definition, &subject.around, peers, &mut findings);
            container::judge(definition, &subject.around, &mut findings);
        }
        Definition::Image(definition) => image::judge(definition, &subject.around, peers, &mut findings),
        Definition::Unknown => {}
    }
    findings.sort_by_key(|finding| finding.at);
    findings
}
