//! The source itself: what imports what, the width of lines, and words that nobody else would use. Needs no engine.

mod imports;
mod reads;
mod text;

use std::path::{Path, PathBuf};
use std::process::Command;

use imports::Crate;

/// The modules of xtask from the top to the bottom: imports run down only.
const ORDER: [&str; 9] = ["cli", "dev", "commands", "proof", "lab", "setup", "engine", "dist", "machine"];

/// The repository of this source. A runner may move the tests' program; cargo sets this variable for it.
fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).parent().expect("the package is a folder of the workspace").to_owned()
}

fn crates() -> Vec<Crate> {
    let folders = std::fs::read_dir(root().join("crates")).expect("crates/").flatten().map(|entry| entry.path());
    let folders = folders.chain([root().join("xtask")]).filter(|folder| folder.join("Cargo.toml").exists());
    let mut crates: Vec<Crate> = folders.map(|folder| Crate::read(&root(), &folder.join("src"))).collect();
    crates.sort_by(|a, b| a.folder.cmp(&b.folder));
    crates
}

#[track_caller]
fn none(what: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{what} ({}):\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn no_file_imports_from_a_file_that_reaches_it_again() {
    let circles: Vec<String> = crates().iter().flat_map(Crate::circles).collect();
    none("files that import from each other in a circle", &circles);
}

#[test]
fn imports_run_down_the_list_of_modules() {
    let crates = crates();
    let xtask = crates.iter().find(|one| one.folder == Path::new("xtask/src")).expect("xtask");
    let rank = |module: &[String]| ORDER.iter().position(|name| module.first().is_some_and(|first| first == name));
    let placeless = xtask.modules().filter(|module| module.len() == 1 && rank(module).is_none());
    let mut findings: Vec<String> = placeless.map(|module| format!("{} has no place in ORDER", module[0])).collect();
    for import in xtask.imports() {
        if rank(&import.to) < rank(&import.from) {
            findings.push(xtask.describe(import));
        }
    }
    none(&format!("imports that run upwards in the order {}", ORDER.join(" → ")), &findings);
}

#[test]
fn no_line_of_source_is_wider_than_120_columns() {
    none("lines that are too long", &text::wide_source(&root()));
}

#[test]
fn prose_is_wrapped_at_100_columns() {
    none("lines of prose that are too long", &text::wide_prose(&root()));
}

#[test]
fn every_script_passes_shellcheck() {
    let scripts = text::scripts(&root());
    for script in ["docker/common/rootfs/usr/lib/node/links.sh", "crates/cml/src/ssh/cml_install_image.sh", ".ci/run"] {
        assert!(scripts.contains(&PathBuf::from(script)), "{script} is not among {scripts:?}");
    }
    let shellcheck =
        Command::new("shellcheck").args(["-x", "-P", "SCRIPTDIR"]).args(scripts).current_dir(root()).output();
    let output = shellcheck.expect("shellcheck is part of `cargo xtask setup` (package shellcheck)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn data_is_read_and_written_without_following_links() {
    none("calls that follow links, instead of `files::Tree`", &reads::that_follow_links(&root()));
}

#[test]
fn one_file_makes_command_lines_for_servers() {
    none("other ways to a shell of a server", &text::ways_to_servers(&root()));
}

#[test]
fn words_are_plain() {
    none("words to replace by plain ones", &text::private_words(&root()));
}

#[test]
fn every_errors_heading_is_followed_by_text() {
    none("`# Errors` headings that say nothing", &text::empty_headings(&root()));
}

#[test]
fn wide_prose_is_found_and_what_cannot_be_wrapped_is_exempt() {
    let long = "word ".repeat(30);
    for (line, is_wide) in [
        (long.clone(), true),
        (format!("- {long}"), true),
        (format!("| {long} |"), false),
        (format!("```sh\n{long}\n```"), false),
        (format!("[name]: https://example.org/{long}"), false),
        (format!("- [{long}](https://example.org)."), false),
        (format!("[{long}](https://example.org) is long"), true),
    ] {
        assert_eq!(!text::wide_lines_of_prose(&line).is_empty(), is_wide, "{line}");
    }
}

#[test]
fn circles_and_reexports_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join("src").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "pub mod a; pub mod b; mod c; pub use a::Thing; pub use c::quiet;");
    // By a re-export of the root, and by an inline path in a macro.
    write("a.rs", "use crate::b::{self, Other as _}; pub struct Thing; fn f() { println!(\"{}\", b::g()) }");
    write("b.rs", "pub struct Other; pub fn g() -> u8 { let _: crate::Thing; crate::quiet() }");
    write("c.rs", "/// [`crate::a::Thing`] is no import.\npub fn quiet() -> u8 { /* crate::a::f() */ 1 }");
    let circles = Crate::read(folder.path(), &folder.path().join("src")).circles();
    let [circle] = &circles[..] else { panic!("one circle expected: {circles:?}") };
    assert_eq!(
        circle.lines().map(str::trim).collect::<Vec<_>>(),
        [
            "src/a.rs, src/b.rs",
            "src/a.rs:1 imports b::Other, b::g from src/b.rs",
            "src/b.rs:1 imports Thing from src/a.rs",
        ]
    );
}

#[test]
fn a_module_that_uses_its_child_may_not_be_imported_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("src");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join("child.rs"), "use super::Shared; pub struct Child(Shared);").unwrap();
    for (root_says, circles) in [
        ("pub mod child; pub use child::Child; pub struct Shared;", 0),
        ("pub mod child; pub use child::Child; pub struct Shared; fn f(_: Child) {}", 1),
        ("mod child; use child::Child; pub struct Shared;", 1),
        ("mod child; pub struct Shared; fn f() { child::g() }", 1),
    ] {
        std::fs::write(root.join("lib.rs"), root_says).unwrap();
        assert_eq!(Crate::read(folder.path(), &root).circles().len(), circles, "{root_says}");
    }
}
