//! Applies the rules to definitions.

use super::subject::{Peers, Subject};
use super::{container, image, node};
use crate::document::Document;
use crate::finding::Finding;
use crate::schema::Definition;

/// Judges documents together; returns the findings of each, in the order of its text. `beside` are further documents
/// that these may refer to; they are not judged themselves.
pub fn judge(subjects: &[Subject<'_>], beside: &[Document]) -> Vec<Vec<Finding>> {
    let documents: Vec<&Document> = subjects.iter().map(|subject| subject.document).chain(beside).collect();
    let peers = Peers::of(&documents);
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
