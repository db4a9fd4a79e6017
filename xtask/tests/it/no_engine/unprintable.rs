//! Texts of files, archives and names of files, with what a terminal would obey in them: none of it reaches a terminal.

use std::io::Write;

use crate::common::{Outcome, Repo};

/// Sets the title of a terminal, and reverses the text behind it.
const MARKER: &str = "\x1b]0;x\x07\u{202e}\u{9b}31m";
/// The same in JSON and in a double-quoted text of YAML.
const ESCAPED: &str = r"\u001b]0;x\u0007\u202e\u009b31m";

/// A definition in which nothing but its keys is right.
fn node() -> String {
    format!(
        "id: \"{ESCAPED}\"\n\"{ESCAPED}\": 1\nui: {{label: \"{ESCAPED}\", label_prefix: \"{ESCAPED}\", \
         icon: \"{ESCAPED}\", visible: \"{ESCAPED}\", \"{ESCAPED}\": 2}}\ngeneral: {{nature: \"{ESCAPED}\"}}\n\
         boot: {{timeout: \"{ESCAPED}\", completed: [\"{ESCAPED}\"]}}\n\
         configuration:\n  generator: {{driver: \"{ESCAPED}\"}}\n  provisioning:\n    volume_name: \"{ESCAPED}\"\n    \
         files:\n      - {{name: \"{ESCAPED}\", editable: \"{ESCAPED}\", content: \"{ESCAPED}\"}}\n      \
         - {{name: config.json, editable: false, content: '{{\"{ESCAPED}\": \"{ESCAPED}\", \"docker\": \
         {{\"image\": \"{ESCAPED}\", \"mounts\": [\"{ESCAPED}\"], \"run_args\": [\"{ESCAPED}\"]}}}}'}}\n"
    )
}

fn image(archive: &str) -> String {
    format!(
        "id: \"{ESCAPED}\"\nnode_definition_id: \"{ESCAPED}\"\nlabel: \"{ESCAPED}\"\ndisk_image: \"{archive}\"\n\
         docker_tag: \"{ESCAPED}\"\nsha256: \"{ESCAPED}\"\n"
    )
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    archive::pack(files.iter().map(|(name, content)| (*name, content.as_bytes()))).unwrap()
}

/// Archives whose texts are shown because of what is wrong with them.
fn archives() -> [(&'static str, Vec<u8>); 4] {
    let manifest =
        |config: &str, layer: &str| format!(r#"[{{"Config":"{config}","RepoTags":["{ESCAPED}"],"Layers":[{layer}]}}]"#);
    let layer = format!("\"{ESCAPED}\"");
    let mut outside = tar::Header::new_gnu();
    let name = format!("../{MARKER}");
    outside.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    outside.set_size(0);
    outside.set_cksum();
    [
        ("the tag", tar(&[("c.json", "{}"), ("manifest.json", &manifest("c.json", ""))])),
        ("the configuration", tar(&[("manifest.json", &manifest(ESCAPED, ""))])),
        ("a layer", tar(&[("c.json", "{}"), ("manifest.json", &manifest("c.json", &layer))])),
        ("an entry", outside.as_bytes().to_vec()),
    ]
}

/// Asserts that what it printed is safe, and that it spoke of the marker at all.
#[track_caller]
fn is_printable(what: &str, outcome: &Outcome) {
    let printed = format!("{}{}", outcome.stdout, outcome.stderr);
    let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!printed.contains(obeyed), "{what}: {printed:?}");
    assert!(printed.contains("31m"), "{what} is not shown, so this test shows nothing: {outcome}");
}

#[test]
fn findings_of_lint_are_printable_and_json_keeps_every_text() {
    let repo = Repo::empty();
    let folder = format!("all{MARKER}\n");
    repo.write(&format!("{folder}/{MARKER}.yaml"), &node());
    for (what, bytes) in archives() {
        let archive = format!("{MARKER}.tar");
        repo.write(&format!("{folder}/image.yaml"), &image(&format!("{ESCAPED}.tar")));
        std::fs::File::create(repo.path(&folder).join(archive)).unwrap().write_all(&bytes).unwrap();
        let path = repo.path(&folder);
        let text = repo.xtask(&["lint", path.to_str().unwrap()]);
        assert_eq!(text.code, Some(1), "{what}: {text}");
        is_printable(what, &text);
        assert!(
            text.stdout
                .lines()
                .all(|line| line.contains(": error[") || line.contains(": warning[") || line.starts_with("  ")),
            "{text}"
        );

        let json = repo.xtask(&["lint", path.to_str().unwrap(), "--json"]);
        is_printable(what, &json);
        let paths: Vec<serde_json::Value> =
            json.json().as_array().unwrap().iter().map(|file| file["path"].clone()).collect();
        let file = path.join(format!("{MARKER}.yaml"));
        assert!(paths.contains(&file.to_str().unwrap().into()), "{what}: {paths:?}");
    }
}

#[test]
fn errors_that_name_files_and_arguments_are_printable() {
    let repo = Repo::tiny();
    let (missing, definition) = (format!("missing{MARKER}"), format!("definition{MARKER}.yaml"));
    repo.write(&definition, &node());
    let definition = repo.path(&definition);
    let definition = definition.to_str().unwrap();
    let argument = format!("--{MARKER}");
    for args in [
        &["lint", &missing][..],
        &["lint", &argument],
        &["lint", "--deny", MARKER],
        &["list", &missing],
        &["verify", MARKER],
        &["verify", "--definition", &missing, "--archive", &missing],
        &["verify", "--definition", definition, "--archive", &missing],
        &["build", MARKER],
        &["save", MARKER],
        &["inspect", MARKER],
        &["diff", "--against", &missing],
        &["upload", "--cml", MARKER],
        &["--engine", MARKER, "list"],
    ] {
        let outcome = repo.xtask(args);
        assert_ne!(outcome.code, Some(0), "{args:?}: {outcome}");
        is_printable(&format!("{args:?}"), &outcome);
    }
    is_printable("the repository", &repo.xtask_at(&repo.path(&missing), &["list"]));
}

#[test]
fn what_a_repository_says_of_its_nodes_is_printable() {
    let mut repo = Repo::tiny();
    // No engine answers there.
    repo.set("DOCKER_HOST", format!("unix:///none{MARKER}"));
    let manifest = repo.read(&repo.manifest());
    repo.edit_manifest("summary: ", &format!("summary: \"{ESCAPED}\" #"));
    for args in [&["list"][..], &["list", "--json"], &["lint"]] {
        let outcome = repo.xtask(args).failure().says(["is not one line of at most 500 characters"]);
        is_printable(&format!("{args:?} of a summary"), &outcome);
    }
    repo.write(&repo.manifest(), &manifest);
    repo.write("old.yaml", &format!("{MARKER}\n"));
    let old = repo.path("old.yaml");
    for args in [&["list"][..], &["diff", "--against", old.to_str().unwrap()]] {
        let outcome = repo.xtask(args).success();
        is_printable(&format!("{args:?}"), &outcome);
    }
}
