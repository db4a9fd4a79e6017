//! Machines on which something is missing: what is reported, and that nothing is changed without consent.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::common::{Repo, WITHOUT_ENGINES, as_root, in_own_mounts, noise};
use tempfile::TempDir;

/// A folder for `PATH` that has every program of this machine except these.
fn path_without(hidden: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for bin in ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"] {
        for entry in std::fs::read_dir(bin).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !hidden.iter().any(|hidden| name == *hidden) {
                // The first of two programs with one name wins, as in PATH.
                let _ = std::os::unix::fs::symlink(entry.path(), folder.path().join(name));
            }
        }
    }
    folder
}

/// A repository whose commands use Docker, whatever other engine this machine has.
fn with_docker() -> Repo {
    let mut repo = Repo::tiny();
    repo.set("XTASK_ENGINE", "docker");
    repo
}

#[test]
fn an_engine_that_does_not_answer_is_named_with_the_origin_of_its_address() {
    let mut repo = Repo::tiny();
    repo.xtask(&["save"]).success();
    for (host, why) in [
        ("unix:///nonexistent/docker.sock", "/nonexistent/docker.sock"),
        // Port 9 (discard) has nobody listening.
        ("tcp://127.0.0.1:9", "refused"),
        ("nonsense", "nonsense is not the address of an engine"),
    ] {
        repo.set("DOCKER_HOST", host);
        let place = repo.path("dist");
        for command in ["build", "inspect", "save"] {
            repo.xtask(&[command]).failure().says([host, "DOCKER_HOST", why]);
        }
        assert!(place.is_dir());
    }
    assert_eq!(repo.check_sums(), 3, "what is there stays");

    let list = repo.xtask(&["list"]).success();
    assert!(list.stdout.contains(" ?"), "{list}");
    list.says(["what is built is unknown", "nonsense"]);
    repo.unset("DOCKER_HOST");
}

#[test]
fn without_an_engine_and_a_terminal_nothing_is_changed_and_the_command_to_run_is_shown() {
    let repo = with_docker();
    let outer = in_own_mounts(WITHOUT_ENGINES);
    for command in [&["setup"][..], &["build"], &["save", "--json"]] {
        repo.start_within(&outer, command)
            .end()
            .failure()
            .says(["missing: a running container engine", "nothing was changed", "`cargo xtask setup --yes`"])
            .does_not_say(["installing", "started dockerd"]);
    }
    assert!(repo.dist().is_empty());
}

#[test]
fn every_missing_part_is_listed_with_its_package() {
    let mut repo = with_docker();
    let path = path_without(&["git", "mmdebstrap", "debootstrap", "dockerd"]);
    repo.set("PATH", path.path());
    // Daemons are also looked for outside of `PATH`.
    let script = "mount -t tmpfs none /run; mount -t tmpfs none /usr/sbin; exec \"$@\"";
    repo.start_within(&in_own_mounts(script), &["setup"])
        .end()
        .failure()
        .says(["missing: git", "(package git)", "(package mmdebstrap)", "(package docker.io)"])
        .says(["nothing was changed", "`cargo xtask setup --yes`"])
        .does_not_say(["installing"]);
}

#[test]
fn a_missing_git_stops_only_what_needs_it() {
    let mut repo = Repo::tiny();
    let path = path_without(&["git", "mmdebstrap", "debootstrap"]);
    repo.set("PATH", path.path());
    repo.xtask(&["save"]).success();
    repo.edit_manifest("image: scratch", "image: scratch\n    source: {git: 'https://upstream.test/x', ref: main}");
    repo.xtask(&["build"]).failure().says(["git is not installed; `cargo xtask setup` installs it"]);
}

#[test]
fn setup_says_when_nothing_is_missing() {
    let repo = with_docker();
    repo.xtask(&["setup"]).success().says(["nothing is missing", "Docker "]);
}

#[test]
fn the_default_answer_to_a_question_is_no_and_ctrl_c_ends_it() {
    let repo = with_docker();
    for (typed, code, said) in [("\n", 1, "nothing was changed"), ("\u{3}", 130, "interrupted")] {
        let mut inner = in_own_mounts(WITHOUT_ENGINES).join("' '");
        inner = format!("'{inner}' '{}' --root '{}' setup", env!("CARGO_BIN_EXE_xtask"), repo.folder.path().display());
        let outcome = repo.in_dialogue(&inner, &[("[y/N]", typed)]);
        assert_eq!(outcome.code, Some(code), "typed {typed:?}: {outcome}");
        assert!(outcome.stdout.contains(said) && !outcome.stdout.contains("installing"), "typed {typed:?}: {outcome}");
    }
}

/// Runs the program as a user who is in no group.
fn as_nobody(folder: &Path, root: &Path, args: &[&str]) -> std::process::Output {
    // A copy, because the user `nobody` may not read the build folder.
    let program = folder.join("xtask");
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).unwrap();
    for path in [folder, root] {
        as_root(&["chmod", "-R", "a+rX", path.to_str().unwrap()]).run().unwrap();
    }
    let cache = folder.join("cache");
    std::fs::create_dir(&cache).unwrap();
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    let words: Vec<PathBuf> = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        .iter()
        .map(PathBuf::from)
        .chain([program, "--root".into(), root.into()])
        .chain(args.iter().map(PathBuf::from))
        .collect();
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
    let environment = [format!("HOME={}", folder.display()), format!("XDG_CACHE_HOME={}", cache.display())];
    let words = [&["env", &environment[0], &environment[1], "XTASK_ENGINE=docker"], words.as_slice()].concat();
    as_root(&words).stdout_capture().stderr_capture().unchecked().run().unwrap()
}

#[test]
fn a_user_who_may_not_use_the_engine_is_told_how_to_join_its_group() {
    let (repo, folder) = (Repo::tiny(), tempfile::tempdir().unwrap());
    let output = as_nobody(folder.path(), repo.folder.path(), &["save"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no permission to use the engine at unix:///var/run/docker.sock"), "{said}");
    assert!(said.contains("sudo usermod -aG docker"), "{said}");
}

#[test]
fn a_full_disk_is_reported_and_the_old_archive_stays() {
    let repo = Repo::tiny();
    let greeting = repo.path(&format!("docker/{}/greeting", repo.node()));
    let large = repo.path("large");
    std::fs::write(&large, noise(3, 6_000_000)).unwrap();
    std::fs::create_dir(repo.path("dist")).unwrap();
    // A disk of two megabytes that only these two runs see.
    let script = format!(
        "mount -t tmpfs -o size=2m none '{dist}' && \"$@\" >&2 && cp '{large}' '{greeting}' || exit 9; \
         \"$@\"; code=$?; \
         cd '{dist}' && sha256sum --check --quiet --strict SHA256SUMS || exit 8; \
         find . -name '*tmp*' | grep . && exit 7; \
         exit $code",
        dist = repo.path("dist").display(),
        large = large.display(),
        greeting = greeting.display(),
    );
    repo.start_within(&in_own_mounts(&script), &["save"]).end().failure().says([
        "saved ",
        &format!("could not write {}", repo.archive().display()),
        "No space left on device",
    ]);
}
