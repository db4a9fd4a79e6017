//! Everything that this repository renders: each node, variant and combination of switches.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, anyhow};

use crate::commands::lint::report::{Failure, Judged, Report};
use crate::commands::lint::scenes;
use crate::commands::session::Session;
use crate::commands::variant_definitions::{Rendering, forms};
use catalog::manifest::MANIFEST;
use catalog::{Manifest, Repository};
use definitions::finding::Finding;
use definitions::lint::ImageFile;
use definitions::{Definitions, Placed};

/// With more switches than this, each is flipped alone instead of rendering all combinations.
const MOST_COMBINED: usize = 4;
/// A larger file is not a script that prints something on the console.
const LARGEST_IMAGE_FILE: u64 = 1 << 20;

/// The findings in all renderings, and in what the manifests' checks and scenes name. What cannot be rendered or read
/// is a failure of that node; all others are judged.
pub(super) fn lint(session: &Session<'_>) -> Judged {
    let repository = &session.repository;
    let (mut collected, mut failures) = (Collected::default(), Vec::new());
    for node in repository.nodes() {
        let path = manifest_of(node.node.as_str());
        let mut fail = |error| failures.push(Failure { path: path.clone(), error });
        for error in collected.add_all(repository, node) {
            fail(error);
        }
        match scenes::judge(repository, node) {
            Ok(wrong) => wrong.into_iter().for_each(|line| fail(anyhow!(line))),
            Err(error) => fail(error),
        }
    }
    let broken = |(node, why): (&str, &str)| Failure { path: manifest_of(node), error: anyhow!("{why}") };
    failures.extend(repository.broken().map(broken));
    Judged { reports: collected.reports(), failures }
}

fn manifest_of(node: &str) -> String {
    format!("docker/{node}/{MANIFEST}")
}

fn settings(defaults: &BTreeMap<String, bool>) -> Vec<BTreeMap<String, bool>> {
    let names: Vec<&String> = defaults.keys().collect();
    if names.len() <= MOST_COMBINED {
        let answer =
            |bits: usize| names.iter().enumerate().map(move |(bit, name)| ((*name).clone(), bits >> bit & 1 == 1));
        return (0..1 << names.len()).map(|bits| answer(bits).collect()).collect();
    }
    let flipped = names.iter().map(|name| {
        let mut answers = defaults.clone();
        answers.entry((*name).clone()).and_modify(|answer| *answer = !*answer);
        answers
    });
    std::iter::once(defaults.clone()).chain(flipped).collect()
}

fn image_files(repository: &Repository, node: &Manifest) -> Result<Vec<ImageFile>> {
    let mut files = Vec::new();
    for file in repository.context(node)? {
        if file.link_target().is_none() && file.open()?.metadata()?.len() <= LARGEST_IMAGE_FILE {
            let content = file.read(LARGEST_IMAGE_FILE)?;
            files.push(ImageFile { path: file.path, content });
        }
    }
    Ok(files)
}

/// The findings of all renderings, each once, by the path of the template.
#[derive(Default)]
struct Collected(BTreeMap<String, Template>);

#[derive(Default)]
struct Template {
    kind: &'static str,
    /// Of the template itself; none of a file that others include.
    renderings: usize,
    findings: Vec<Seen>,
    silenced: BTreeSet<(String, &'static str)>,
}

struct Seen {
    finding: Finding,
    renderings: Vec<String>,
}

impl Collected {
    /// Adds each variant of a node with each setting of its switches. Returns what is wrong with those that cannot be
    /// rendered, each mistake once.
    fn add_all(&mut self, repository: &Repository, node: &Manifest) -> Vec<anyhow::Error> {
        let files = match image_files(repository, node) {
            Ok(files) => files,
            Err(error) => return vec![error],
        };
        let (mut errors, mut known) = (Vec::new(), BTreeSet::new());
        for (variant, shared) in node.variants.iter().flat_map(|variant| forms(node).map(move |form| (variant, form))) {
            // What is in an image that was made elsewhere is unknown.
            let files = variant.prebuilt.is_none().then_some(&*files);
            for switches in settings(&node.switches) {
                let added = Rendering::of(node, variant, &switches, shared)
                    .and_then(|rendering| self.add(repository, &rendering, files));
                // Most mistakes are the same in each rendering.
                let error = added.err().filter(|error| known.insert(format!("{error:#}")));
                errors
                    .extend(error.map(|error| error.context(format!("node {}, variant {}", node.node, variant.name))));
            }
        }
        errors
    }

    fn add(&mut self, repository: &Repository, rendering: &Rendering<'_>, files: Option<&[ImageFile]>) -> Result<()> {
        let definitions = rendering.render(repository, &definitions::unknown_image_id())?;
        let name = |path: &Path| path.strip_prefix(&repository.root).unwrap_or(path).display().to_string();
        for (path, kind) in definitions.templates().into_iter().zip(["node_definition", "image_definition"]) {
            let template = self.0.entry(name(path)).or_default();
            template.kind = kind;
            template.renderings += 1;
        }
        let (node, description) = (rendering.node, describe(rendering));
        for Placed { file, kind, finding } in definitions.lint(files.map(<[ImageFile]>::to_vec)) {
            let template = self.0.entry(name(&file)).or_default();
            template.kind = kind;
            if is_silenced(node, &finding) {
                template.silenced.insert((node.node.to_string(), finding.rule.id));
            } else {
                template.add(finding, &description);
            }
        }
        Ok(())
    }

    fn reports(self) -> Vec<Report> {
        let reports = self.0.into_iter().map(|(path, template)| Report {
            path,
            kind: template.kind,
            silenced: template.silenced.len(),
            findings: template.findings(),
        });
        reports.collect()
    }
}

impl Template {
    fn add(&mut self, finding: Finding, rendering: &str) {
        let same = |seen: &&mut Seen| {
            let other = &seen.finding;
            other.rule.id == finding.rule.id && other.at == finding.at && other.path == finding.path
        };
        match self.findings.iter_mut().find(same) {
            Some(seen) => seen.renderings.push(rendering.to_owned()),
            None => self.findings.push(Seen { finding, renderings: vec![rendering.to_owned()] }),
        }
    }

    /// In the order of the text. A finding that only some renderings have names the first of them, and so does each in
    /// a file that templates include: it is not known which of them do.
    fn findings(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|seen| seen.finding.at);
        let findings = self.findings.into_iter().map(|Seen { mut finding, renderings }| {
            if self.renderings == 0 || renderings.len() < self.renderings {
                finding.message += &format!(" ({})", renderings[0]);
            }
            finding
        });
        findings.collect()
    }
}

/// `node frr, variant debian, --switch vrf`
fn describe(Rendering { node, variant, switches, shared, .. }: &Rendering<'_>) -> String {
    let mut text = format!("node {}, variant {variant}", node.node);
    if node.shared_node.is_some() {
        text += if shared.is_some() { ", --for 2.10" } else { ", --for 2.9" };
    }
    for (name, answer) in switches.iter().filter(|(name, answer)| node.switches.get(*name) != Some(answer)) {
        text += &format!(", --switch {name}{}", if *answer { "" } else { "=no" });
    }
    text
}

fn is_silenced(node: &Manifest, finding: &Finding) -> bool {
    node.silenced.iter().any(|silenced| silenced.rule == finding.rule.id)
}

/// Refuses definitions with errors that the manifest does not silence, and names the place of each: CML would refuse
/// them, or the node not work. Warns of errors that it does silence.
pub(in crate::commands) fn refuse_errors(session: &Session<'_>, node: &Manifest, rendered: &Definitions) -> Result<()> {
    let mut placed = rendered.lint(Some(image_files(&session.repository, node)?));
    for silenced in &node.silenced {
        let applies = |placed: &Placed| placed.finding.is_error() && placed.finding.rule.id == silenced.rule;
        if placed.iter().any(applies) {
            let (rule, reason) = (&silenced.rule, text::printable(silenced.reason.trim()));
            session.ui.warn(format_args!("the manifest of {} silences the rule {rule}: {reason}", node.node));
        }
    }
    placed.retain(|placed| placed.finding.is_error() && !is_silenced(node, &placed.finding));
    let line = |placed: &Placed| format!("\n  {}", placed.finding.line(placed.file.display()));
    let errors: Vec<String> = placed.iter().map(line).collect();
    anyhow::ensure!(errors.is_empty(), "the definitions of {} have errors:{}", node.node, errors.concat());
    Ok(())
}
