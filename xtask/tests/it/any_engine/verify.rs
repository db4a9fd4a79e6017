//! Running nodes as CML does, and proving them: what works, and how each failure is reported.

use std::time::{Duration, Instant};

use crate::common::engine::Engine;
use crate::common::node::{node, node_that};
use crate::common::{Outcome, Repo, wait_until};

fn define(repo: &Repo, from: &str, to: &str) {
    repo.edit("node-definitions/tiny.yaml", from, to);
}

/// The check with that name in the output of `--json`.
#[track_caller]
fn row(outcome: &Outcome, check: &str) -> serde_json::Value {
    let report = outcome.json();
    let rows = report[0]["checks"].as_array().expect("checks");
    rows.iter().find(|row| row["check"] == check).unwrap_or_else(|| panic!("no check `{check}`:\n{outcome}")).clone()
}

/// Asserts that `verify` fails at this check, with these texts in its explanation.
#[track_caller]
fn fails_at(repo: &Repo, check: &str, words: &[&str]) {
    let outcome = repo.xtask(&["verify", "--json"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert_fault(&outcome, check, words);
    // The last lines name it, too.
    let last = outcome.stderr.split("error: ").last().unwrap();
    assert!(last.starts_with(&repo.id()) && last.contains(&format!(": {check}\n")), "{outcome}");
    assert_eq!(nothing_left(repo), (0, 0, 0));
}

/// The same for a definition that `save` would not write, because `lint` finds the mistake: it is verified as a file.
#[track_caller]
fn a_definition_fails_at(repo: &Repo, (from, to): (&str, &str), check: &str, words: &[&str]) {
    repo.xtask(&["save"]).success();
    let good = std::fs::read_to_string(repo.node_definition()).unwrap();
    assert!(good.contains(from), "{from} is not in {good}");
    let (path, archive) = (repo.path("mistaken.yaml"), repo.archive());
    std::fs::write(&path, good.replace(from, to)).unwrap();
    let files = ["--definition", path.to_str().unwrap(), "--archive", archive.to_str().unwrap()];
    let outcome = repo.xtask(&[&["verify", "--json", "--allow-host-access"], &files[..]].concat());
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert_fault(&outcome, check, words);
    assert_eq!(nothing_left(repo), (0, 0, 0));
}

#[track_caller]
fn assert_fault(outcome: &Outcome, check: &str, words: &[&str]) {
    let row = row(outcome, check);
    assert_eq!(row["outcome"], "failed", "{row}");
    for word in words {
        assert!(row["said"].as_str().unwrap().contains(word), "it should say `{word}`: {row}");
    }
}

#[test]
fn a_node_is_proved_in_each_form_of_its_definitions() {
    let repo = node();
    define(&repo, r#"{"image": "{{ image }}","#, r#"{ {%- if not shared %}"image": "{{ image }}",{% endif %}"#);
    let shared = format!("shared_node: {{id: {}, label: Tiny}}\nvariants:\n", repo.node());
    repo.edit_manifest("variants:\n", &shared);
    for (form, node_id) in [(&["--for", "2.9"][..], repo.id()), (&[], repo.node().to_owned())] {
        let outcome = repo.xtask(&[&["verify", "--json"], form].concat()).success();
        assert_eq!(outcome.json()[0]["id"], repo.id(), "{outcome}");
        assert!(repo.path(&format!("dist/node-definitions/{node_id}.yaml")).is_file(), "{outcome}");
    }
    // The image definition names the tag, and no other must.
    let definition = std::fs::read_to_string(repo.image_definition()).unwrap();
    let without = definition.replace("docker_tag: ", "description: ");
    assert_ne!(definition, without);
    std::fs::write(repo.image_definition(), without).unwrap();
    let node = repo.path(&format!("dist/node-definitions/{}.yaml", repo.node()));
    let files = ["--definition", node.to_str().unwrap(), "--archive", &repo.archive().display().to_string()];
    let outcome = repo.xtask(&[&["verify", "--json"], &files[..]].concat());
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert_fault(&outcome, "archive and definitions agree", &["neither docker_tag nor docker.image"]);
}

/// The labs that this repository's commands have open or have left behind.
fn labs(repo: &Repo) -> Vec<String> {
    let entries = std::fs::read_dir(repo.cache.path().join("cml-nodes/labs")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Containers, volumes and images of these labs on the engine.
fn left_of(labs: &[String]) -> (usize, usize, usize) {
    let engine = Engine::here();
    let all = labs.iter().map(|id| engine.of_lab(id));
    all.fold((0, 0, 0), |sum, some| (sum.0 + some.0, sum.1 + some.1, sum.2 + some.2))
}

/// The same for all labs that the program itself still knows; and no container of the node.
fn nothing_left(repo: &Repo) -> (usize, usize, usize) {
    let (containers, volumes, images) = left_of(&labs(repo));
    (containers + Engine::here().labelled(&format!("cml-nodes.node={}", repo.node())).1, volumes, images)
}

#[test]
fn a_node_that_works_is_proved_with_its_figures() {
    let repo = node();
    let outcome = repo.xtask(&["verify", "--json"]).success().says(["is proved: "]);
    let report = outcome.json();
    assert_eq!(report[0]["id"], repo.id());
    assert_eq!(report[0]["ok"], true);
    for figure in ["ready_seconds", "memory", "processes", "image", "stop_seconds"] {
        assert!(report[0]["figures"][figure].as_f64().is_some_and(|value| value > 0.0), "{figure}: {outcome}");
    }
    for check in
        ["archive and definitions agree", "boots within boot.timeout", "day0cmd succeeds", "each --sysctl is in effect"]
    {
        assert_eq!(row(&outcome, check)["outcome"], "passed");
    }
    assert_eq!(nothing_left(&repo), (0, 0, 0));
    let table = repo.xtask(&["verify"]).success();
    assert!(table.stdout.contains("SCENE") && table.stdout.contains("create to READY"), "{table}");
}

#[test]
fn the_last_lines_name_the_failed_checks_of_every_node() {
    let mut repo = node_that("echo broken; exit 3");
    let (first, twin) = (repo.node().to_owned(), repo.add_twin());
    let outcome = repo.xtask(&["verify", &first, &twin]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let last = outcome.stderr.split("error: ").last().unwrap();
    for node in [&first, &twin] {
        let of_node = format!("{node}-1-0: 1 of 4 checks failed\n  as shipped: boots within boot.timeout\n    ");
        assert!(last.contains(&of_node), "{outcome}");
    }
    assert!(last.matches("ended with exit code 3").count() == 2, "{outcome}");
    assert!(last.lines().all(|line| line.chars().count() <= 80), "{outcome}");
    assert_eq!(outcome.stdout.matches("boots within boot.timeout").count(), 2, "the tables are whole: {outcome}");
}

#[test]
fn each_node_is_reported_once_in_the_order_in_which_they_are_named() {
    let mut repo = node();
    let (first, twin) = (repo.node().to_owned(), repo.add_twin());
    let outcome = repo.xtask(&["verify", "--json", &twin, &first, &twin]).success();
    let reports = outcome.json();
    let ids: Vec<&str> = reports.as_array().unwrap().iter().map(|report| report["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [format!("{twin}-1-0"), format!("{first}-1-0")]);
    let proved: Vec<&str> = outcome.stderr.lines().filter(|line| line.contains(" is proved: ")).collect();
    assert!(proved[0].contains(&twin) && proved[1].contains(&first) && proved.len() == 2, "{outcome}");
}

#[test]
fn the_docker_command_is_shown_argument_by_argument() {
    let repo = node();
    let said = repo.xtask(&["verify", "-v"]).success().stderr;
    let line = said.lines().find(|line| line.contains(" create --interactive")).expect("the line");
    for part in [
        "--interactive --tty --network none",
        "--cap-drop ALL --cap-add CAP_DAC_OVERRIDE --cap-add CAP_NET_RAW --cap-add NET_ADMIN",
        "--env 'WORD=secret sauce'",
        "--mount type=bind,target=/greeting,source=/",
        "--sysctl net.ipv4.ip_default_ttl=77 'cml-nodes/loaded:",
    ] {
        assert!(line.contains(part), "`{part}` is not in {line}");
    }
}

#[test]
fn the_archive_is_proved_and_not_the_engines_image() {
    let (repo, engine) = (node(), Engine::here());
    repo.xtask(&["save"]).success();
    let before = engine.id(&repo.image());
    let (definition, archive) = (repo.node_definition(), repo.archive());
    engine.remove(&repo.image());
    let words = ["verify", "--definition", definition.to_str().unwrap(), "--archive", archive.to_str().unwrap()];
    repo.xtask(&words).success();
    assert!(engine.image(&repo.image()).is_none(), "no tag of the archive's came back");
    engine.load(&archive);
    assert_eq!(engine.id(&repo.image()), before);
}

#[test]
fn an_archive_of_another_image_is_the_first_finding() {
    let repo = node();
    repo.xtask(&["save"]).success();
    let id = repo.read(&format!("dist/virl-base-images/{0}/{0}.yaml", repo.id()));
    let id = id.lines().find_map(|line| line.strip_prefix("sha256: ")).unwrap();
    // Without the letter, it would be a number in YAML.
    let other = format!("{}f", "0".repeat(63));
    repo.edit(&format!("dist/virl-base-images/{0}/{0}.yaml", repo.id()), id, &other);
    let (definition, archive) = (repo.node_definition(), repo.archive());
    let words =
        ["verify", "--json", "--definition", definition.to_str().unwrap(), "--archive", archive.to_str().unwrap()];
    let outcome = repo.xtask(&words);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert_eq!(outcome.json()[0]["checks"][0]["check"], "archive and definitions agree");
    assert_fault(&outcome, "archive and definitions agree", &[&other, id]);
}

#[test]
fn a_node_that_ends_at_once_is_reported_with_the_end_of_its_output() {
    let repo = node_that("echo cannot find my configuration; exit 3");
    fails_at(&repo, "boots within boot.timeout", &["ended with exit code 3", "cannot find my configuration"]);
}

#[test]
fn a_node_that_never_says_ready_is_reported_with_the_end_of_its_console() {
    let repo = node_that("echo still thinking; exec sleep 1000");
    define(&repo, "timeout: 20", "timeout: 2");
    fails_at(
        &repo,
        "boots within boot.timeout",
        &["did not print `READY` within 2 s (boot.timeout)", "still thinking"],
    );
}

#[test]
fn a_process_that_stays_a_zombie_is_named() {
    let repo = node_that("(sleep 0 & exec sleep 1000) & trap 'exit 0' TERM; echo READY; while :; do sleep 0.1; done");
    fails_at(&repo, "no process is a zombie", &["never waited for", "sleep"]);
}

#[test]
fn a_missing_entry_point_is_reported() {
    let repo = node();
    repo.edit(&repo.dockerfile(), "\"/bin/sh\"", "\"/bin/nothing\"");
    fails_at(&repo, "boots within boot.timeout", &[" says: ", "entry point does not exist"]);
}

// Definitions that failed on a server, with the messages in its syslog.

#[test]
fn a_flag_and_its_value_in_one_element_are_explained() {
    let repo = node();
    a_definition_fails_at(
        &repo,
        (r#""--sysctl", "net.ipv4.ip_default_ttl=77""#, r#""--sysctl net.ipv6.conf.all.forwarding=1""#),
        "boots within boot.timeout",
        &[
            " says: unknown flag: --sysctl net.ipv6.conf.all.forwarding",
            "`run_args` has \"--sysctl net.ipv6.conf.all.forwarding=1\" as one element",
            "write \"--sysctl\", \"net.ipv6.conf.all.forwarding=1\"",
        ],
    );
}

#[test]
fn a_sysctl_in_misc_args_as_one_element_is_explained() {
    let repo = node();
    a_definition_fails_at(
        &repo,
        (r#""misc_args": []"#, r#""misc_args": ["--sysctl net.ipv6.conf.all.forwarding=1"]"#),
        "boots within boot.timeout",
        &[" says: unknown flag", "`misc_args` has", "usually in `run_args`"],
    );
    // `lint` refuses such a definition in this repository.
    define(&repo, r#""misc_args": []"#, r#""misc_args": ["--sysctl net.ipv6.conf.all.forwarding=1"]"#);
    repo.xtask(&["verify"]).failure().says(["one-argument", "tiny.yaml:"]);
}

#[test]
fn a_sysctl_at_boot_time_is_explained() {
    let repo = node();
    define(&repo, "content: exit 0", "content: echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
    fails_at(
        &repo,
        "day0cmd succeeds",
        &["Read-only file system", "Set them at creation, with `--sysctl` in `run_args`"],
    );
}

#[test]
fn an_sshd_without_audit_write_is_explained() {
    let repo = node_that("/bin/sshd 1000 & trap 'exit 0' TERM; echo READY; while :; do sleep 0.1; done");
    // The name of the process is what counts.
    let sshd = repo.path(&format!("docker/{}/sshd", repo.node()));
    std::fs::copy("/bin/sleep", sshd).unwrap();
    repo.edit(&repo.dockerfile(), "COPY greeting", "COPY sshd /bin/sshd\nCOPY greeting");
    define(&repo, r#""caps": ["#, r#""caps": ["CAP_AUDIT_WRITE", "#);
    repo.xtask(&["verify"]).success();
    a_definition_fails_at(
        &repo,
        ("CAP_AUDIT_WRITE", "CAP_KILL"),
        "sshd can log users in",
        &["does not grant AUDIT_WRITE", "Add \"CAP_AUDIT_WRITE\""],
    );
}

#[test]
fn what_is_missing_on_the_host_is_found_before_the_node_is_created() {
    let repo = node();
    define(&repo, "net.ipv4.ip_default_ttl=77", "net.ipv4.no_such_setting=1");
    let outcome = repo.xtask(&["verify", "--json", "-v"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert_fault(&outcome, "the engine's host has what the node needs", &["has no net.ipv4.no_such_setting"]);
    outcome.does_not_say([" create --interactive"]);
    repo.xtask(&["run"]).failure().says(["cannot run here", "net.ipv4.no_such_setting"]);
}

#[test]
fn a_capability_that_does_not_exist_is_explained() {
    let repo = node();
    let words = [" says: ", "`docker.caps` names a capability that does not exist"];
    a_definition_fails_at(&repo, ("CAP_NET_RAW", "CAP_FLYING"), "boots within boot.timeout", &words);
}

#[test]
fn regular_expressions_are_pythons() {
    let repo = node();
    let regex = |text: &str| format!("completed: ['{text}'], uses_regex: true");
    define(&repo, "completed: [READY]", &regex(r"^(?P<one>R)(?=EA)[A-Z]+(?<!N)\s*$"));
    repo.xtask(&["verify"]).success();
    define(&repo, "(?P<one>", "(?<one>");
    let refused = "error[boot-regex]: boot.completed[0]: Python refuses the regular expression";
    let outcome = repo.xtask(&["lint"]);
    assert!(outcome.code == Some(1) && outcome.stdout.contains(refused), "{outcome}");
    repo.xtask(&["run"]).failure().says([refused]);
}

#[test]
fn what_a_definition_asks_for_in_vain_is_named() {
    let repo = node();
    define(&repo, r#""misc_args": []"#, r#""misc_args": [], "volumes": ["/data"]"#);
    let outcome = repo.xtask(&["verify", "--json"]).success();
    let row = row(&outcome, "it gets all that its definition asks for");
    assert_eq!(row["outcome"], "not_provable", "{row}");
    let said = "config.json: the docker-shim is not known to read the key `docker.volumes`: it is ignored";
    assert!(row["said"].as_str().unwrap().contains(said), "{row}");
    let name = repo.xtask(&["run"]).success().says([said]).stdout;
    repo.xtask(&["stop", name.trim()]).success();
}

#[test]
fn a_node_without_dac_override_cannot_write_to_its_files() {
    let repo =
        node_that("echo more >> /greeting || exit 7; trap 'exit 0' TERM; echo READY; while :; do sleep 0.1; done");
    repo.xtask(&["verify"]).success();
    define(&repo, r#""CAP_DAC_OVERRIDE", "#, "");
    fails_at(
        &repo,
        "boots within boot.timeout",
        &["with exit code 7", "ermission denied", "belong to a user of CML's, not to root", "Add \"DAC_OVERRIDE\""],
    );
    // It can read them.
    repo.edit(&repo.dockerfile(), "echo more >> /greeting", "test \\\"$(cat /greeting)\\\" = hello");
    repo.xtask(&["verify"]).success();
}

#[test]
fn files_in_folders_reach_the_node() {
    let repo = node();
    define(&repo, "name: greeting", "name: etc/deep/greeting");
    define(&repo, "source=cfg/greeting", "source=cfg/etc/deep/greeting");
    repo.xtask(&["lint"]).success();
    repo.edit_manifest(
        "variants:\n",
        &SCENES.replace("{greeting:", "{etc/deep/greeting:").replace("rewrite: greeting", "rewrite: etc/deep/greeting"),
    );
    let outcome = repo.xtask(&["verify", "--json"]).success();
    assert_eq!(row(&outcome, "a file is another's output")["outcome"], "passed");
    for (name, said) in
        [("../greeting", "is not the path of a file"), ("boot.sh/greeting", "cannot be both a file and a folder")]
    {
        define(&repo, "name: etc/deep/greeting", &format!("name: {name}"));
        let outcome = repo.xtask(&["lint"]);
        assert!(outcome.code == Some(1) && outcome.stdout.contains("error[file-name]"), "{outcome}");
        repo.xtask(&["run"]).failure().says(["error[file-name]", said]);
        define(&repo, &format!("name: {name}"), "name: etc/deep/greeting");
    }
}

/// Two files that the docker-shim reads. Half of their lines could reach the host.
const SHIM_FILES: &str = r#"      - name: mounts
        editable: true
        content: |
          # type=volume,source=other,target=/other
          type=volume,source=data,target=/data
          type=bind,source=/etc,target=/host
          type=volume,source=/etc,target=/host2
      - name: environment
        editable: true
        content: |
          MOOD=in a good mood
          PATH
      - name: config.json
"#;

#[test]
fn volumes_and_variables_of_files_are_applied_and_nothing_of_the_host() {
    let repo = node();
    define(&repo, "      - name: config.json\n", SHIM_FILES);
    repo.edit_manifest(
        "variants:\n",
        r#"scenes:
  - name: its volume
    nodes: {one: {}}
    steps:
      - check: it has what is asked for
        on: one
        run: [sh, -c, "echo $MOOD; cat /proc/mounts; echo kept > /data/x"]
        prints: [in a good mood, " /data "]
        lacks: " /host"
      - recreate: one
      - check: the volume is still there
        on: one
        run: [cat, /data/x]
        prints: kept
variants:
"#,
    );
    let lint = repo.xtask(&["lint"]).success();
    assert_eq!(lint.stdout.matches("warning[shim-file-line]").count(), 3, "{lint}");
    let outcome = repo.xtask(&["verify", "--json"]).success();
    assert_eq!(row(&outcome, "the volume is still there")["outcome"], "passed");
    let named = row(&outcome, "it gets all that its definition asks for");
    for said in ["`type=bind,source=/etc,target=/host` is not applied", "source=/etc,target=/host2`", "the line `PATH`"]
    {
        assert!(named["said"].as_str().unwrap().contains(said), "{named}");
    }
    assert_eq!(nothing_left(&repo), (0, 0, 0));
}

#[test]
fn a_hostile_or_broken_definition_is_refused_and_harms_nothing() {
    let repo = node();
    repo.xtask(&["save"]).success();
    let good = std::fs::read_to_string(repo.node_definition()).unwrap();
    let archive = repo.archive();
    let path = repo.path("hostile.yaml");
    let verify = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} is not in {good}");
        std::fs::write(&path, good.replace(from, to)).unwrap();
        repo.xtask(&["verify", "--definition", path.to_str().unwrap(), "--archive", archive.to_str().unwrap()])
    };
    for (from, to, said) in [
        ("source=cfg/greeting", "source=/etc/shadow", "its source must be a file of the node's folder"),
        ("source=cfg/greeting", "source=cfg/../../../etc/shadow", "its source must be a file of the node's folder"),
        ("name: greeting", "name: ../../greeting", "is not the path of a file"),
        ("source=cfg/greeting", "source=cfg/greting", "did you mean `greeting`?"),
        ("\"shell\":", "shell:", "error[config-json]"),
        ("[\"/bin/sh\", \"/boot.sh\"]", "\"x\"", "day0cmd: expected a list of strings, found a string"),
        ("libvirt_domain_driver: docker", "libvirt_domain_driver: iol", "only containers"),
        ("id: ", "id ", "error[schema-yaml]"),
    ] {
        let outcome = verify(from, to);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        outcome.says([said, "hostile.yaml"]);
    }
    let many: Vec<String> = (0..10_000).map(|n| format!("eth{n}")).collect();
    verify("[eth0, eth1], default_count: 2", &format!("[{}], default_count: 64", many.join(", "))).success();
    assert_eq!(nothing_left(&repo), (0, 0, 0));
}

#[test]
fn ctrl_c_takes_everything_down_at_any_moment() {
    const INTERRUPTED: u32 = 8;
    let repo = node();
    repo.edit_manifest("variants:\n", SCENES);
    repo.xtask(&["save"]).success();
    let since = Instant::now();
    repo.xtask(&["verify"]).success();
    let mut time = since.elapsed();
    let mut interrupted = 0;
    // On a machine whose speed changes, a late signal may come after the end.
    while interrupted < INTERRUPTED {
        let verify = repo.start(&["verify"]);
        let moment = Duration::from_millis(50) + time * interrupted / INTERRUPTED;
        std::thread::sleep(moment);
        let labs = labs(&repo);
        verify.signal("INT");
        let outcome = verify.end();
        match outcome.code {
            // A signal before the program has asked for signals ends it at once.
            Some(130) | None => interrupted += 1,
            Some(0) => time = time * 9 / 10,
            _ => panic!("{outcome}"),
        }
        assert_eq!(left_of(&labs), (0, 0, 0), "after {moment:?}");
        assert_eq!(nothing_left(&repo), (0, 0, 0), "after {moment:?}");
    }
}

#[test]
fn the_next_verify_removes_what_a_killed_one_left_behind() {
    let repo = node_that("exec sleep 1000");
    repo.xtask(&["save"]).success();
    let verify = repo.start(&["verify"]);
    wait_until("the node runs", || left_of(&labs(&repo)).0 >= 2);
    let labs = labs(&repo);
    verify.signal("KILL");
    assert_eq!(verify.end().code, None);
    let (containers, volumes, _) = left_of(&labs);
    assert!(containers >= 2 && volumes >= 1, "something is left, or this test proves nothing");
    define(&repo, "timeout: 20", "timeout: 1");
    let outcome = repo.xtask(&["verify"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    outcome.says(["removed what an earlier command left behind"]);
    assert_eq!(left_of(&labs), (0, 0, 0));
}

#[test]
fn a_node_is_run_inspected_and_stopped() {
    let (repo, name) = (node(), format!("t{}-run", std::process::id()));
    let run = repo.xtask(&["run", "--name", &name, "--interfaces", "1"]).success();
    assert_eq!(run.stdout, format!("{name}\n"));
    run.says(["is READY", &format!("cargo xtask shell {name}"), &format!("cargo xtask stop {name}")]);
    repo.xtask(&["run", "--name", &name]).success().says(["is already running as"]);

    let shell = repo.xtask_typing(&["shell", &name], "cat /greeting; cat /proc/net/dev; echo $WORD\n").success();
    assert!(shell.stdout.contains("hello") && shell.stdout.contains("secret sauce"), "{shell}");
    assert!(shell.stdout.contains("eth0:") && !shell.stdout.contains("eth1:"), "one interface: {shell}");
    let left = repo.xtask_typing(&["shell", &name], "exit 4\n").does_not_say(["error"]);
    assert_eq!(left.code, Some(4), "{left}");
    let logs = repo.xtask(&["logs", &name]).success();
    assert!(logs.stdout.contains("READY"), "{logs}");
    repo.xtask(&["console", &name]).failure().says(["a console needs a terminal"]);
    let console = format!("{} --root {} console {name}", env!("CARGO_BIN_EXE_xtask"), repo.path("").display());
    let mut terminal = repo.on_a_terminal(&console);
    terminal.wait_for("leave with Ctrl-P Ctrl-Q");
    let left = terminal.leave_by("\x10\x11");
    assert!(left.code == Some(0), "{left}");
    repo.xtask(&["shell", "t0-nobody"]).failure().says(["no node `t0-nobody` is running here"]);

    repo.xtask(&["stop", &name]).success().says([&format!("stopped {name}")]);
    repo.xtask(&["stop", &name]).failure().says(["running here"]);
    assert_eq!(Engine::here().labelled(&format!("cml-nodes.run={}", repo.node())), (0, 0));
}

#[test]
fn a_name_that_is_taken_is_refused_and_its_owner_is_left_alone() {
    let (repo, engine) = (node(), Engine::here());
    repo.xtask(&["save"]).success();
    let name = format!("t{}-taken", std::process::id());
    engine.create_container(&repo.image(), &name);
    repo.xtask(&["run", "--name", &name]).failure().says([" says: ", &name, "choose another name with --name"]);
    engine.remove_container(&name);
    assert_eq!(nothing_left(&repo), (0, 0, 0));
}

#[test]
fn a_node_without_a_text_to_wait_for_must_run_as_long_as_cml_waits() {
    let repo = node_that("trap 'exit 0' TERM; sleep 1; while [ ! -e /ends ]; do sleep 0.1; done; exit 3");
    define(&repo, "{timeout: 20, completed: [READY]}", "{timeout: 2}");
    repo.xtask(&["verify"]).success();
    define(&repo, "{timeout: 2}", "{timeout: 60}");
    define(&repo, "content: exit 0", "content: echo > /ends");
    fails_at(&repo, "boots within boot.timeout", &["with exit code 3 before it had booted", "printed nothing"]);
}

#[test]
fn a_node_that_ends_while_it_is_looked_at_is_not_proved() {
    let repo = node_that("trap 'echo no licence; exit 3' USR1; echo READY; while :; do sleep 0.1; done");
    // The shell of its second console runs until the node has ended.
    define(&repo, "content: exit 0", "content: 'test \"$1\" != end || { kill -USR1 1; exec sleep 100; }'");
    define(&repo, r#""shell": "/bin/sh""#, r#""shell": "/bin/sh /boot.sh end""#);
    fails_at(&repo, "still runs after it has booted", &["with exit code 3 by itself", "no licence"]);
    let outcome = repo.xtask(&["verify"]);
    assert!(!outcome.stdout.contains("stops within"), "{outcome}");
}

/// Two nodes, and each kind of step once.
const SCENES: &str = r#"scenes:
  - name: every kind of step
    nodes:
      one: {files: {greeting: "greetings from {{ id }}"}}
      two: {without: [net.ipv4.ip_default_ttl=77]}
    links: [[one, two]]
    steps:
      - check: files are the scene's
        on: one
        run: [cat, /greeting]
        prints: [greetings, "{{ id }}"]
        lacks: hello
      - check: an argument is taken away
        on: two
        run: [cat, /proc/sys/net/ipv4/ip_default_ttl]
        matches: '^64$'
      - rewrite: greeting
        of: two
        from: {on: one, run: [cat, /greeting]}
      - recreate: two
      - check: a file is another's output
        on: two
        run: [cat, /greeting]
        prints: greetings
      - check: a failure is asked for
        on: one
        run: [ls, /nowhere]
        fails: true
      - check: what is written is kept
        on: one
        run: [sh, -c, "echo 0 > /greeting"]
      - restart: one
      - crash: killed while it writes
        on: one
        times: 3
        run: [sh, -c, "echo {{ round }} > /greeting; sleep 1"]
        within_ms: 400
        then: [cat, /greeting]
        matches: '^[0-3]?$'
      - crash: killed once it is at the point
        on: one
        times: 2
        run: [sh, -c, "echo to the point; sleep 5"]
        once: to the point
        within_ms: 200
variants:
"#;

#[test]
fn a_scene_is_played_step_by_step() {
    let repo = node();
    repo.edit_manifest("variants:\n", SCENES);
    let outcome = repo.xtask(&["verify", "--json"]).success();
    let killed = row(&outcome, "killed while it writes");
    assert!(killed["said"].as_str().unwrap().contains("killed 3 times"), "{killed}");
    let killed = row(&outcome, "killed once it is at the point");
    assert!(killed["said"].as_str().unwrap().contains("killed 2 times, 2 of them before"), "{killed}");
    for check in
        ["files are the scene's", "a file is another's output", "an argument is taken away", "a failure is asked for"]
    {
        assert_eq!(row(&outcome, check)["outcome"], "passed");
    }
}

#[test]
fn a_check_that_fails_is_shown_with_what_it_printed() {
    let repo = node();
    repo.edit_manifest("variants:\n", &SCENES.replace("lacks: hello", "lacks: greetings from"));
    let outcome = repo.xtask(&["verify"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stdout.contains("FAILED"), "{outcome}");
    assert!(
        outcome.stdout.contains("it should not print `greetings from`; it exited with 0 and printed:"),
        "{outcome}"
    );
    outcome.says([&format!("error: {}: 1 of ", repo.id())]);
}

#[test]
fn a_command_that_ends_before_the_point_of_the_crash_is_reported() {
    let repo = node();
    repo.edit_manifest("variants:\n", &SCENES.replace("echo to the point; sleep 5", "echo no use; exit 3"));
    let outcome = repo.xtask(&["verify"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let said = "round 1, it never printed `to the point`; it exited with 3 and printed:\n      | no use";
    assert!(outcome.stdout.contains(said), "{outcome}");
}

#[test]
fn a_scene_that_names_an_unknown_node_is_refused() {
    let repo = node();
    repo.edit_manifest("variants:\n", &SCENES.replace("links: [[one, two]]", "links: [[one, tow]]"));
    repo.xtask(&["list"]).failure().says(["node.yaml", "has no node `tow`: did you mean `two`?"]);
}

#[test]
fn kept_nodes_run_until_they_are_stopped() {
    let (repo, engine) = (node(), Engine::here());
    repo.edit_manifest("variants:\n", SCENES);
    repo.xtask(&["verify", "--keep"]).success().says(["cargo xtask stop --all"]);
    let label = format!("cml-nodes.node={}", repo.node());
    assert_eq!(engine.labelled(&label).1, 2);
    repo.xtask(&["stop", "--all"]).success().says(["stopped "]);
    assert_eq!(engine.labelled(&label).1, 0);
}
