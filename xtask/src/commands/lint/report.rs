//! Findings as text and as JSON.

use anyhow::Result;
use serde::Serialize;

use definitions::finding::{Finding, Severity};
use ui::Ui;

pub(super) struct Report {
    pub path: String,
    pub kind: &'static str,
    pub findings: Vec<Finding>,
    /// The number of further findings, which a manifest silences.
    pub silenced: usize,
}

/// What keeps a node from being judged, or is wrong in its manifest.
pub(super) struct Failure {
    /// The manifest.
    pub path: String,
    pub error: anyhow::Error,
}

#[derive(Default)]
pub(super) struct Judged {
    pub reports: Vec<Report>,
    pub failures: Vec<Failure>,
}

impl Report {
    pub fn fails(&self, warnings_too: bool) -> bool {
        self.findings.iter().any(|finding| warnings_too || finding.is_error())
    }
}

#[derive(Serialize)]
struct FileObject<'a> {
    path: &'a str,
    kind: &'static str,
    ok: bool,
    findings: Vec<FindingObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct FindingObject<'a> {
    rule: &'static str,
    severity: &'static str,
    line: usize,
    column: usize,
    at: &'a str,
    message: &'a str,
    help: Option<&'a str>,
}

pub(super) fn json(judged: &Judged, failed: impl Fn(&Report) -> bool) -> Result<String> {
    let files = judged.reports.iter().map(|report| {
        let Report { path, kind, findings, .. } = report;
        FileObject { path, kind, ok: !failed(report), findings: findings.iter().map(object).collect(), error: None }
    });
    let failures = judged.failures.iter().map(|Failure { path, error }| {
        let error = Some(format!("{error:#}"));
        FileObject { path, kind: "manifest", ok: false, findings: Vec::new(), error }
    });
    Ok(serde_json::to_string_pretty(&files.chain(failures).collect::<Vec<_>>())?)
}

fn object(finding: &Finding) -> FindingObject<'_> {
    FindingObject {
        rule: finding.rule.id,
        severity: finding.rule.severity.word(),
        line: finding.at.line,
        column: finding.at.column,
        at: &finding.path,
        message: &finding.message,
        help: finding.help.as_deref(),
    }
}

/// One line per finding, which editors can jump to, and a second line with advice.
pub(super) fn print(ui: &Ui, reports: &[Report]) -> Result<()> {
    for Report { path, findings, .. } in reports {
        for finding in findings {
            ui.result(finding.line(path))?;
            finding.help.iter().try_for_each(|help| ui.result(format_args!("  {help}")))?;
        }
    }
    Ok(())
}

pub(super) fn summarize(ui: &Ui, reports: &[Report]) {
    let count = |severity| {
        reports.iter().flat_map(|report| &report.findings).filter(|finding| finding.rule.severity == severity).count()
    };
    let silenced: usize = reports.iter().map(|report| report.silenced).sum();
    let files = text::plural(reports.len(), "file");
    let mut text = match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => format!("{files}: no findings"),
        (errors, warnings) => {
            format!("{files}: {}, {}", text::plural(errors, "error"), text::plural(warnings, "warning"))
        }
    };
    if silenced > 0 {
        text += &format!("; {silenced} silenced by a manifest");
    }
    ui.note(text);
    if reports.iter().any(|report| !report.findings.is_empty()) {
        ui.note("docs/lint.md explains each rule");
    }
}
