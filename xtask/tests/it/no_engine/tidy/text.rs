//! What the lines of the repository's files look like.

use std::path::{Path, PathBuf};
use std::process::Command;

use regex_lite::Regex;

/// What nobody else would write.
const PRIVATE: &str = r"(?i)\b(stands here|bears|anew|whoever|mended|see the module's head|cml-facts)\b";

/// Every file that git knows or would add, except for binary ones.
fn files(root: &Path) -> Vec<(PathBuf, String)> {
    let words = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let output = Command::new("git").args(words).current_dir(root).output().expect("git");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).expect("names are UTF-8");
    let paths = names.split_terminator('\0').map(PathBuf::from);
    // Some may be removed, but not yet for git.
    paths.filter_map(|path| std::fs::read_to_string(root.join(&path)).ok().map(|text| (path, text))).collect()
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension().is_some_and(|extension| extensions.iter().any(|one| extension == *one))
}

fn is_source(path: &Path, text: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    has_extension(path, &["rs", "sh", "toml", "tera", "py"])
        || name.starts_with("Dockerfile")
        || text.starts_with("#!")
        || path.starts_with("node-definitions")
        || path.starts_with("image-definitions")
}

/// The shell scripts in these folders.
pub fn scripts(root: &Path, folders: &[&str]) -> Vec<PathBuf> {
    let is_script =
        |text: &str| ["#!/bin/sh", "#!/bin/bash", "# shellcheck shell="].iter().any(|start| text.starts_with(start));
    let files = files(root).into_iter().filter(|(path, _)| folders.iter().any(|folder| path.starts_with(folder)));
    files.filter(|(_, text)| is_script(text)).map(|(path, _)| path).collect()
}

pub fn wide_source(root: &Path) -> Vec<String> {
    let mut wide = Vec::new();
    for (path, text) in files(root).iter().filter(|(path, text)| is_source(path, text)) {
        for (number, line) in (1..).zip(text.lines()) {
            let width = line.chars().count();
            if width > 120 {
                wide.push(format!("{}:{number}: {width} columns", path.display()));
            }
        }
    }
    wide
}

pub fn wide_prose(root: &Path) -> Vec<String> {
    let pages = files(root).into_iter().filter(|(path, _)| has_extension(path, &["md"]));
    // Made by the program, a table a rule.
    let pages = pages.filter(|(path, _)| path != Path::new("docs/lint.md"));
    let wide = pages.flat_map(|(path, text)| {
        wide_lines_of_prose(&text).into_iter().map(move |line| format!("{}:{line}", path.display()))
    });
    wide.collect()
}

/// The numbers of lines that have more than 100 columns and could be wrapped.
pub fn wide_lines_of_prose(text: &str) -> Vec<usize> {
    let exempt = r"^\s*(\||\[[^\]]+\]:|([-*+>]\s+|\d+\.\s+)?(!?\[[^\]]*\]\([^)]*\)|<[^>]*>|https?://\S+)[.,;:]?$)";
    let exempt = Regex::new(exempt).expect("a regular expression");
    let (mut wide, mut fenced) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        if !fenced && !fence && line.chars().count() > 100 && !exempt.is_match(line) {
            wide.push(number);
        }
    }
    wide
}

pub fn private_words(root: &Path) -> Vec<String> {
    let private = Regex::new(PRIVATE).expect("a regular expression");
    let mut found = Vec::new();
    for (path, text) in files(root) {
        // Here they are named.
        if path.starts_with("xtask/tests/it/no_engine/tidy") || path.ends_with("Cargo.lock") {
            continue;
        }
        for (number, line) in (1..).zip(text.lines()) {
            let words = private.find_iter(line).map(|word| word.as_str());
            found.extend(words.map(|word| format!("{}:{number}: {word}", path.display())));
        }
    }
    found
}

pub fn empty_headings(root: &Path) -> Vec<String> {
    let mut empty = Vec::new();
    for (path, text) in files(root).iter().filter(|(path, _)| has_extension(path, &["rs"])) {
        let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.trim_end().ends_with("/ # Errors")) {
            let docs = lines[at + 1..].iter().map_while(|line| line.strip_prefix("///").map(str::trim));
            let first = docs.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
            if first.is_empty() || first.starts_with('#') {
                empty.push(format!("{}:{}", path.display(), at + 1));
            }
        }
    }
    empty
}
