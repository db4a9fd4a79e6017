//! A node must not reach the machine that tries it, and must not occupy it.

use std::time::{Duration, Instant};

use crate::common::engine::Engine;
use crate::common::node::node;
use crate::common::{Outcome, Repo};

const RUN_ARGS: &str = r#""run_args": ["#;

/// Verifies the node with this in its definition as a file, as a stranger would send it.
fn verify_with(repo: &Repo, (from, to): (&str, &str), options: &[&str]) -> Outcome {
    let good = std::fs::read_to_string(repo.node_definition()).unwrap();
    assert!(good.contains(from), "{from} is not in {good}");
    let (path, archive) = (repo.path("stranger.yaml"), repo.archive());
    std::fs::write(&path, good.replace(from, to)).unwrap();
    let files = ["verify", "--definition", path.to_str().unwrap(), "--archive", archive.to_str().unwrap()];
    repo.xtask(&[&files, options].concat())
}

#[test]
fn a_strangers_node_cannot_write_to_the_host() {
    let repo = node();
    let attack = r#"content: "test ! -d /host || echo > /host/mark""#;
    repo.edit("node-definitions/tiny.yaml", "content: exit 0", attack);
    repo.xtask(&["save"]).success();
    let host = tempfile::tempdir().unwrap();
    let folder = host.path().display();
    let mark = host.path().join("mark");
    let verify = |arguments: &str, options: &[&str]| {
        verify_with(&repo, (RUN_ARGS, &format!("{RUN_ARGS}{arguments}, ")), options)
    };
    for (arguments, named) in [
        (format!(r#""-v", "{folder}:/host""#), format!("docker.run_args: `-v {folder}:/host`")),
        (format!(r#""-itv={folder}:/host""#), format!("docker.run_args: `-itv={folder}:/host`")),
        (format!(r#""--mount=type=bind,src={folder},dst=/host""#), "docker.run_args: `--mount=type=bind".to_owned()),
        (r#""--pid", "host", "--privileged""#.to_owned(), "docker.run_args: `--pid host`".to_owned()),
        (r#""--tty", "--network", "host""#.to_owned(), "docker.run_args: `--network host`".to_owned()),
        (r#""--env", "VIRL2_PASS""#.to_owned(), "docker.run_args: `--env VIRL2_PASS`".to_owned()),
        (r#""--cap-add", "ſYS_MODULE""#.to_owned(), "docker.run_args: `--cap-add ſYS_MODULE`".to_owned()),
        (r#""--cap-add=KILL,SYS_MODULE""#.to_owned(), "docker.run_args: `--cap-add=KILL,SYS_MODULE`".to_owned()),
        (r#""--tmpfs", "/x:size=1000g""#.to_owned(), "docker.run_args: `--tmpfs /x:size=1000g`".to_owned()),
        (r#""--memory", "1000000g""#.to_owned(), "docker.run_args: `--memory 1000000g`".to_owned()),
        (r#""alpine""#.to_owned(), "docker.run_args: `alpine` is not a flag".to_owned()),
    ] {
        verify(&arguments, &[]).failure().says(["could reach the engine's host", &named, "--allow-host-access"]);
    }
    let outcome = verify_with(&repo, (r#"{"docker": {"#, r#"{"privileged": true, "docker": {"#), &[]);
    outcome.failure().says(["privileged: `privileged: true` gives the node every device of the host"]);
    assert!(!mark.exists());
    // What was saved runs; and with the option the attack does, after a warning.
    verify_with(&repo, ("hello", "hello"), &[]).success();
    let outcome = verify(&format!(r#""-v", "{folder}:/host""#), &["--allow-host-access"]).success();
    outcome.says([&format!("can reach this engine's host: docker.run_args: `-v {folder}:/host` mounts")]);
    assert!(mark.exists(), "or this test proves nothing");
}

#[test]
fn a_strangers_build_cannot_reach_the_host() {
    let is_confined = Engine::here().confines_builds();
    let host = tempfile::tempdir().unwrap();
    let folder = host.path().to_str().unwrap();
    std::fs::write(host.path().join("marker"), "the host's").unwrap();
    let up = "../".repeat(8);
    let step = "echo > /h/mark; if test -e /h/marker; then echo REA''CHED; exit 3; fi";
    for attack in [
        format!("RUN --mount=type=bind,source=lnk,target=/h,rw {step}\n"),
        format!("RUN --mount=type=cache,id={up}{folder},target=/h {step}\n"),
        format!("RUN --mount=type=cache,target=/h {step}\n"),
        format!("RUN ln -s {folder} /lnk\nFROM s\nRUN --mount=type=bind,from=s,source=/lnk,target=/h,rw {step}\n"),
        format!("RUN ln -s {folder} /lnk\nFROM s\nRUN --mount=type=cache,id=a,target=/h,from=s,source=/lnk {step}\n"),
        format!("COPY --from=dir:{folder} / /h\nRUN {step}\n"),
        format!("FROM oci:{folder}\n"),
    ] {
        let repo = Repo::with_shell(&attack);
        repo.edit(&repo.dockerfile(), "FROM scratch\n", "FROM scratch AS s\n");
        std::os::unix::fs::symlink(folder, repo.path(&format!("docker/{}/lnk", repo.node()))).unwrap();
        let outcome = repo.xtask(&["build"]);
        assert!(!host.path().join("mark").exists(), "{attack}: {outcome}");
        let outcome = outcome.does_not_say(["REACHED"]);
        if !is_confined {
            outcome.failure().says(["/Dockerfile:", "this engine"]);
        }
    }
}

#[test]
fn a_silenced_rule_lets_a_node_be_saved_but_not_run() {
    let repo = node();
    repo.edit("node-definitions/tiny.yaml", RUN_ARGS, &format!(r#"{RUN_ARGS}"--group-add", "0", "#));
    let outcome = repo.xtask(&["lint"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stdout.contains("error[host-access]"), "{outcome}");
    assert!(outcome.stdout.contains("docker.run_args[0]: `--group-add 0` is not among the flags"), "{outcome}");
    repo.xtask(&["save"]).failure().says(["error[host-access]"]);

    let silenced = "silenced:\n  - rule: host-access\n    reason: its group is needed\nvariants:\n";
    repo.edit_manifest("variants:\n", silenced);
    repo.xtask(&["lint"]).success();
    repo.xtask(&["save"]).success().says(["silences the rule host-access: its group is needed"]);
    for command in ["run", "verify"] {
        repo.xtask(&[command]).failure().says(["docker.run_args: `--group-add 0`", "pass --allow-host-access"]);
    }
    repo.xtask(&["verify", "--allow-host-access"]).success().says(["can reach this engine's host"]);
}

#[test]
fn a_node_and_the_link_helper_run_with_limits() {
    let (repo, engine) = (node(), Engine::here());
    let name = format!("t{}-limits", std::process::id());
    repo.edit("node-definitions/tiny.yaml", "ram: 64", "ram: 64, cpus: 128");
    let run = repo.xtask(&["-v", "run", "--name", &name]).success().says(["--memory=64m --pids-limit=4096"]);
    let node = engine.container(&name);
    if xtask::machine::is_root() {
        // What there is, because Docker refuses more.
        let here = std::thread::available_parallelism().unwrap();
        run.says([&format!("--cpus={here}.00 --memory=64m")]);
    }
    // An ordinary user's engine has no control groups to limit processes with, unless the system hands some down.
    let is_limited = |limit: Option<i64>, expected: i64| {
        limit == Some(expected) || (!xtask::machine::is_root() && limit.unwrap_or_default() == 0)
    };
    assert!(is_limited(node.memory, 64 << 20), "{:?}", node.memory);
    assert!(is_limited(node.pids_limit, 4096), "{:?}", node.pids_limit);
    let log = node.log_config.and_then(|log| log.config).unwrap_or_default();
    // Podman says it elsewhere.
    assert!(log.get("max-size").is_none_or(|size| size == "16m"), "{log:?}");
    let helper = engine.beside(&name);
    repo.xtask(&["stop", &name]).success();
    assert_eq!(helper.readonly_rootfs, Some(true));
    assert!(is_limited(helper.pids_limit, 512), "{helper:?}");
    assert!(helper.security_opt.unwrap_or_default().iter().any(|option| option.starts_with("no-new-privileges")));
}

#[test]
fn a_node_that_needs_more_memory_than_it_gets_is_not_proved() {
    let repo = node();
    // Keeps 100 MiB of what it reads, where the definition gives it 64.
    let greedy = r#"content: "head -c 150M /dev/zero | head -c -100M > /dev/null; exit 0""#;
    repo.edit("node-definitions/tiny.yaml", "content: exit 0", greedy);
    // An ordinary user's engine can limit memory only where the system delegates control groups.
    if xtask::machine::is_root() {
        let outcome = repo.xtask(&["verify"]);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stdout.contains("its memory is enough"), "{outcome}");
        assert!(
            outcome.stdout.contains("the node used all of its memory, 64 MiB (`sim.linux_native.ram`)"),
            "{outcome}"
        );
        repo.edit("node-definitions/tiny.yaml", "ram: 64", "ram: 300");
        repo.xtask(&["verify"]).success();
    } else {
        repo.edit("node-definitions/tiny.yaml", "-100M", "-1M");
        let outcome = repo.xtask(&["verify"]).success();
        let rows: Vec<&str> = outcome.stdout.lines().filter(|line| line.contains("its memory is enough")).collect();
        assert!(matches!(rows[..], [row] if row.contains(" ok ") || row.contains("not provable here")), "{outcome}");
    }
}

#[test]
fn a_node_with_less_memory_than_anything_needs_is_told_so() {
    let repo = node();
    repo.edit("node-definitions/tiny.yaml", "ram: 64", "ram: 2");
    if xtask::machine::is_root() {
        let outcome = repo.xtask(&["verify"]);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stdout.contains("`sim.linux_native.ram`"), "{outcome}");
        repo.xtask(&["run"]).failure().says(["`sim.linux_native.ram`"]);
    }
}

#[test]
fn a_day0cmd_without_end_is_reported() {
    let repo = node();
    repo.edit("node-definitions/tiny.yaml", "content: exit 0", "content: sleep infinity");
    repo.edit("node-definitions/tiny.yaml", "timeout: 20", "timeout: 9");
    repo.xtask(&["save"]).success();
    let since = Instant::now();
    let outcome = repo.xtask(&["verify"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(since.elapsed() < Duration::from_secs(90), "{outcome}");
    assert!(outcome.stdout.contains("day0cmd") && outcome.stdout.contains("`/bin/sh /boot.sh` on "), "{outcome}");
    assert!(outcome.stdout.contains("did not end within 9.0 s"), "{outcome}");
    outcome.says(["waiting for `/bin/sh /boot.sh` on "]);
}
