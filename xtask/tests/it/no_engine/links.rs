//! A stranger's repository with links, pipes and huge files in it: what it points to is neither shown nor changed.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::{Outcome, Repo, copy};

/// What must not get out of the files to which the links point.
const MARKER: &str = "precious-and-private";

/// Commands that need no engine, and those that find out without one that they can do nothing.
const COMMANDS: [&str; 9] = ["lint", "list", "diff", "new", "new --from", "clean", "build", "inspect", "save"];

/// All that open the repository.
const ALL: &[&str] = &COMMANDS;
/// All that need the node: a new one does not.
const OF_NODE: &[&str] = &["lint", "list", "diff", "new --from", "clean", "build", "inspect", "save"];
/// All that read templates without an engine.
const LINT: &[&str] = &["lint"];

/// A repository whose node takes files from `docker/common`, with a template that includes another.
fn repository() -> Repo {
    let mut repo = Repo::tiny();
    // Nothing answers there.
    repo.set("XTASK_ENGINE", "tcp://127.0.0.1:1");
    repo.edit_manifest("variants:\n", "common: [shell/rc, links.sh]\nvariants:\n");
    repo.write("docker/common/shell/rc", "rc\n");
    repo.write("docker/common/links.sh", "links\n");
    repo.write(&format!("docker/{}/.dockerignore", repo.node()), "notes\n");
    repo.write(&format!("docker/{}/rootfs/file", repo.node()), "text\n");
    repo.write("node-definitions/partials/sim.yaml", "# included\n");
    repo.edit("node-definitions/tiny.yaml", "general:", "{% include \"partials/sim.yaml\" %}\ngeneral:");
    for folder in [".records", "sbom", "node-definitions", "virl-base-images/other"] {
        repo.write(&format!("dist/{folder}/.cml-nodes-tmp-old"), "a draft of a killed command\n");
    }
    for file in [".records/lock", ".records/other.json", "node-definitions/other.yaml"] {
        repo.write(&format!("dist/{file}"), "{}\n");
    }
    repo
}

/// Moves what is at a path out of the repository, so that all would work as before, and leaves a link to it.
fn replace_by_link(repo: &Repo, path: &str) -> TempDir {
    let outside = tempfile::tempdir().unwrap();
    let (from, to) = (repo.path(path), outside.path().join("original"));
    if from.is_dir() {
        copy(&from, &to);
        std::fs::remove_dir_all(&from).unwrap();
    } else {
        std::fs::copy(&from, &to).unwrap();
        std::fs::remove_file(&from).unwrap();
    }
    for file in content(outside.path()).keys() {
        let text = std::fs::read_to_string(file).unwrap();
        std::fs::write(file, format!("{text}# {MARKER}\n")).unwrap();
    }
    symlink(to, from).unwrap();
    outside
}

/// The files below a folder, with their text.
fn content(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(content(&entry.path()));
        } else if kind.is_file() && entry.metadata().unwrap().len() < 1 << 20 {
            found.insert(entry.path(), String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned());
        }
    }
    found
}

fn run(repo: &Repo, command: &str) -> Outcome {
    match command {
        "new" => repo.xtask(&["new", "fresh"]),
        "new --from" => repo.xtask(&["new", "fresh", "--from", repo.node()]),
        "clean" => repo.xtask(&["clean", repo.node()]),
        command => repo.xtask(&[command]),
    }
}

/// Runs every command. Those in `refusing` fail, name the place and say this; none shows or copies the marker.
#[track_caller]
fn each_command(repo: &Repo, place: &str, refusing: &[&str], reason: &str) {
    for command in COMMANDS {
        let outcome = run(repo, command);
        assert!(!format!("{outcome}").contains(MARKER), "{place}: {command} shows what is elsewhere\n{outcome}");
        if refusing.contains(&command) {
            outcome.failure().says([&format!("{} {reason}", repo.path(place).display())]);
        }
        for (file, text) in content(repo.folder.path()) {
            assert!(!text.contains(MARKER), "{place}: {command} copies what is elsewhere to {}", file.display());
        }
        for new in ["docker/fresh", "node-definitions/fresh.yaml"].map(|path| repo.path(path)) {
            let _ = std::fs::remove_dir_all(&new);
            let _ = std::fs::remove_file(&new);
        }
    }
}

#[test]
fn data_is_not_read_or_written_through_links() {
    let node = |file: &str| format!("docker/NODE{file}");
    for (place, refusing) in [
        ("docker".to_owned(), ALL),
        (node(""), OF_NODE),
        (node("/node.yaml"), OF_NODE),
        (node("/Dockerfile"), OF_NODE),
        (node("/.dockerignore"), LINT),
        ("docker/common".to_owned(), ALL),
        ("docker/common/shell".to_owned(), OF_NODE),
        ("docker/common/shell/rc".to_owned(), OF_NODE),
        ("docker/common/links.sh".to_owned(), OF_NODE),
        ("node-definitions".to_owned(), &["lint", "new", "new --from"]),
        ("node-definitions/tiny.yaml".to_owned(), &["lint", "new --from"]),
        ("node-definitions/partials".to_owned(), LINT),
        ("node-definitions/partials/sim.yaml".to_owned(), LINT),
        ("image-definitions".to_owned(), LINT),
        ("image-definitions/container.yaml".to_owned(), LINT),
        ("dist".to_owned(), ALL),
        ("dist/.records".to_owned(), ALL),
        ("dist/.records/lock".to_owned(), &["clean"]),
        ("dist/sbom".to_owned(), ALL),
        ("dist/.records/other.json".to_owned(), &[]),
        ("dist/node-definitions".to_owned(), ALL),
        ("dist/node-definitions/other.yaml".to_owned(), &[]),
        ("dist/virl-base-images".to_owned(), ALL),
        ("dist/virl-base-images/other".to_owned(), ALL),
    ] {
        let repo = repository();
        let place = place.replace("NODE", repo.node());
        let outside = replace_by_link(&repo, &place);
        let before = content(outside.path());
        assert!(before.values().all(|text| text.contains(MARKER)) && !before.is_empty());
        each_command(&repo, &place, refusing, "is a symbolic link");
        assert_eq!(content(outside.path()), before, "{place}: what the link points to has changed");
    }
}

/// Puts something else in the place of a file.
type Plant = fn(&Path);

#[test]
fn pipes_hard_links_and_huge_files_are_refused() {
    let plants: [(&str, Plant); 3] = [
        ("is a pipe, a socket or a device", |path| {
            std::fs::remove_file(path).unwrap();
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
        ("has 2 names (hard links)", |path| {
            let other = path.with_extension("other");
            std::fs::hard_link(path, &other).unwrap();
            std::fs::write(other, format!("# {MARKER}")).unwrap();
        }),
        ("has 10.74 GB", |path| File::options().append(true).open(path).unwrap().set_len(10 << 30).unwrap()),
    ];
    for (place, refusing) in [
        ("docker/NODE/node.yaml", OF_NODE),
        ("docker/NODE/Dockerfile", LINT),
        ("docker/NODE/rootfs/file", LINT),
        ("docker/common/links.sh", LINT),
        ("node-definitions/partials/sim.yaml", LINT),
        ("image-definitions/container.yaml", LINT),
    ] {
        for (reason, plant) in plants {
            let repo = repository();
            let place = place.replace("NODE", repo.node());
            plant(&repo.path(&place));
            for command in refusing {
                let outcome = run(&repo, command);
                assert!(!format!("{outcome}").contains(MARKER), "{outcome}");
                outcome.failure().says([&place, reason]);
            }
        }
    }
}

#[test]
fn links_within_a_build_context_stay_links_and_are_copied_only_within_it() {
    let repo = repository();
    let folder = repo.path(&format!("docker/{}", repo.node()));
    std::fs::create_dir(folder.join("etc")).unwrap();
    symlink("../greeting", folder.join("etc/motd")).unwrap();
    repo.xtask(&["lint"]).success();
    repo.xtask(&["new", "fresh", "--from", repo.node()]).success();
    assert_eq!(std::fs::read_link(repo.path("docker/fresh/etc/motd")).unwrap(), Path::new("../greeting"));
    std::fs::remove_dir_all(repo.path("docker/fresh")).unwrap();
    std::fs::remove_file(repo.path("node-definitions/fresh.yaml")).unwrap();

    let outside = repo.folder.path().join("outside");
    std::fs::write(&outside, MARKER).unwrap();
    for target in [Path::new("../../../outside"), &outside] {
        let _ = std::fs::remove_file(folder.join("etc/link"));
        symlink(target, folder.join("etc/link")).unwrap();
        // An engine follows it within the context only.
        repo.xtask(&["lint"]).success();
        let outcome = repo.xtask(&["new", "fresh", "--from", repo.node()]).failure();
        outcome.says(["etc/link is a symbolic link to ", "outside of "]).does_not_say([MARKER]);
        assert!(!repo.path("docker/fresh").exists() && !repo.path("node-definitions/fresh.yaml").exists());
    }
}

#[test]
fn a_link_where_a_build_finds_files_of_this_program_is_refused() {
    for name in ["sources", "common", "extra/Dockerfile.dockerignore", ".containerignore"] {
        let repo = Repo::tiny();
        let link = repo.path(&format!("docker/{}/{name}", repo.node()));
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink("/tmp", &link).unwrap();
        repo.xtask(&["lint"]).failure().says([&link.display().to_string(), "is a symbolic link to /tmp"]);
    }
}

#[test]
fn definitions_that_are_named_or_found_in_a_folder_are_regular_files() {
    let (repo, outside) = (Repo::tiny(), tempfile::tempdir().unwrap());
    let text = format!("id: {MARKER}\nnode_definition_id: tiny\ndisk_image: ../secret.tar\n");
    for name in ["definition.yaml", "folder/definition.yaml", "secret.tar"] {
        let path = outside.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &text).unwrap();
    }
    // A folder that strangers share, and one of the repository.
    let shared = tempfile::tempdir().unwrap();
    for folder in [shared.path(), &repo.path("examples")] {
        std::fs::create_dir_all(folder).unwrap();
        symlink(outside.path().join("definition.yaml"), folder.join("link.yaml")).unwrap();
        symlink(outside.path().join("folder"), folder.join("way")).unwrap();
        let lint = |path: &Path| repo.xtask(&["lint", path.to_str().unwrap()]);
        for path in [folder.to_owned(), folder.join("link.yaml")] {
            let outcome = lint(&path);
            assert_eq!(outcome.code, Some(1), "{outcome}");
            assert!(!format!("{outcome}").contains(MARKER), "{outcome}");
            let link = folder.join("link.yaml");
            assert!(outcome.stdout.contains(&format!("{} is a symbolic link to ", link.display())), "{outcome}");
        }
        if folder != shared.path() {
            let outcome = lint(&folder.join("way/definition.yaml"));
            assert_eq!(outcome.code, Some(2), "{outcome}");
            outcome.says([&folder.join("way").display().to_string(), "is a symbolic link to "]).does_not_say([MARKER]);
        }
        std::fs::remove_file(folder.join("link.yaml")).unwrap();
        assert!(Command::new("mkfifo").arg(folder.join("pipe.yaml")).status().unwrap().success());
        for path in [folder.to_owned(), folder.join("pipe.yaml")] {
            let outcome = lint(&path);
            assert_eq!(outcome.code, Some(1), "{outcome}");
            assert!(outcome.stdout.contains("pipe.yaml is a pipe, a socket or a device"), "{outcome}");
        }
        let against = repo.xtask(&["diff", "--against", folder.join("pipe.yaml").to_str().unwrap()]);
        against.failure().says(["pipe.yaml is a pipe, a socket or a device"]);
    }
}

#[test]
fn what_lies_beside_an_image_definition_is_read_without_links() {
    let (repo, outside) = (Repo::tiny(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("secret.tar"), "no archive").unwrap();
    let node = format!("id: beside\nui: {{label: {MARKER}}}\n");
    std::fs::write(outside.path().join("beside.yaml"), node).unwrap();
    let server = tempfile::tempdir().unwrap();
    let folder = server.path().join("virl-base-images/beside");
    std::fs::create_dir_all(&folder).unwrap();
    symlink(outside.path(), server.path().join("node-definitions")).unwrap();
    symlink(outside.path().join("secret.tar"), folder.join("link.tar")).unwrap();
    symlink(outside.path(), folder.join("way")).unwrap();
    for disk_image in ["link.tar", "way/secret.tar", outside.path().join("secret.tar").to_str().unwrap()] {
        let definition = folder.join("definition.yaml");
        let text = format!("id: beside\nnode_definition_id: beside\nlabel: Tiny\ndisk_image: {disk_image}\n");
        std::fs::write(&definition, text).unwrap();
        let outcome = repo.xtask(&["lint", definition.to_str().unwrap()]);
        let said = format!("{outcome}");
        assert!(!said.contains(MARKER) && !said.contains("not a usable image archive"), "{disk_image}: {said}");
    }
}

#[test]
fn the_build_machine_is_made_without_links() {
    for file in ["lab.yaml", "network-config.yaml", "user-data.yaml", "prepare.sh"] {
        let mut repo = Repo::tiny();
        copy(&crate::common::real_root().join("builder"), &repo.path("builder"));
        repo.set("CML_BUILDER_PASS", "corr3ct-h0rse");
        let place = format!("builder/{file}");
        let create = |output: &str| {
            let output = repo.path(output).display().to_string();
            let server = ["builder", "create", "--cml", "192.0.2.1", "--server-address", "192.0.2.1"];
            let rest =
                ["--image-definition", "ubuntu", "--repository", "https://example.org/a.git", "--output", &output];
            repo.xtask(&[&server[..], &rest].concat())
        };
        create("good.yaml").success();
        let outside = replace_by_link(&repo, &place);
        let outcome = create("bad.yaml").failure();
        outcome.says([&place, "is a symbolic link to "]).does_not_say([MARKER]);
        assert!(!repo.path("bad.yaml").exists());
        drop(outside);
    }
}
