//! Engines that die during a command. Each test has its own engine to kill.

use crate::common::engine::{Engine, PrivateEngine};
use crate::common::{Repo, noise, runs, unique_nap, wait_until};

#[test]
fn an_engine_that_dies_during_the_build_is_reported() {
    let engine = PrivateEngine::start();
    let nap = unique_nap();
    let mut repo = Repo::with_shell(&format!("RUN sleep {nap}\n"));
    repo.set("DOCKER_HOST", engine.host());
    let save = repo.start(&["save"]);
    wait_until("the engine runs the step", || runs(&format!("sleep {nap}")));
    engine.kill();
    save.end().failure().says(["the connection to the engine was lost during the build", "run it again"]);
    assert!(repo.dist().is_empty(), "{:?}", repo.dist());
    repo.unset("DOCKER_HOST");
}

#[test]
fn an_engine_that_dies_during_the_export_leaves_the_old_archive_and_no_other() {
    let engine = PrivateEngine::start();
    let mut repo = Repo::tiny();
    repo.set("DOCKER_HOST", engine.host());
    let greeting = repo.path(&format!("docker/{}/greeting", repo.node()));
    repo.xtask(&["save"]).success();
    let old = std::fs::read(repo.archive()).unwrap();

    // So large that the export takes a while after its first bytes.
    std::fs::write(&greeting, noise(1, 400_000_000)).unwrap();
    repo.xtask(&["build"]).success();
    let save = repo.start(&["save"]);
    wait_until("the archive is being written", || size_of_drafts(&repo) > 1_000_000);
    engine.kill();
    save.end().failure().says([&format!("the engine did not complete its export of {}", repo.image())]);
    assert!(std::fs::read(repo.archive()).unwrap() == old, "the old archive is whole");
    assert_eq!(size_of_drafts(&repo), 0, "no half of an archive is left");
    assert_eq!(repo.check_sums(), 3);
    repo.unset("DOCKER_HOST");
}

#[test]
fn an_engine_that_dies_while_a_node_runs_is_reported() {
    let engine = PrivateEngine::start();
    let mut repo = Repo::with_shell("ENTRYPOINT [\"/bin/sleep\", \"1000\"]\n");
    repo.edit("node-definitions/tiny.yaml", "{timeout: 1}", "{timeout: 1, completed: [READY]}");
    // The helper comes from the other engine: this one has no network.
    repo.set("XTASK_ENGINE", "docker");
    repo.xtask(&["verify"]);
    repo.edit("node-definitions/tiny.yaml", "timeout: 1", "timeout: 60");
    let folder = tempfile::tempdir().unwrap();
    let helper = folder.path().join("helper.tar");
    Engine::here().save("cml-nodes/link-helper:1", &helper);
    engine.client().load(&helper);
    repo.set("DOCKER_HOST", engine.host());
    repo.xtask(&["save"]).success();
    let verify = repo.start(&["verify"]);
    let client = engine.client();
    wait_until("the node runs", || client.labelled("cml-nodes.actor").1 == 1);
    engine.kill();
    // Refused, or reset if it was open.
    let outcome = verify.end().says(["listing the engine's containers", "Connection re"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let found = outcome.stdout.lines().find(|line| line.contains("archive and definitions agree"));
    assert!(found.is_some_and(|line| line.contains(" ok ")), "what was found before is not lost: {outcome}");
    repo.unset("DOCKER_HOST");
}

/// The size in bytes of the temporary files in the archive's folder.
fn size_of_drafts(repo: &Repo) -> u64 {
    let folder = repo.archive().parent().unwrap().to_owned();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let drafts = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with('.'));
    drafts.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}
