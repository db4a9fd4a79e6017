//! Which variant is built, from which source, on which base; and how the command line changes that.

use std::collections::HashMap;

use crate::common::Repo;
use crate::common::engine::Engine;
use crate::common::git::Upstream;

/// A node whose image holds the file `configure.ac` of its source.
fn with_source(source: &str) -> Repo {
    let repo = Repo::with_shell(
        "ARG VERSION\nARG EXTRA=none\nADD sources/ /sources\nRUN echo version $VERSION extra $EXTRA > /built\n",
    );
    let version_from =
        "version_from: {file: configure.ac, pattern: 'AC_INIT\\(\\[tiny\\], *\\[([0-9]+\\.[0-9]+)'}\nvariants:\n";
    repo.edit_manifest("variants:\n", version_from);
    repo.edit_manifest("      image: scratch\n", &format!("      image: scratch\n    source: {source}\n"));
    repo
}

/// A node whose source is a branch of `upstream`.
fn with_upstream(upstream: &Upstream) -> Repo {
    with_source(&format!("{{git: '{}', ref: main}}", upstream.url()))
}

fn check(repo: &Repo, run: &str, prints: &str) {
    let text = format!("checks:\n  - {{name: told, run: [{run}], prints: '{prints}'}}\nvariants:\n");
    repo.edit_manifest("variants:\n", &text);
}

const FIRST_IS_OUT_OF_REACH: &str = "variants:
  - name: far
    summary: On a base that nobody has
    version: '2.0'
    suffix: -far
    base:
      image: registry.invalid/far:1
";

#[test]
fn the_first_variant_that_can_be_built_is_chosen_and_the_reason_printed() {
    let repo = Repo::tiny();
    repo.edit_manifest("variants:\n", FIRST_IS_OUT_OF_REACH);
    let build = repo.xtask(&["build"]).success();
    assert_eq!(build.stdout, format!("{}\n", repo.image()));
    build.says(["variant only: the first that can be built here", "not far: its base registry.invalid/far:1 is not"]);
    repo.xtask(&["build"]).success().says(["variant only: it is built and up to date"]);
}

#[test]
fn a_variant_that_was_asked_for_is_never_replaced_by_another() {
    let repo = Repo::tiny();
    repo.edit_manifest("variants:\n", FIRST_IS_OUT_OF_REACH);
    repo.xtask(&["build", "--variant", "far"])
        .failure()
        .says(["variant far of ", "cannot be built here", "registry.invalid/far:1"])
        .does_not_say(["building"]);
    repo.xtask(&["build", "--variant", "only"]).success();
}

#[test]
fn the_reason_is_printed_for_every_variant_when_none_can_be_built() {
    let repo = Repo::tiny();
    repo.edit_manifest("image: scratch", "image: registry.invalid/near:1");
    repo.edit_manifest("variants:\n", FIRST_IS_OUT_OF_REACH);
    repo.xtask(&["build"]).failure().says([
        "no variant of ",
        "far: its base",
        "only: its base registry.invalid/near:1",
    ]);
}

#[test]
fn a_change_to_one_variants_dockerfile_does_not_make_the_other_stale() {
    let repo = Repo::tiny();
    repo.edit_manifest("variants:\n", FIRST_IS_OUT_OF_REACH);
    repo.edit_manifest("    suffix: -far\n", "    suffix: -far\n    dockerfile: Dockerfile.far\n");
    repo.write(&format!("docker/{}/Dockerfile.far", repo.node()), "FROM scratch\n");
    repo.xtask(&["build", "--variant", "only"]).success();
    repo.write(&format!("docker/{}/Dockerfile.far", repo.node()), "FROM scratch\n# changed\n");
    repo.xtask(&["build", "--variant", "only"]).success().says(["is up to date"]);
}

#[test]
fn another_version_becomes_part_of_every_name() {
    let repo = Repo::tiny();
    let save = repo.xtask(&["save", "--version", "10.7-rc1", "--json"]).success().json();
    assert_eq!(save["image"], format!("{}:10.7-rc1", repo.node()));
    assert_eq!(save["id"], format!("{}-10-7-rc1", repo.node()));
    let labels = Engine::here().labels(&format!("{}:10.7-rc1", repo.node()));
    assert_eq!(labels["org.opencontainers.image.version"], "10.7-rc1");
}

#[test]
fn a_checkout_a_bare_repository_and_a_tarball_are_sources_with_a_version() {
    let upstream = Upstream::of_version("4.2");
    let folder = tempfile::tempdir().unwrap();
    let repo = with_source("{git: 'https://upstream.test/nowhere', ref: main}");
    check(&repo, "cat, /built", "version 4.2");
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let sources = [
        text(upstream.path()),
        format!("{}#main", text(&upstream.bare(folder.path()))),
        text(&upstream.tarball(folder.path())),
        format!("{}#main", upstream.url()),
    ];
    for source in sources {
        let build = repo.xtask(&["build", "--source", &source]).success();
        assert_eq!(build.stdout, format!("{}:4.2\n", repo.node()), "{source}");
        repo.xtask(&["build", "--source", &source]).success().says([":4.2 is up to date"]);
    }
}

#[test]
fn the_source_determines_the_version_and_a_contradiction_is_refused() {
    let upstream = Upstream::of_version("4.2");
    let repo = with_upstream(&upstream);
    repo.xtask(&["build", "--version", "4.3"]).failure().says(["--version is 4.3, but the source is version 4.2"]);
    upstream.commit("configure.ac", "AC_INIT([another], [4.2])\n");
    let source = upstream.path().to_str().unwrap();
    repo.xtask(&["build", "--source", source])
        .failure()
        .says(["configure.ac", "does not state a version that `version_from` matches"]);
    upstream.git(&["rm", "--quiet", "configure.ac"]);
    upstream.commit("README", "nothing here");
    repo.xtask(&["build", "--source", source]).failure().says(["has no file configure.ac; is it the right source?"]);
}

#[test]
fn a_commit_of_the_source_is_named_on_the_image() {
    let upstream = Upstream::of_version("4.2");
    let repo = with_upstream(&upstream);
    repo.xtask(&["build"]).success().says([&upstream.head()[..12]]);
    let labels = Engine::here().labels(&format!("{}:4.2", repo.node()));
    assert_eq!(labels["org.opencontainers.image.revision"], upstream.head());
    assert_eq!(labels["org.opencontainers.image.source"], upstream.url());
}

#[test]
fn a_source_is_fetched_once_stays_at_its_commit_and_survives_its_upstream() {
    let upstream = Upstream::of_version("4.2");
    let repo = with_upstream(&upstream);
    let fetching = format!("fetching {}", upstream.url());
    repo.xtask(&["build"]).success().says([&fetching]);

    upstream.release("4.3");
    let again = repo.xtask(&["build"]).success();
    assert_eq!(again.stdout, format!("{}:4.2\n", repo.node()), "pinned");

    drop(upstream);
    repo.xtask(&["build", "--no-cache"]).success().says(["building"]).does_not_say([&fetching]);
}

#[test]
fn refresh_moves_the_commit() {
    let upstream = Upstream::of_version("4.2");
    let repo = with_upstream(&upstream);
    repo.xtask(&["build"]).success();
    let commit = upstream.release("4.3");
    let build = repo.xtask(&["build", "--refresh"]).success();
    assert_eq!(build.stdout, format!("{}:4.3\n", repo.node()));
    build.says([&commit[..12]]);
    let build = repo.xtask(&["build"]).success();
    assert_eq!(build.stdout, format!("{}:4.3\n", repo.node()), "the commit stays until the next --refresh");
    drop(upstream);
    repo.xtask(&["build", "--refresh"]).failure().says(["could not reach"]);
}

#[test]
fn another_base_is_used_and_named_on_the_image() {
    let engine = Engine::here();
    let mut repo = Repo::empty();
    let node = repo.add_node("ARG BASE\nFROM ${BASE}\nRUN echo built > /built\n");
    repo.edit_manifest("image: scratch", "image: registry.invalid/none:1");
    let base = engine.foreign(&format!("{node}-base:1"));
    repo.xtask(&["build", "--base", &base.name]).success().says([&format!("base {} from the engine", base.name)]);
    assert_eq!(engine.labels(&repo.image())["org.opencontainers.image.base.name"], base.name);
    repo.xtask(&["build"]).failure().says(["registry.invalid/none:1"]);
}

#[test]
fn the_image_of_a_strangers_node_is_no_base() {
    let engine = Engine::here();
    let stranger = Repo::tiny();
    stranger.xtask(&["build"]).success();
    let mut repo = Repo::tiny();
    let own = repo.image();
    repo.xtask(&["build"]).success();
    let node = repo.add_node("ARG BASE\nFROM ${BASE}\nCOPY Dockerfile /second\n");
    let base = format!("{node}-base:1");
    engine.tag(&stranger.image(), &base);
    repo.xtask(&["build", &node, "--base", &base]).failure().says([
        &format!("image {base} was built from a node `{}`, and no node of this repository", stranger.node()),
        &format!("docker rmi {base}"),
    ]);
    engine.remove(&base);
    repo.xtask(&["build", &node, "--base", &own]).success();
}

#[test]
fn an_unreachable_base_is_bootstrapped_from_the_distributions_archive() {
    let mut repo = Repo::empty();
    repo.add_node("ARG BASE\nFROM ${BASE}\nRUN . /etc/os-release && echo $VERSION_CODENAME > /codename\n");
    // Where Docker Hub can be reached, this name must not exist there, or nothing would be bootstrapped.
    repo.edit_manifest(
        "image: scratch",
        "image: registry.invalid/debian:trixie-slim\n      bootstrap: {suite: trixie}",
    );
    check(&repo, "cat, /codename", "trixie");
    repo.xtask(&["build"]).success().says(["variant only: the default; base ", "trixie", "bootstrapped"]);
    let base = Engine::here().image("cml-nodes/debian:trixie").expect("the base has this project's name");
    let labels = base.config.and_then(|config| config.labels).unwrap_or_default();
    assert!(labels.contains_key("cml-nodes.base"), "{labels:?}");
}

#[test]
fn build_arguments_reach_the_build_and_give_another_image() {
    let (repo, engine) = (with_source("{package: none}"), Engine::here());
    repo.write(&format!("docker/{}/sources/.keep", repo.node()), "");
    repo.xtask(&["build"]).success();
    let recipe = |labels: HashMap<String, String>| labels["cml-nodes.recipe"].clone();
    let plain = recipe(engine.labels(&repo.image()));

    check(&repo, "cat, /built", "extra more=than one");
    repo.xtask(&["build", "--build-arg", "EXTRA=more=than one"]).success().says(["building"]);
    assert_ne!(recipe(engine.labels(&repo.image())), plain);
    repo.xtask(&["build", "--build-arg", "EXTRA=more=than one"]).success().says(["is up to date"]);
}

#[test]
fn build_arguments_of_this_program_cannot_be_overridden() {
    let repo = Repo::tiny();
    repo.xtask(&["build", "--build-arg", "VERSION=2"])
        .failure()
        .says(["the build argument VERSION is set by this program"]);
    let wrong = repo.xtask(&["build", "--build-arg", "VERSION"]);
    assert_eq!(wrong.code, Some(2), "wrong usage:\n{wrong}");
    wrong.says(["KEY=VALUE"]);
}

#[test]
fn a_switch_changes_the_definition_and_not_the_image() {
    let repo = Repo::tiny();
    repo.edit_manifest("variants:\n", "switches: {loud: false}\nvariants:\n");
    repo.xtask(&["inspect"]).success();
    let definition = || std::fs::read_to_string(repo.node_definition()).unwrap();
    assert!(definition().contains("quiet"), "{}", definition());
    repo.xtask(&["inspect", "--switch", "loud"]).success().says(["is up to date"]).does_not_say(["building"]);
    assert!(definition().contains("LOUD"), "{}", definition());
    repo.xtask(&["inspect", "--switch", "loud=no"]).success();
    assert!(definition().contains("quiet"), "{}", definition());
}

#[test]
fn without_the_cache_every_step_runs_again() {
    let repo = Repo::with_shell(&format!("RUN echo {} > /token\n", std::process::id()));
    repo.xtask(&["build"]).success();
    repo.xtask(&["build"]).success().does_not_say(["RUN echo"]);
    repo.xtask(&["build", "--no-cache"]).success().says(["RUN echo"]).does_not_say(["cached"]);
}

#[test]
fn another_platform_is_recorded_in_the_image() {
    let (repo, engine) = (Repo::tiny(), Engine::here());
    repo.xtask(&["build", "--platform", "linux/arm64"]).success();
    assert_eq!(engine.image(&repo.image()).unwrap().architecture.as_deref(), Some("arm64"));
    repo.xtask(&["build"]).success().says(["building"]);
    assert_eq!(engine.image(&repo.image()).unwrap().architecture.as_deref(), Some("amd64"));
}
