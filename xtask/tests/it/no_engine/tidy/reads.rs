//! Where the data of a repository is read: by `files::Tree` alone, which follows no link.

use std::path::{Path, PathBuf};

use regex_lite::Regex;

/// The source that reads or writes what may be a stranger's.
const ROOMS: [&str; 8] = [
    "crates/archive/src", "crates/builder/src", "crates/catalog/src", "crates/definitions/src", "xtask/src/commands",
    "xtask/src/dist.rs", "xtask/src/engine/build", "xtask/src/proof",
];

/// What follows links.
const FOLLOWS: &str = concat!(
    r"\bfs::(read|read_to_string|read_dir|write|copy|metadata|canonicalize|create_dir|create_dir_all|exists)\(",
    r"|\bFile::(open|create|create_new|options)\(|\bOpenOptions\b|\bDigest::of_file\(|\bfiles::(write|draft)\(",
    r"|\.(is_file|is_dir|exists|try_exists|canonicalize|read_dir)\(\)",
);

/// What may: a file, a part of the line, and why.
const ALLOWED: [(&str, &str, &str); 23] = [
    ("crates/archive/src/pass.rs", "kind.is_", "an entry of an archive"),
    ("crates/builder/src/environment.rs", "read_dir(folder)", "the user's own keys"),
    ("crates/builder/src/environment.rs", "read_to_string(path)", "the user's own keys"),
    ("crates/builder/src/environment.rs", "\"/etc/", "the machine's settings"),
    ("crates/catalog/src/context.rs", "File::open(path)", "a source, which the user names or git has just written"),
    (
        "crates/catalog/src/repository.rs",
        "let root = root.canonicalize()",
        "the repository itself may be behind a link",
    ),
    ("crates/catalog/src/repository.rs", "shared.canonicalize()", "the repository itself may be behind a link"),
    ("crates/catalog/src/repository.rs", "let own = Path::new", "the program's own folder"),
    ("crates/catalog/src/repository.rs", "let is_root = ", "looks for the repository"),
    ("crates/catalog/src/source.rs", "", "sources, which the user names or git keeps in the cache"),
    ("xtask/src/commands/any_image/options.rs", "path.canonicalize()", "an archive, which the user names"),
    ("xtask/src/commands/builder/create.rs", "file.exists()", "creates a new file or none"),
    ("xtask/src/commands/builder/create.rs", "create_new(true)", "creates a new file or none"),
    ("xtask/src/commands/clean.rs", "dist.root.is_dir()", "only asks whether it is there"),
    ("xtask/src/commands/lint/files.rs", "path.canonicalize()", "compares names"),
    ("xtask/src/commands/lint/files.rs", "entry.file_type()?", "that of a link is a link"),
    ("xtask/src/commands/lint/files.rs", "fs::read_dir(folder)", "lists names; their files are opened elsewhere"),
    ("xtask/src/commands/lint/mod.rs", "canonicalize()", "looks for the repository"),
    ("xtask/src/commands/lint/mod.rs", "let is_repository = ", "looks for the repository"),
    ("xtask/src/engine/build/image.rs", "(&path)", "the context in this build's own folder"),
    ("xtask/src/engine/build/image.rs", "(context)", "the context in this build's own folder"),
    ("xtask/src/engine/build/image.rs", "fs::write(&told", "a file in this build's own folder"),
    ("xtask/src/engine/build/image.rs", "fs::write(&unlocked", "a Dockerfile in this build's own folder"),
];

/// The lines that may follow a link, and are not listed; and what is listed for nothing.
pub fn that_follow_links(root: &Path) -> Vec<String> {
    let follows = Regex::new(FOLLOWS).expect("a regular expression");
    let tests = Regex::new(r"#\[cfg\(test\)\]\n(pub(\(crate\))? )?mod \w+ \{").expect("a regular expression");
    let (mut found, mut unused) = (Vec::new(), ALLOWED.to_vec());
    let mut files = Vec::new();
    ROOMS.iter().for_each(|room| sources(&root.join(room), &mut files));
    for file in files {
        let text = std::fs::read_to_string(&file).expect("UTF-8");
        let file = file.strip_prefix(root).expect("a file of the repository").display().to_string();
        // Tests come last.
        let text = tests.find(&text).map_or(&*text, |tests| &text[..tests.start()]);
        let code = (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in code.filter(|(_, line)| follows.is_match(line)) {
            let allows = |(known, part, _): &(&str, &str, &str)| *known == file && line.contains(part);
            if !ALLOWED.iter().any(allows) {
                found.push(format!("{file}:{number}: {}", line.trim()));
            }
            unused.retain(|allowed| !allows(allowed));
        }
    }
    found.extend(unused.iter().map(|(file, part, _)| format!("{file}: nothing has `{part}` any more")));
    found
}

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("a readable folder").flatten();
        entries.for_each(|entry| sources(&entry.path(), found));
    } else if path.to_string_lossy().ends_with(".rs") && !path.to_string_lossy().ends_with("tests.rs") {
        found.push(path.to_owned());
    }
}
