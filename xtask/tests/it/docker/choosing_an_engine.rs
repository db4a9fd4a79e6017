//! Which engine is used, and that the first line of a command says so.

use crate::common::Repo;
use crate::common::engine::PrivatePodman;

#[test]
fn an_unknown_engine_is_refused() {
    let mut repo = Repo::tiny();
    let said = repo.xtask(&["--engine", "moby", "build"]);
    assert_eq!(said.code, Some(2), "{said}");
    said.says(["`moby` is not an engine", "docker, podman, embedded"]);
    repo.set("XTASK_ENGINE", "moby");
    repo.xtask(&["build"]).failure().says(["XTASK_ENGINE", "`moby` is not an engine"]);
    repo.unset("XTASK_ENGINE");
}

#[test]
fn a_podman_service_that_runs_already_is_used_like_docker() {
    let podman = PrivatePodman::start();
    let mut repo = Repo::with_shell("RUN echo made > /made\n");
    repo.set("XTASK_ENGINE", podman.host());
    repo.xtask(&["save"]).success().says(["engine: Podman ", &format!("at {} (XTASK_ENGINE)", podman.host())]);
    assert_eq!(repo.check_sums(), 3);
    assert!(podman.client().image(&repo.image()).is_some());

    // By Podman's own variable, which `podman` respects.
    repo.set("CONTAINER_HOST", podman.host());
    repo.set("XTASK_ENGINE", "podman");
    repo.xtask(&["save"]).success().says(["(CONTAINER_HOST)", "is up to date"]);
    repo.set("CONTAINER_HOST", "unix:///nonexistent/podman.sock");
    repo.xtask(&["build"]).failure().says(["unix:///nonexistent/podman.sock", "CONTAINER_HOST"]);
    repo.set("CONTAINER_HOST", podman.host());
    repo.xtask(&["clean"]).success().says(["removed image"]);
    assert!(podman.client().image(&repo.image()).is_none());
}

#[test]
fn the_argument_overrides_the_variable() {
    let mut repo = Repo::tiny();
    repo.set("XTASK_ENGINE", "unix:///nonexistent/one.sock");
    repo.xtask(&["build"]).failure().says(["unix:///nonexistent/one.sock"]);
    repo.xtask(&["--engine", "unix:///nonexistent/two.sock", "build"]).failure().says(["unix:///nonexistent/two.sock"]);
    repo.unset("XTASK_ENGINE");
}
