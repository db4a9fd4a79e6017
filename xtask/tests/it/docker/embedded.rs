//! The embedded engine, for machines on which no engine answers.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::engine::{Storage, start_guards_by_the_program};
use crate::common::node::node;
use crate::common::{
    Outcome, Repo, WITHOUT_ENGINES, as_root, in_own_mounts, runs, signal, unique_nap, userland, wait_until,
};
use files::Lock;
use tempfile::TempDir;
use ui::Ui;
use xtask::engine::Engine;
use xtask::engine::embedded::paths::EmbeddedPaths;

/// Storage for one test, and a repository that uses it.
fn embedded(mut repo: Repo) -> (Storage, Repo) {
    let storage = Storage::new();
    repo.set("XTASK_EMBEDDED_STORAGE", storage.path());
    repo.set("XTASK_ENGINE", "embedded");
    (storage, repo)
}

/// Asserts that neither the engine nor anything that it started still runs.
#[track_caller]
fn nothing_runs(storage: &Storage) {
    let path = storage.path().to_str().unwrap();
    wait_until("the engine is gone", || !runs(path));
}

#[test]
fn a_node_is_built_and_saved_and_no_process_is_left() {
    let (storage, repo) = embedded(Repo::with_shell("RUN echo from a container > /made\n"));
    let save = repo.xtask(&["save"]).success().says(["engine: Podman ", "embedded (XTASK_ENGINE)", "saved "]);
    assert_eq!(save.stderr.matches("engine: ").count(), 1, "{save}");
    nothing_runs(&storage);
    let folder = storage.path().to_str().unwrap();
    let is_mounted = || std::fs::read_to_string("/proc/self/mounts").unwrap().contains(folder);
    wait_until("the storage could be deleted", || !is_mounted());
    assert_eq!(repo.check_sums(), 3);
    repo.xtask(&["save"]).success().says(["up to date"]);
    assert!(repo.xtask(&["list"]).success().stdout.contains("up to date"), "it is remembered");
    repo.xtask(&["clean"]).success().says(["removing the embedded engine's images: "]);
    assert!(!storage.path().join("images").exists());
    nothing_runs(&storage);
}

#[test]
fn under_umask_0_and_with_any_temporary_folder_it_works_and_is_open_to_nobody_else() {
    let (cache, outer, mut repo) = (Storage::new(), Storage::new(), Repo::tiny());
    let paths = EmbeddedPaths::in_cache(cache.path());
    repo.set("XTASK_ENGINE", "embedded");
    repo.set("XTASK_EMBEDDED_STORAGE", &paths.storage);
    let odd = ["with blank", "it's", "100%h", "a:b", &"long".repeat(50)].map(|name| outer.path().join(name));
    for folder in &odd {
        std::fs::create_dir(folder).unwrap();
    }
    for folder in odd.iter().map(|folder| folder.as_os_str()).chain(["relative".as_ref()]) {
        repo.set("TMPDIR", folder);
        repo.write(&format!("docker/{}/greeting", repo.node()), &folder.to_string_lossy());
        repo.start_within(&["sh", "-c", "umask 0; exec \"$@\"", "sh"], &["build"]).end().success();
    }
    for folder in [&paths.storage, &paths.temporary, &paths.markers, &paths.runtime, &paths.session] {
        let mode = std::fs::metadata(folder).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{}", folder.display());
    }
    nothing_runs(&cache);
}

#[test]
fn where_no_engine_answers_it_is_used_and_says_why() {
    let (storage, mut repo) = embedded(Repo::tiny());
    repo.set("XTASK_ENGINE", "auto");
    let built = repo.start_within(&in_own_mounts(WITHOUT_ENGINES), &["build"]).end().success();
    built.says(["embedded (no engine answers at unix:///var/run/docker.sock)"]);
    nothing_runs(&storage);
    repo.set("XTASK_ENGINE", "embedded");
}

#[test]
fn it_ends_with_its_command_at_ctrl_c_and_at_kill() {
    let nap = unique_nap();
    let (storage, repo) = embedded(Repo::with_shell(&format!("RUN sleep {nap}\n")));
    for (name, code) in [("INT", Some(130)), ("TERM", Some(130)), ("KILL", None)] {
        let build = repo.start(&["build"]);
        wait_until("the engine runs the step", || runs(&format!("sleep {nap}")));
        build.signal(name);
        assert_eq!(build.end().code, code);
        nothing_runs(&storage);
        wait_until("the step ends, too", || !runs(&format!("sleep {nap}")));
    }
    // No lock is left behind.
    repo.edit(&repo.dockerfile(), &nap, "0");
    repo.xtask(&["build"]).success();
}

#[test]
fn an_engine_that_dies_during_a_build_is_reported_and_leaves_nothing_running() {
    let nap = unique_nap();
    let (storage, repo) = embedded(Repo::with_shell(&format!("RUN sleep {nap}\n")));
    let build = repo.start(&["build"]);
    wait_until("the engine runs the step", || runs(&format!("sleep {nap}")));
    for pid in services(storage.path()) {
        signal(pid, "KILL");
    }
    build.end().failure().says([
        "the connection to the engine was lost during the build",
        "the embedded engine has ended (exit status: 137)",
    ]);
    nothing_runs(&storage);
    wait_until("the step ends, too", || !runs(&format!("sleep {nap}")));
    repo.edit(&repo.dockerfile(), &nap, "0");
    repo.xtask(&["build"]).success();
}

/// Podman's services on this storage.
fn services(storage: &Path) -> Vec<u32> {
    processes(|line| {
        line.starts_with("podman\0") && line.contains(storage.to_str().unwrap()) && line.contains("service")
    })
}

/// The monitors of the nodes of this storage.
fn monitors(storage: &Path) -> Vec<u32> {
    processes(|line| line.starts_with("/usr/bin/conmon\0") && line.contains(storage.to_str().unwrap()))
}

/// The processes with such a command line.
fn processes(is_it: impl Fn(&str) -> bool) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let line = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.filter(|pid| is_it(&String::from_utf8_lossy(&line(pid)))).collect()
}

/// Podman does not notice the end of a container whose monitor was killed.
#[test]
fn it_still_works_after_the_monitors_of_nodes_were_killed() {
    let (storage, repo) = embedded(node());
    let name = format!("t{}-watched", std::process::id());
    let run_and_kill_the_monitor = || {
        repo.xtask(&["run", "--name", &name]).success().says(["is READY"]);
        let monitors = monitors(storage.path());
        assert!(!monitors.is_empty(), "a node has a monitor");
        monitors.into_iter().for_each(|pid| signal(pid, "KILL"));
    };
    run_and_kill_the_monitor();
    repo.xtask(&["verify"]).success();
    repo.xtask(&["stop", &name]).success();
    run_and_kill_the_monitor();
    repo.xtask(&["clean"]).success();
    nothing_runs(&storage);
}

/// Another command would lose the containers with which it works.
#[test]
fn clean_starts_nothing_while_another_command_uses_the_engine() {
    let (storage, repo) = embedded(Repo::tiny());
    repo.xtask(&["build"]).success();
    nothing_runs(&storage);
    let other = Lock::share_blocking(&storage.path().join("lock")).unwrap();
    let clean = repo.start(&["clean"]);
    clean.wait_for("waiting for another command that uses the embedded engine");
    nothing_runs(&storage);
    drop(other);
    clean.end().success().says(["removing the embedded engine's images: "]);
    nothing_runs(&storage);
}

#[test]
fn two_commands_at_once_share_one_storage() {
    let (storage, mut repo) = embedded(Repo::with_shell("RUN sleep 1; echo one > /made\n"));
    let first = repo.node().to_owned();
    let second = repo.add_node("FROM scratch\nADD userland.tar /\nRUN sleep 1; echo two > /made\n");
    std::fs::write(repo.path(&format!("docker/{second}/userland.tar")), userland()).unwrap();
    let (one, two) = (repo.start(&["build", &first]), repo.start(&["build", &second]));
    one.end().success();
    two.end().success();
    let list = repo.xtask(&["list"]).success();
    assert_eq!(list.stdout.matches("up to date").count(), 2, "{list}");
    nothing_runs(&storage);
}

/// An engine that ends looks for processes that it has left running, which must not include another command's build.
#[test]
fn commands_that_come_and_go_do_not_disturb_a_build() {
    let steps: String = (0..20).map(|number| format!("RUN echo {number} > /made\n")).collect();
    let (storage, repo) = embedded(Repo::with_shell(&steps));
    let build = repo.start(&["build"]);
    while !build.has_ended() {
        let lists: Vec<_> = (0..4).map(|_| repo.start(&["list"])).collect();
        for list in lists {
            list.end().success();
        }
    }
    build.end().success();
    nothing_runs(&storage);
}

/// Podman alone loses about one in ten. Two engines with one storage, as two commands have them.
#[test]
fn images_that_are_tagged_and_untagged_at_once_keep_their_tags() {
    start_guards_by_the_program();
    let cache = Storage::new();
    let mut repo = Repo::tiny();
    repo.set("XTASK_ENGINE", "embedded");
    repo.set("XTASK_EMBEDDED_STORAGE", EmbeddedPaths::in_cache(cache.path()).storage);
    repo.xtask(&["build"]).success();
    let image = repo.image();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = || async { Engine::embedded(&Ui::new(false), cache.path(), "a test".to_owned()).await.unwrap() };
        let engines = [engine().await, engine().await];
        let tasks = (0..8).map(|task| name_and_unname(engines[task % 2].clone(), image.clone(), task));
        futures_util::future::join_all(tasks).await;
    });
    nothing_runs(&cache);
}

async fn name_and_unname(engine: Engine, image: String, task: usize) {
    for round in 0..20 {
        let name = format!("cml-nodes/named-{task}:{round}");
        engine.tag(&image, &name).await.unwrap();
        assert!(engine.image(&name).await.unwrap().is_some(), "{name} is lost");
        engine.remove_image(&name).await.unwrap();
    }
}

#[test]
fn a_full_disk_is_reported_with_its_folder_and_the_remedy() {
    let (storage, mut repo) = embedded(Repo::with_shell("RUN head -c 90000000 /dev/zero > /large\n"));
    let disk = storage.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    repo.set("XTASK_EMBEDDED_STORAGE", &disk);
    let build = on_a_disk(&repo, &format!("mount -t tmpfs -o size=60m none {}", disk.display()), &["build"]).failure();
    build.says(["o space left on device", disk.to_str().unwrap(), "XTASK_EMBEDDED_STORAGE"]);
    nothing_runs(&storage);
}

/// Runs a command of the program with a mount that only this command sees.
fn on_a_disk(repo: &Repo, mount: &str, args: &[&str]) -> Outcome {
    let script = format!("{mount} && exec \"$@\"");
    repo.start_within(&in_own_mounts(&script), args).end()
}

/// The kernel cannot put an overlay on an overlay, as inside a container.
#[test]
fn where_overlay_is_not_supported_images_are_plain_copies() {
    let (storage, mut repo) = embedded(node());
    let folder = |name: &str| {
        let folder = storage.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let (lower, upper, work, disk) = (folder("lower"), folder("upper"), folder("work"), folder("disk"));
    repo.set("XTASK_EMBEDDED_STORAGE", &disk);
    let layers = format!("lowerdir={},upperdir={},workdir={}", lower.display(), upper.display(), work.display());
    let mount = format!("mount -t overlay -o {layers} none {}", disk.display());
    on_a_disk(&repo, &mount, &["save"]).success().says(["storage vfs, because overlay: ", "saved "]);
    on_a_disk(&repo, &mount, &["verify"]).success().says(["is proved"]);
    assert_eq!(repo.check_sums(), 3);
    nothing_runs(&storage);
}

/// A folder for the front of `PATH` with scripts in place of programs.
fn in_front(scripts: &[(&str, &str)]) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in scripts {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    (folder, path)
}

#[test]
fn a_podman_that_is_too_old_is_refused() {
    let (_storage, mut repo) = embedded(Repo::tiny());
    let (_folder, path) = in_front(&[("podman", "echo podman version 3.4.4")]);
    repo.set("PATH", path);
    repo.xtask(&["build"]).failure().says(["Podman 3.4.4 is too old", "4.0", "setup --engine docker"]);
    repo.unset("PATH");
}

#[test]
fn where_containers_cannot_run_images_are_still_built_and_nodes_are_refused_with_the_reason() {
    let (storage, mut repo) = embedded(Repo::with_shell("RUN echo from a chroot > /made\n"));
    // Podman also looks for runtimes in fixed places: all of them refuse.
    let refuse = "case \"$*\" in *--version*|*features*) exec /bin/echo refusing version 1.0;; esac; \
        echo 'the kernel refuses' >&2; exit 1";
    let (folder, path) = in_front(&[("runc", refuse), ("crun", refuse)]);
    repo.set("PATH", path);
    let places = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/sbin", "/bin"];
    let hidden = places.iter().flat_map(|place| ["runc", "crun"].map(|name| (format!("{place}/{name}"), name)));
    let binds: Vec<String> = hidden
        .filter(|(path, _)| Path::new(path).exists())
        .map(|(path, name)| format!("mount --bind {}/{name} {path}", folder.path().display()))
        .collect();
    let script = format!("{} && exec \"$@\"", binds.join(" && "));
    let without_containers = in_own_mounts(&script);
    repo.edit_manifest(
        "variants:",
        "checks:\n  - name: it was made\n    run: [cat, /made]\n    prints: from a chroot\nvariants:",
    );
    let save = repo.start_within(&without_containers, &["save"]).end().success();
    save.says(["builds in a chroot and no containers, because", "the kernel refuses", "1 check passed", "saved "]);
    assert_eq!(repo.check_sums(), 3);
    let run = repo.start_within(&without_containers, &["run"]).end().failure();
    run.says(["containers do not run", "the kernel refuses"]);
    nothing_runs(&storage);
    repo.unset("PATH");
}

#[test]
fn an_ordinary_user_without_subordinate_ids_is_told_how_to_add_them() {
    let (storage, repo) = embedded(Repo::tiny());
    // A copy, because the user `nobody` may not read the build folder.
    let program = storage.path().join("xtask");
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).unwrap();
    for folder in [storage.path(), repo.folder.path()] {
        as_root(&["chmod", "-R", "a+rX", folder.to_str().unwrap()]).run().unwrap();
    }
    let home = tempfile::tempdir_in("/tmp").unwrap();
    as_root(&["chown", "nobody", home.path().to_str().unwrap()]).run().unwrap();
    let setting = format!("XDG_CACHE_HOME={}", home.path().display());
    let (program, root) = (program.to_str().unwrap(), repo.folder.path().to_str().unwrap());
    let words =
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "env", "-u", "XTASK_EMBEDDED_STORAGE"];
    let command = [&words[..], &[&setting, program, "--root", root, "--engine", "embedded", "list"]].concat();
    let said = as_root(&command).dir("/").stderr_to_stdout().unchecked().read().unwrap();
    assert!(said.contains("nobody has no subordinate ids (/etc/subuid)"), "{said}");
    assert!(said.contains("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 nobody"), "{said}");
}
