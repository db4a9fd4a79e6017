//! A build that fails says where and why, and leaves what was there before.

use crate::common::Repo;
use crate::common::engine::Engine;
use crate::common::git::Upstream;

/// Asserts that no unfinished image and no container of this repository's node is left.
fn is_tidy(engine: &Engine, repo: &Repo, images: usize) {
    let found = |label: &str| engine.labelled(&format!("{label}={}", repo.node()));
    let (images_of_node, checks) = (found("cml-nodes.node").0, found("cml-nodes.check").1);
    assert_eq!((images_of_node, checks), (images, 0), "(images, containers) of the node");
}

#[test]
fn a_failing_compilation_is_reported_with_its_line_and_the_end_of_its_output() {
    let (repo, engine) =
        (Repo::with_shell("\n# The compile.\nRUN echo cc -c main.c; echo no such thing >&2; exit 3\n"), Engine::here());
    let place = format!("docker/{}/Dockerfile:5", repo.node());
    repo.xtask(&["build"]).failure().says([&place, "RUN echo cc -c main.c", "| cc -c main.c", "| no such thing", "3"]);
    assert!(engine.image(&repo.image()).is_none());
    is_tidy(&engine, &repo, 0);
}

#[test]
fn a_failing_save_ends_the_same_way_and_leaves_dist_alone() {
    let repo = Repo::with_shell("RUN exit 3\n");
    repo.xtask(&["save", "--json"]).failure().says(["/Dockerfile:3"]);
    assert!(repo.dist().is_empty(), "{:?}", repo.dist());
}

#[test]
fn the_earlier_image_and_archive_outlive_a_failing_build() {
    let (repo, engine) = (Repo::with_shell("RUN echo good > /state\n"), Engine::here());
    repo.xtask(&["save"]).success();
    let (image, archive) = (engine.id(&repo.image()), std::fs::read(repo.archive()).unwrap());
    repo.edit(&repo.dockerfile(), "echo good > /state", "exit 3");
    repo.xtask(&["save"]).failure();
    assert_eq!(engine.id(&repo.image()), image);
    assert!(std::fs::read(repo.archive()).unwrap() == archive);
    assert_eq!(repo.check_sums(), 3);
    is_tidy(&engine, &repo, 1);
}

#[test]
fn a_wrong_dockerfile_is_named() {
    let repo = Repo::tiny();
    repo.write(&repo.dockerfile(), "FROM scratch\nCOPI greeting /\n");
    repo.xtask(&["build"]).failure().says([&format!("docker/{}/Dockerfile:2\n", repo.node()), "COPI"]);
    repo.write(&repo.dockerfile(), "FROM scratch\nCOPY nothing /\n");
    repo.xtask(&["build"]).failure().says(["/Dockerfile:2", "COPY nothing /"]);
}

#[test]
fn an_image_that_fails_a_check_does_not_get_the_tag() {
    let (repo, engine) = (Repo::with_shell("RUN echo one > /number\n"), Engine::here());
    repo.edit_manifest("variants:\n", "checks: [{name: the number, run: [cat, /number], prints: one}]\nvariants:\n");
    repo.xtask(&["build"]).success();
    let before = engine.id(&repo.image());

    repo.edit(&repo.dockerfile(), "echo one", "echo two");
    repo.xtask(&["build"]).failure().says([
        "fails its check `the number`",
        "`cat /number` should exit with 0 and print `one`",
        "| two",
    ]);
    assert_eq!(engine.id(&repo.image()), before);
    is_tidy(&engine, &repo, 1);

    repo.edit_manifest("[cat, /number]", "[/no/such/program]");
    repo.xtask(&["build"]).failure().says(["check `the number`", "/no/such/program"]);
    assert_eq!(engine.id(&repo.image()), before);
    is_tidy(&engine, &repo, 1);
}

#[test]
fn a_check_that_exits_with_another_code_is_reported() {
    let repo = Repo::with_shell("");
    repo.edit_manifest("variants:\n", "checks: [{name: it works, run: [sh, -c, 'echo broken; exit 4']}]\nvariants:\n");
    repo.xtask(&["build"]).failure().says(["check `it works`", "exited with 4", "| broken"]);
}

#[test]
fn an_image_larger_than_its_limit_is_refused() {
    let (repo, engine) = (Repo::with_shell("RUN head -c 3000000 /dev/zero > /big\n"), Engine::here());
    repo.edit_manifest("variants:\n", "limits: {image_mb: 4}\nvariants:\n");
    repo.xtask(&["build"]).failure().says(["its manifest allows 4 MB (limits.image_mb)"]);
    assert!(engine.image(&repo.image()).is_none());
    is_tidy(&engine, &repo, 0);
}

#[test]
fn an_archive_larger_than_its_limit_is_refused() {
    let repo = Repo::tiny();
    std::fs::write(repo.path(&format!("docker/{}/greeting", repo.node())), crate::common::noise(1, 3_000_000)).unwrap();
    repo.edit_manifest("variants:\n", "limits: {archive_mb: 1}\nvariants:\n");
    repo.xtask(&["save"]).failure().says(["the archive has", "its manifest allows 1 MB (limits.archive_mb)"]);
    assert!(!repo.dist().iter().any(|path| path.ends_with(".tar.gz")), "{:?}", repo.dist());
}

#[test]
fn an_unreachable_base_is_reported_before_anything_is_built() {
    let repo = Repo::tiny();
    repo.edit_manifest("image: scratch", "image: registry.invalid/base:1");
    repo.xtask(&["save"])
        .failure()
        .says(["base registry.invalid/base:1 is not in the engine", "can't fetch"])
        .does_not_say(["building"]);
    repo.xtask(&["build", "--base", "registry.invalid/other:1"]).failure().says(["registry.invalid/other:1"]);
}

#[test]
fn an_unreachable_source_is_reported_before_anything_is_built() {
    let repo = Repo::tiny();
    let source = |url: &str| format!("image: scratch\n    source: {{git: '{url}', ref: main}}");
    repo.edit_manifest("image: scratch", &source("https://upstream.test/no/such/repository"));
    repo.xtask(&["build"])
        .failure()
        .says(["could not reach https://upstream.test/no/such/repository"])
        .does_not_say(["building"]);
    repo.xtask(&["build", "--source", "/no/such/folder"]).failure().says(["--source: /no/such/folder does not exist"]);

    let upstream = Upstream::of_version("1.0");
    let url = upstream.url();
    repo.edit_manifest(
        "https://upstream.test/no/such/repository', ref: main",
        &format!("{url}', ref: 'stable/{{{{ version }}}}'"),
    );
    repo.xtask(&["build"]).failure().says([&format!("{url} has no branch or tag stable/1.0")]);
}
