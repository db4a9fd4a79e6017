//! The documentation: links lead somewhere, and the commands in it are commands of this program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

/// A link or command that does not hold, as `file:line: what`.
type Problems = Vec<String>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every file with this extension that belongs to the repository, relative to its root.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() && !entry.file_type().unwrap().is_symlink() {
                let is_output = ["target", "dist"].contains(&name.as_str());
                if !is_output && (!name.starts_with('.') || name == ".github") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(root()).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// A line of a Markdown file.
struct Line {
    number: usize,
    text: String,
    /// The language of the code block that it is in, if it is in one; empty for a block that does not say.
    block: Option<String>,
}

fn lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut block: Option<String> = None;
    for (number, text) in (1..).zip(text.lines()) {
        if let Some(language) = text.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language.to_owned()) };
        } else {
            lines.push(Line { number, text: text.to_owned(), block: block.clone() });
        }
    }
    assert!(block.is_none(), "a code block has no end");
    lines
}

/// The anchors of a Markdown file's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in lines(text).into_iter().filter(|line| line.block.is_none() && line.text.starts_with('#')) {
        let title = line.text.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || ['-', '_', ' '].contains(c));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let next = (0..).map(|n| if n == 0 { slug.clone() } else { format!("{slug}-{n}") });
        anchors.insert(next.into_iter().find(|slug| !anchors.contains(slug)).unwrap());
    }
    anchors
}

fn without_code(line: &str) -> String {
    Regex::new("`[^`]*`").unwrap().replace_all(line, "").into_owned()
}

#[test]
fn relative_links_and_anchors_resolve() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut problems = Problems::new();
    let mut seen = 0;
    for file in files("md") {
        let folder = root().join(&file).parent().unwrap().to_path_buf();
        let text = fs::read_to_string(root().join(&file)).unwrap();
        for line in lines(&text).iter().filter(|line| line.block.is_none()) {
            for target in link.captures_iter(&without_code(&line.text)).map(|found| found[1].to_owned()) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                seen += 1;
                let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
                let at = if path.is_empty() { root().join(&file) } else { folder.join(path) };
                let resolves =
                    at.exists() && (anchor.is_empty() || anchors(&fs::read_to_string(&at).unwrap()).contains(anchor));
                if !resolves {
                    problems.push(format!("{}:{}: {target}", file.display(), line.number));
                }
            }
        }
    }
    assert!(problems.is_empty(), "links that lead nowhere:\n{}", problems.join("\n"));
    assert!(seen > 30, "only {seen} links were found");
}

#[test]
fn every_page_can_be_reached_from_the_readme() {
    let link = Regex::new(r"\]\(([^)#\s]+)[^)\s]*\)").unwrap();
    let mut reached = BTreeSet::new();
    let mut open = vec![root().join("README.md").canonicalize().unwrap()];
    while let Some(page) = open.pop() {
        if page.extension().is_some_and(|extension| extension == "md") && reached.insert(page.clone()) {
            let text = fs::read_to_string(&page).unwrap();
            let targets = link.captures_iter(&text).map(|found| page.parent().unwrap().join(&found[1]));
            open.extend(targets.filter_map(|target| target.canonicalize().ok()));
        }
    }
    let pages = files("md").into_iter().filter(|file| !file.starts_with(".github"));
    let lost: Vec<PathBuf> =
        pages.filter(|page| !reached.contains(&root().join(page).canonicalize().unwrap())).collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
}

/// The arguments of a command line as a shell would split it; a comment at its end is left out.
fn arguments(command: &str) -> Vec<String> {
    let command = command.split(" #").next().unwrap();
    command.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()).collect()
}

#[test]
fn the_commands_of_console_blocks_parse() {
    let mut problems = Problems::new();
    let mut seen = 0;
    for file in files("md") {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        for line in lines(&text).iter().filter(|line| line.block.as_deref() == Some("console")) {
            let Some(command) = line.text.strip_prefix("$ cargo xtask") else { continue };
            seen += 1;
            let words = std::iter::once("cargo xtask".to_owned()).chain(arguments(command));
            if let Err(error) = xtask::cli::command().try_get_matches_from(words) {
                problems.push(format!("{}:{}: {}: {error}", file.display(), line.number, line.text));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(seen > 20, "only {seen} commands were found");
}

/// Without it, cargo takes versions that are not in Cargo.lock, and runs code that nobody here has seen.
#[test]
fn cargo_runs_with_the_versions_in_cargo_lock() {
    let alias = fs::read_to_string(root().join(".cargo/config.toml")).unwrap();
    assert!(alias.contains("xtask = \"run --locked "), "{alias}");
    let typed = Regex::new(r"\bcargo (bench|build|check|clippy|doc|install|nextest|run|rustc|test)\b[^`]*").unwrap();
    let started = Regex::new(r#""(bench|build|check|clippy|doc|nextest|run|rustc|test)", "--?[^\]]*"#).unwrap();
    let mut problems = Problems::new();
    let mut seen = 0;
    for file in ["md", "yml", "sh"].iter().flat_map(|extension| files(extension)) {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        // Commands, as opposed to prose: lines of a block, of a workflow, of a script.
        let is_command = |line: &&str| line.starts_with("$ ") || line.trim_start().starts_with("- run: ");
        for command in text.lines().filter(is_command).filter_map(|line| typed.find(line)) {
            seen += 1;
            if !command.as_str().contains("--locked") {
                problems.push(format!("{}: {}", file.display(), command.as_str()));
            }
        }
    }
    for file in files("rs").iter().filter(|file| file.starts_with("xtask/src/dev")) {
        let text = fs::read_to_string(root().join(file)).unwrap();
        for command in started.find_iter(&text) {
            seen += 1;
            if !command.as_str().contains("--locked") {
                problems.push(format!("{}: {}", file.display(), command.as_str()));
            }
        }
    }
    assert!(problems.is_empty(), "without --locked:\n{}", problems.join("\n"));
    assert!(seen > 8, "only {seen} commands were found");
}

/// A tag of an action can be moved; a commit cannot.
#[test]
fn actions_are_pinned_by_their_commits() {
    let pinned = Regex::new(r"^\s*- uses: [a-z0-9_-]+/[a-z0-9_-]+@[0-9a-f]{40} # v[0-9]").unwrap();
    let workflows = fs::read_dir(root().join(".github/workflows")).unwrap().map(|entry| entry.unwrap().path());
    let texts: String = workflows.map(|path| fs::read_to_string(path).unwrap()).collect();
    let uses: Vec<&str> = texts.lines().filter(|line| line.contains("uses:")).collect();
    assert!(!uses.is_empty() && uses.iter().all(|line| pinned.is_match(line)), "{uses:?}");
}

/// What is wrong with a command that a text mentions. It need not be complete, and may hold stand-ins for values
/// (`NODE`, `[PATH...]`, `{title}`), but its subcommands and options must exist.
fn mistake(mentioned: &str) -> Option<String> {
    let mut command = xtask::cli::command();
    command.build();
    for word in arguments(mentioned) {
        let word = word.trim_matches(['[', ']', ',', '.']);
        if let Some(option) = word.strip_prefix("--").map(|option| option.split(['=', '[']).next().unwrap()) {
            let exists = option == "help" || command.get_arguments().any(|known| known.get_long() == Some(option));
            if !exists && !option.contains('{') {
                return Some(format!("`{}` has no option --{option}", command.get_name()));
            }
        } else if command.has_subcommands() && word.starts_with(|first: char| first.is_ascii_lowercase()) {
            match command.find_subcommand(word) {
                Some(subcommand) => command = subcommand.clone(),
                None => return Some(format!("`{}` has no command `{word}`", command.get_name())),
            }
        }
    }
    None
}

#[test]
fn commands_that_texts_and_messages_mention_exist() {
    let mention = Regex::new(r"`cargo xtask ([^`]+)`").unwrap();
    let mut problems = Problems::new();
    let mut seen = 0;
    for file in ["md", "rs", "yaml", "sh"].iter().flat_map(|extension| files(extension)) {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        for (number, line) in (1..).zip(text.lines()) {
            for found in mention.captures_iter(line) {
                seen += 1;
                if let Some(mistake) = mistake(&found[1]) {
                    problems.push(format!("{}:{number}: {}: {mistake}", file.display(), &found[0]));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(seen > 50, "only {seen} commands were found");
}

#[test]
fn architecture_says_what_each_dependency_is_for() {
    let name = Regex::new(r"^([a-z0-9_-]+)(\.workspace)? *=(.*)$").unwrap();
    let mut used = BTreeSet::new();
    for manifest in files("toml").iter().filter(|path| path.ends_with("Cargo.toml") && !path.starts_with("fuzz")) {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let sections = text.split("\n[").filter(|section| section.split(']').next().unwrap().ends_with("dependencies"));
        let entries = sections.flat_map(str::lines).filter_map(|line| name.captures(line));
        used.extend(entries.map(|entry| (entry[1].to_owned(), entry[3].contains("path ="))));
    }
    let ours: BTreeSet<String> = used.iter().filter(|(_, is_ours)| *is_ours).map(|(name, _)| name.clone()).collect();
    let outside: BTreeSet<String> =
        used.into_iter().map(|(name, _)| name).filter(|name| !ours.contains(name)).collect();

    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = page.split("| crate | for |").nth(1).unwrap().lines().take_while(|line| !line.starts_with('#'));
    let rows = table.filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let explained = rows.flat_map(|names| names.split(", ")).filter(|name| !name.starts_with('-'));
    let explained: BTreeSet<String> = explained.map(str::to_owned).collect();
    assert_eq!(explained, outside);
}

/// A path in backquotes is one of a file here: from the root, the folder of a crate's source, or the page's own folder.
#[test]
fn files_that_texts_mention_exist() {
    let path = Regex::new(r"`((?:[a-z0-9_.-]+/){2,}|(?:[a-z0-9_.-]+/)+[A-Za-z0-9_.-]+\.(?:rs|sh|md))`").unwrap();
    let crates = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path().join("src"));
    let bases: Vec<PathBuf> = [root(), root().join("xtask/src")].into_iter().chain(crates).collect();
    let mut problems = Problems::new();
    let mut seen = 0;
    // dist/ is made by the program, docker/my-node/ by a reader.
    let is_output = |path: &str| path.starts_with("dist/") || path.starts_with("docker/my-node/");
    for file in files("md") {
        let page = root().join(&file);
        let text = fs::read_to_string(&page).unwrap();
        for line in lines(&text).iter().filter(|line| line.block.is_none()) {
            for found in path.captures_iter(&line.text).filter(|found| !is_output(&found[1])) {
                seen += 1;
                let mut folders = bases.iter().map(PathBuf::as_path).chain(page.parent());
                if !folders.any(|folder| folder.join(&found[1]).exists()) {
                    problems.push(format!("{}:{}: {}", file.display(), line.number, &found[1]));
                }
            }
        }
    }
    assert!(problems.is_empty(), "files that do not exist:\n{}", problems.join("\n"));
    assert!(seen > 10, "only {seen} paths were found");
}
