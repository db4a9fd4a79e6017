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

/// Every shell script.
pub fn scripts(root: &Path) -> Vec<PathBuf> {
    let start =
        Regex::new(r"^(#! ?/(usr/)?bin/(env )?(ba|da)?sh\b|# shellcheck shell=)").expect("a regular expression");
    let is_script = |path: &Path, text: &str| has_extension(path, &["sh"]) || start.is_match(text);
    files(root).into_iter().filter(|(path, text)| is_script(path, text)).map(|(path, _)| path).collect()
}

/// Places where something else than a `CommandLine` could reach ssh: a server as an argument, ssh and its relatives
/// started elsewhere, and another use of the function that quotes.
pub fn ways_to_servers(root: &Path) -> Vec<String> {
    let regex = |pattern: &str| Regex::new(pattern).expect("a regular expression");
    let started = regex(r#"Command::new\(\s*"(ssh|scp|sftp|rsync)"|cmd!\(\w+, "(ssh|scp|sftp|rsync) "#);
    let server = regex(r"\.args?\([^;]*\b(host|address)\b");
    let (makes, starts) = (Path::new("crates/cml/src/ssh/remote.rs"), Path::new("crates/cml/src/ssh/command.rs"));
    // Measures this program by comparing it with scp, whose words are constants.
    let compares = Path::new("xtask/src/dev/bench/upload/by_ssh.rs");
    let mut found = Vec::new();
    for (path, text) in files(root) {
        let is_product = has_extension(&path, &["rs"]) && !path.starts_with("xtask/tests");
        if !is_product || path == makes || path == compares {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_of_ssh = path.starts_with("crates/cml/src/ssh");
        let wrong = [
            (path != starts && started.is_match(code), "starts ssh"),
            (is_of_ssh && server.is_match(code), "gives ssh the name of a server"),
            (is_of_ssh && code.contains("shell_escape"), "quotes by itself"),
        ];
        found.extend(wrong.iter().filter(|(is, _)| *is).map(|(_, what)| format!("{}: {what}", path.display())));
    }
    found
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
