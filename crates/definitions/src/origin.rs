//! Which line of which template a line of rendered text came from.
//!
//! The template engine does not tell. But a template and its rendering are mostly the same text: with included files
//! put in, a comparison of both finds for every line the one that it came from.

use std::collections::HashMap;
use std::ops::Range;

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Templates that include each other in a circle are refused by the engine, before this is asked.
const DEEPEST: usize = 16;

#[derive(Debug)]
pub(super) struct Origin {
    /// The template that was rendered.
    pub template: String,
    /// For each line of the text: the template and the line, from 1.
    lines: Vec<(String, usize)>,
}

/// A line of a template.
struct Line<'a> {
    template: &'a str,
    number: usize,
    text: &'a str,
}

impl Origin {
    pub fn new(sources: &HashMap<String, String>, template: &str, text: &str) -> Self {
        let mut expanded = Vec::new();
        expand(sources, template, 0, &mut expanded);
        let old: Vec<&str> = expanded.iter().map(|line| line.text.trim_end()).collect();
        let new: Vec<&str> = text.lines().map(str::trim_end).collect();
        let mut sources: Vec<Option<usize>> = vec![None; new.len()];
        for op in capture_diff_slices(Algorithm::Patience, &old, &new) {
            pair_lines(&op, &old, &new, &mut sources);
        }
        // A line that came from nowhere stands behind the one before it: that of a loop, or of an action.
        let mut last = (template.to_owned(), 1);
        let lines = sources.into_iter().map(|source| {
            if let Some(line) = source.and_then(|index| expanded.get(index)) {
                last = (line.template.to_owned(), line.number);
            }
            last.clone()
        });
        Self { template: template.to_owned(), lines: lines.collect() }
    }

    /// The template and line of a line of the text, from 1. What is past the end belongs to the last line.
    pub fn of_line(&self, line: usize) -> (&str, usize) {
        let index = line.saturating_sub(1).min(self.lines.len().saturating_sub(1));
        self.lines.get(index).map_or((self.template.as_str(), 1), |(template, line)| (template.as_str(), *line))
    }
}

fn expand<'a>(sources: &'a HashMap<String, String>, template: &str, depth: usize, into: &mut Vec<Line<'a>>) {
    let Some((name, source)) = sources.get_key_value(template).filter(|_| depth < DEEPEST) else { return };
    for (index, text) in source.lines().enumerate() {
        match included(text) {
            Some(other) => expand(sources, other, depth + 1, into),
            None => into.push(Line { template: name, number: index + 1, text }),
        }
    }
}

/// The name in `{% include "partials/boot.yaml" %}`.
fn included(line: &str) -> Option<&str> {
    let action = line.trim().strip_prefix("{%")?.trim_start_matches('-').trim_start();
    let name = action.strip_prefix("include")?.trim_start();
    let quote = name.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    name[1..].split_once(quote).map(|(name, _)| name)
}

fn pair_lines(op: &DiffOp, old: &[&str], new: &[&str], sources: &mut [Option<usize>]) {
    match *op {
        DiffOp::Equal { old_index, new_index, len } => {
            for offset in 0..len {
                sources[new_index + offset] = Some(old_index + offset);
            }
        }
        DiffOp::Replace { old_index, old_len, new_index, new_len } => {
            let (mut from, end) = (old_index, old_index + old_len);
            for index in new_index..new_index + new_len {
                if let Some(found) = template_of(new[index], old, from..end) {
                    sources[index] = Some(found);
                    from = found + 1;
                }
            }
        }
        DiffOp::Delete { .. } | DiffOp::Insert { .. } => {}
    }
}

/// The first line that begins and ends like this one, around its actions.
fn template_of(line: &str, old: &[&str], among: Range<usize>) -> Option<usize> {
    among.into_iter().find(|index| {
        let template = old[*index];
        let (Some(start), Some(end)) = (template.find("{{"), template.rfind("}}")) else { return false };
        let (head, tail) = (&template[..start], &template[end + 2..]);
        line.len() >= head.len() + tail.len() && line.starts_with(head) && line.ends_with(tail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_in_templates_and_in_what_they_include() {
        let sources: HashMap<String, String> = [
            (
                "a.yaml",
                "# a comment\nid: {{ id }}\n{% if x -%}\nx: 1\n{% endif -%}\n\
                 {% include 'partials/b.yaml' %}\nui:\n  ram: true\n",
            ),
            ("partials/b.yaml", "boot:\n  ram: true\n"),
        ]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into();
        let origin = Origin::new(&sources, "a.yaml", "# a comment\nid: tiny\nboot:\n  ram: true\n\nui:\n  ram: true\n");
        let lines: Vec<_> = [1, 2, 3, 4, 6, 7].map(|line| origin.of_line(line)).into();
        assert_eq!(
            lines,
            [
                ("a.yaml", 1),
                ("a.yaml", 2),
                ("partials/b.yaml", 1),
                ("partials/b.yaml", 2),
                ("a.yaml", 7),
                ("a.yaml", 8)
            ]
        );
        assert_eq!(origin.of_line(99), ("a.yaml", 8));
    }
}
