//! A second, trivial node needs only data, and goes through every step.

use crate::common::engine::Engine;
use crate::common::{Repo, image_id_of_archive};

#[test]
fn a_listed_node_is_built_inspected_saved_and_removed() {
    let (repo, engine) = (Repo::tiny(), Engine::here());
    let (node, image) = (repo.node(), repo.image());

    let list = repo.xtask(&["list"]).success();
    let row = list.stdout.lines().find(|line| line.starts_with(node)).expect("a line of the node");
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells, [node, "only", "1.0", &image, "-", "-", "The", "only", "one"]);

    let build = repo.xtask(&["build", node]).success();
    assert_eq!(build.stdout, format!("{image}\n"), "stdout is the result alone");
    build.says(["building", "COPY greeting /greeting", &format!("built {image}")]);

    let inspect = repo.xtask(&["inspect", node]).success();
    let id = inspect.stdout.trim_end();
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "64 hex digits alone, not `{id}`");
    assert!(repo.node_definition().is_file() && repo.image_definition().is_file());
    if engine.names_images_by_configuration() {
        assert_eq!(format!("sha256:{id}"), engine.id(&image));
    }

    repo.xtask(&["save", node]).success().says(["is up to date", "saved"]);
    assert_eq!(image_id_of_archive(&repo.archive()), id);
    let definition = std::fs::read_to_string(repo.image_definition()).unwrap();
    assert!(definition.contains(&format!("sha256: {id}\n")), "{definition}");

    let list = repo.xtask(&["list"]).success();
    assert_eq!(list.stdout.matches("up to date").count(), 2, "built and saved:\n{}", list.stdout);

    repo.xtask(&["clean", node]).success().says(["removed image", &image]);
    assert!(engine.image(&image).is_none());
    assert!(!repo.path("dist").exists(), "nothing else was in dist/: {:?}", repo.dist());
    repo.xtask(&["clean", node]).success().says(["nothing to clean"]);
}

#[test]
fn save_alone_does_every_step_before_it() {
    let repo = Repo::tiny();
    let save = repo.xtask(&["save", "--json"]).success();
    let said = save.json();
    assert_eq!(said["written"], true);
    assert_eq!(said["id"], repo.id());
    assert_eq!(said["archive"], repo.archive().canonicalize().unwrap().display().to_string());
    assert_eq!(said["size"], repo.archive().metadata().unwrap().len());
    assert_eq!(said["image_id"], image_id_of_archive(&repo.archive()));
    let id = repo.id();
    assert_eq!(
        repo.dist(),
        [
            "SHA256SUMS".to_owned(),
            format!("node-definitions/{id}.yaml"),
            format!("sbom/{id}.spdx.json"),
            format!("virl-base-images/{id}/{id}.tar.gz"),
            format!("virl-base-images/{id}/{id}.yaml"),
        ]
    );
    assert_eq!(repo.check_sums(), 3);
}

#[test]
fn a_repeat_does_nothing_and_says_so() {
    let repo = Repo::tiny();
    repo.xtask(&["save"]).success();
    let before = repo.archive().metadata().unwrap().modified().unwrap();
    let again = repo.xtask(&["save", "--json"]).success();
    assert_eq!(again.json()["written"], false);
    again
        .says([&format!("{} is up to date", repo.image()), ".tar.gz is up to date"])
        .does_not_say(["building", "saved"]);
    assert_eq!(repo.archive().metadata().unwrap().modified().unwrap(), before);
    repo.xtask(&["build"]).success().says(["is up to date"]).does_not_say(["building"]);
}

#[test]
fn a_change_to_the_data_is_noticed_by_every_step() {
    let (repo, engine) = (Repo::tiny(), Engine::here());
    repo.xtask(&["save"]).success();
    let before = engine.id(&repo.image());
    repo.write(&format!("docker/{}/greeting", repo.node()), "changed\n");

    let list = repo.xtask(&["list", "--json"]).success().json();
    assert_eq!((&list[0]["built"], &list[0]["saved"]), (&"stale".into(), &"stale".into()));

    repo.xtask(&["save"]).success().says(["building", "saved"]);
    assert_ne!(engine.id(&repo.image()), before);
    assert_eq!(repo.check_sums(), 3);
    assert!(engine.image(&before).is_none(), "an image without a tag would only take up room");
}

#[test]
fn a_change_to_a_shared_file_makes_the_nodes_stale_that_use_it_and_no_others() {
    let mut repo = Repo::tiny();
    let other = repo.add_node("FROM scratch\nCOPY Dockerfile /\n");
    let node = repo.node().to_owned();
    repo.write("docker/common/notes/shared", "first\n");
    repo.edit_manifest("variants:\n", "common: [notes]\nvariants:\n");
    repo.write(&repo.dockerfile(), "FROM scratch\nCOPY common/notes/ greeting /\n");
    let built = || -> Vec<String> {
        let list = repo.xtask(&["list", "--json"]).success().json();
        let states = [&node, &other].map(|node| {
            let row = list.as_array().unwrap().iter().find(|row| row["node"] == **node).expect("a row of the node");
            row["built"].as_str().unwrap().to_owned()
        });
        states.to_vec()
    };
    repo.xtask(&["build", &node]).success();
    repo.xtask(&["build", &other]).success();
    assert_eq!(built(), ["yes", "yes"]);
    repo.write("docker/common/unused", "nobody lists it\n");
    assert_eq!(built(), ["yes", "yes"]);

    let before = Engine::here().id(&repo.image());
    repo.write("docker/common/notes/shared", "second\n");
    assert_eq!(built(), ["stale", "yes"]);
    repo.xtask(&["build", &node]).success().says(["building"]);
    assert_ne!(Engine::here().id(&repo.image()), before);
}

#[test]
fn a_change_to_the_definition_alone_does_not_write_the_archive_again() {
    let repo = Repo::tiny();
    repo.xtask(&["save"]).success();
    let before = repo.archive().metadata().unwrap().modified().unwrap();
    let is_saved = || repo.xtask(&["list", "--json"]).success().json()[0]["saved"].clone();
    assert_eq!(is_saved(), "yes");
    repo.edit("node-definitions/tiny.yaml", "quiet", "hushed");
    assert_eq!(is_saved(), "stale");
    repo.xtask(&["save"]).success().says(["wrote the definitions"]).does_not_say(["building", "saved"]);
    assert!(std::fs::read_to_string(repo.node_definition()).unwrap().contains("hushed"));
    assert_eq!(repo.archive().metadata().unwrap().modified().unwrap(), before);
    assert_eq!(repo.check_sums(), 3);
}

#[test]
fn an_archive_that_somebody_damaged_is_written_again() {
    let repo = Repo::tiny();
    repo.xtask(&["save"]).success();
    let whole = std::fs::read(repo.archive()).unwrap();
    std::fs::write(repo.archive(), &whole[..whole.len() / 2]).unwrap();
    repo.xtask(&["save"]).success().says(["saved"]);
    assert!(std::fs::read(repo.archive()).unwrap() == whole);
}

#[test]
fn the_engine_loads_the_archive_and_gives_it_the_same_id() {
    let (repo, engine) = (Repo::tiny(), Engine::here());
    repo.xtask(&["save"]).success();
    let id = engine.id(&repo.image());
    engine.remove(&repo.image());
    assert!(engine.image(&repo.image()).is_none());
    engine.load(&repo.archive());
    assert_eq!(engine.id(&repo.image()), id);
    repo.xtask(&["save"]).success().says(["is up to date"]).does_not_say(["building", "saved"]);
}

#[test]
fn saving_the_same_image_twice_gives_the_same_bytes() {
    let repo = Repo::with_shell("RUN echo something > /something\n");
    repo.xtask(&["save"]).success();
    let first = std::fs::read(repo.archive()).unwrap();
    std::fs::remove_dir_all(repo.path("dist")).unwrap();
    repo.xtask(&["save"]).success();
    assert!(first == std::fs::read(repo.archive()).unwrap());
}

#[test]
fn labels_say_what_an_image_is() {
    let repo = Repo::tiny();
    repo.xtask(&["build"]).success();
    let labels = Engine::here().labels(&repo.image());
    let label = |name: &str| labels.get(name).map(String::as_str);
    assert_eq!(label("org.opencontainers.image.title"), Some("Tiny"));
    assert_eq!(label("org.opencontainers.image.version"), Some("1.0"));
    assert_eq!(label("org.opencontainers.image.base.name"), Some("scratch"));
    assert_eq!(label("cml-nodes.node"), Some(repo.node()));
    assert_eq!(label("cml-nodes.variant"), Some("only"));
    assert!(label("cml-nodes.recipe").is_some_and(|recipe| recipe.len() == 64), "{labels:?}");
}

#[test]
fn with_several_nodes_one_must_be_named() {
    let mut repo = Repo::tiny();
    let second = repo.add_node("FROM scratch\nCOPY Dockerfile /\n");
    repo.xtask(&["build"]).failure().says(["which node?", &second]);
    let build = repo.xtask(&["build", &second]).success();
    assert_eq!(build.stdout, format!("{second}:1.0\n"));
    let list = repo.xtask(&["list", "--json"]).success().json();
    let built: Vec<_> =
        list.as_array().unwrap().iter().map(|row| (row["node"].as_str(), row["built"].as_str())).collect();
    assert_eq!(built, [(Some(repo.node()), Some("no")), (Some(second.as_str()), Some("yes"))]);
}

#[test]
fn checks_of_the_manifest_are_run_in_the_image() {
    let repo = Repo::with_shell("RUN echo one > /number\n");
    let checks = "checks:\n  - {name: the number, run: [cat, /number], prints: one}\n  \
        - {name: no other, run: [cat, /none], exits: 1}\nvariants:\n";
    repo.edit_manifest("variants:\n", checks);
    repo.xtask(&["build", "--verbose"]).success().says(["2 checks passed", "docker run --rm"]);
    let (_, containers) = Engine::here().labelled(&format!("cml-nodes.check={}", repo.node()));
    assert_eq!(containers, 0, "a check's container goes with it");
}

/// An image that is up to date is judged by the manifest as it is now, whatever it has passed before.
#[test]
fn what_decides_a_verdict_decides_it_for_an_image_that_is_up_to_date() {
    let repo = Repo::with_shell("RUN echo one > /number\n");
    repo.edit_manifest("variants:\n", "checks:\n  - {name: first, run: [cat, /number]}\nvariants:\n");
    repo.xtask(&["save"]).success().says(["1 check passed"]);
    let outcome = repo.xtask(&["save"]).success();
    assert!(!outcome.stderr.contains("passed"), "{outcome}");
    for (wrong, said) in [
        ("checks:\n  - {name: new, run: [cat, /none]}\nvariants:\n", "fails its check `new`"),
        ("limits: {image_mb: 1}\nvariants:\n", "limits.image_mb"),
        ("limits: {archive_mb: 0}\nvariants:\n", "limits.archive_mb"),
    ] {
        let manifest = std::fs::read_to_string(repo.path(&repo.manifest())).unwrap();
        repo.edit_manifest("checks:\n  - {name: first, run: [cat, /number]}\nvariants:\n", wrong);
        let commands: &[&str] = if said == "limits.archive_mb" { &["save", "verify"] } else { &["build", "verify"] };
        for command in commands {
            repo.xtask(&[command]).failure().says(["is up to date", said]);
        }
        repo.write(&repo.manifest(), &manifest);
    }
}

#[test]
fn inspect_needs_no_archive_and_save_uses_the_same_id() {
    let repo = Repo::tiny();
    let inspect = repo.xtask(&["inspect"]).success();
    assert_eq!(repo.dist().iter().filter(|path| path.contains(".tar.gz")).count(), 0);
    let save = repo.xtask(&["save", "--json"]).success().json();
    assert_eq!(inspect.stdout.trim_end(), save["image_id"]);
}
