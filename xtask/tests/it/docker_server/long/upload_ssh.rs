//! `upload` over SSH, to a host that is laid out as a CML server.

use crate::common::cml::host::Host;
use crate::common::cml::{PASSWORD, Stage};
use crate::common::engine::PrivateEngine;
use crate::common::{image_id_of_archive, noise, runs, wait_until};

/// A node whose archive has several megabytes.
fn with_large_archive(stage: &Stage) {
    let greeting = stage.repo.path(&format!("docker/{}/greeting", stage.repo.node()));
    std::fs::write(greeting, noise(5, 24_000_000)).unwrap();
}

/// Makes ssh send the first megabytes of an archive, and the rest only when the test says so.
fn with_slow_archive(stage: &Stage) {
    with_large_archive(stage);
    let home = stage.home.path().display();
    stage.ssh_is(&format!(
        "case \"$*\" in *'exec cat >>'*) (head -c 4000000; while [ ! -e {home}/go ]; do sleep 0.1; done; \
            cat) | /usr/bin/ssh -F \"$CONFIG\" \"$@\";; \
         *) exec /usr/bin/ssh -F \"$CONFIG\" \"$@\";; esac"
    ));
}

fn go(stage: &Stage) {
    std::fs::write(stage.home.path().join("go"), "").unwrap();
}

fn wait_for_half_an_archive(host: &Host) {
    wait_until("a part of the archive has arrived", || {
        host.run("[ $(cat /var/tmp/cml-nodes-*/virl-base-images/*/*.gz | wc -c) -ge 3000000 ]").0 == 0
    });
}

fn size_of_archive(stage: &Stage) -> u64 {
    std::fs::metadata(stage.repo.archive()).unwrap().len()
}

fn holds_what_is_here(host: &Host, stage: &Stage) {
    let held = host.held(&stage.repo.id()).expect("it is installed");
    let digest = digests::Digest::of_file(&stage.repo.archive()).unwrap();
    assert_eq!(held.archive_sum, digest.hex());
    assert_eq!(held.node_definition, std::fs::read_to_string(stage.repo.node_definition()).unwrap());
    assert_eq!(held.image_definition, std::fs::read_to_string(stage.repo.image_definition()).unwrap());
}

#[test]
fn without_install_it_ends_with_the_one_command_to_run() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    let outcome = stage.repo.xtask(&["upload"]).success().says(["To install it, run:"]);
    assert!(outcome.stdout.contains("transferred, not installed yet"), "{outcome}");
    assert!(host.held(&stage.repo.id()).is_none());
    let command =
        outcome.stderr.lines().find_map(|line| line.trim().split_once("admin@127.0.0.1 ")).unwrap().1.to_owned();
    assert!(command.starts_with("sudo sh /var/tmp/cml-nodes-"), "{command}");
    let ran =
        host.sh(&format!("su admin -c \"echo '{PASSWORD}' | sudo -S -p '' {}\"", command.trim_start_matches("sudo ")));
    assert!(ran.contains("installed"), "{ran}");
    holds_what_is_here(&host, &stage);
    assert_eq!((host.restarts(), host.left_in_var_tmp().as_str()), (1, ""));
    let again = stage.repo.xtask(&["upload", "--json"]).success().json();
    assert_eq!((&again[0]["nodes"][0]["state"], &again[0]["nodes"][0]["sent"]), (&"same".into(), &0.into()));
}

#[test]
fn with_install_the_archive_that_arrives_is_loaded_by_an_engine_and_has_the_right_id() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    let outcome = stage.repo.xtask(&["upload", "--install"]).success();
    assert!(outcome.stdout.contains("  installed"), "{outcome}");
    holds_what_is_here(&host, &stage);
    assert_eq!((host.restarts(), host.left_in_var_tmp().as_str()), (1, ""));
    let (engine, id) = (PrivateEngine::start(), stage.repo.id());
    let archive = stage.home.path().join("fetched.tar.gz");
    host.fetch(&format!("/var/lib/libvirt/images/virl-base-images/{id}/{id}.tar.gz"), &archive);
    let loaded = crate::common::engine::Engine::at(&engine.socket());
    loaded.load(&archive);
    let wanted = image_id_of_archive(&archive);
    assert!(stage.repo.read(&format!("dist/virl-base-images/{id}/{id}.yaml")).contains(&wanted));
    if loaded.names_images_by_configuration() {
        assert_eq!(loaded.id(&stage.repo.image()), format!("sha256:{wanted}"));
    }
    stage.repo.xtask(&["upload", "--install"]).success();
    assert_eq!(host.restarts(), 1, "nothing to do, so nothing is restarted");
}

#[test]
fn each_version_gets_a_node_definition_of_its_own_although_the_api_could_share_one() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    let (node, id) = (stage.repo.node(), stage.repo.id());
    stage.repo.edit_manifest("variants:\n", &format!("shared_node: {{id: {node}, label: Tiny}}\nvariants:\n"));
    stage.repo.xtask(&["upload", "--for", "2.10"]).failure().says(["installed by the API alone", "--via api"]);
    stage.repo.xtask(&["upload", "--install", "--no-restart"]).success();
    let held = host.held(&id).expect("it is installed");
    assert!(held.node_definition.starts_with(&format!("id: {id}\n")), "{}", held.node_definition);
    assert!(!held.image_definition.contains("docker_tag"), "{}", held.image_definition);
    let status = stage.repo.xtask(&["cml", "status"]).success();
    assert!(status.stdout.contains("  the same"), "{status}");
    // As the API installs it on CML 2.10.
    let (at, dist) = ("/var/lib/libvirt/images", stage.repo.path("dist"));
    let shared = std::fs::read_to_string(dist.join(format!("node-definitions/{node}.yaml"))).unwrap();
    let image = std::fs::read_to_string(stage.repo.image_definition()).unwrap();
    host.sh(&format!(
        "cd {at} && rm node-definitions/{id}.yaml && cat >node-definitions/{node}.yaml <<'END'\n{shared}END\n\
         cat >virl-base-images/{id}/{id}.yaml <<'END'\n{image}END"
    ));
    let status = stage.repo.xtask(&["cml", "status"]).success();
    assert!(status.stdout.contains("  the same"), "{status}");
    stage.change_node("changed\n");
    let outcome = stage.repo.xtask(&["upload", "--install", "--no-restart"]).failure();
    outcome.says([&format!("{id} belongs to the node definition {node}"), "--via api"]);
}

#[test]
fn nodes_are_reported_in_the_order_in_which_they_are_named() {
    let host = Host::start();
    let mut stage = Stage::of_host(&host);
    let (first, twin) = (stage.repo.node().to_owned(), stage.repo.add_twin());
    stage.repo.xtask(&["upload", "--install", "--no-restart", &first]).success();
    let report =
        stage.repo.xtask(&["upload", "--install", "--no-restart", "--json", &twin, &first, &twin]).success().json();
    let nodes = report[0]["nodes"].as_array().unwrap();
    let states: Vec<_> = nodes.iter().map(|node| [&node["id"], &node["state"]].map(|v| v.as_str().unwrap())).collect();
    assert_eq!(states, [[format!("{twin}-1-0").as_str(), "installed"], [format!("{first}-1-0").as_str(), "same"]]);
}

#[test]
fn a_changed_definition_goes_without_the_archive_and_no_restart_means_none() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    host.sh("echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin");
    stage.repo.xtask(&["upload", "--install", "--no-restart"]).success();
    stage.repo.edit("node-definitions/tiny.yaml", "ram: 64", "ram: 65");
    let report = stage.repo.xtask(&["upload", "--install", "--no-restart", "--json"]).success().json();
    assert_eq!(report[0]["nodes"][0]["sent"], 0);
    assert_eq!(report[0]["version"], "2.9.0+build.3");
    holds_what_is_here(&host, &stage);
    assert_eq!(host.restarts(), 0);
}

#[test]
fn status_remove_and_rollback() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    let node = stage.repo.node().to_owned();
    stage.repo.xtask(&["upload", "--install", "--no-restart"]).success();
    let old = host.held(&stage.repo.id()).unwrap();
    stage.change_node("changed\n");
    stage.repo.xtask(&["save"]).success();
    let outcome = stage.repo.xtask(&["cml", "status"]).success();
    assert!(outcome.stdout.contains("CML 2.9.0+build.3, ready, free space"), "{outcome}");
    assert!(outcome.stdout.contains("differs\n    image definition: sha256\n    archive: different"), "{outcome}");
    stage.repo.xtask(&["upload", "--install", "--no-restart"]).success();
    assert!(stage.repo.xtask(&["cml", "status"]).success().stdout.contains("the same"));
    stage.repo.xtask(&["cml", "rollback", &node]).success();
    assert_eq!(host.held(&stage.repo.id()).unwrap(), old);
    assert_eq!(host.restarts(), 1);
    stage.repo.xtask(&["cml", "remove", &node, "--dry-run"]).success();
    assert!(host.held(&stage.repo.id()).is_some());
    stage.repo.xtask(&["cml", "remove", &node, "--no-restart"]).success();
    assert!(host.held(&stage.repo.id()).is_none());
    let gone = stage.repo.xtask(&["cml", "remove", &node, "--no-restart"]).success();
    assert!(gone.stdout.contains("absent"), "{gone}");
    assert!(stage.repo.xtask(&["cml", "status"]).success().stdout.contains("absent"));
    assert_eq!(host.left_in_var_tmp(), "");
}

#[test]
fn a_transfer_cut_at_nine_tenths_sends_only_the_missing_tenth() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    with_large_archive(&stage);
    stage.repo.xtask(&["upload"]).success();
    let size = size_of_archive(&stage);
    let there = size / 10 * 9;
    let sent = |stage: &Stage| {
        stage.repo.xtask(&["upload", "--json"]).success().json()[0]["nodes"][0]["sent"].as_u64().unwrap()
    };
    host.sh(&format!("truncate -s {there} /var/tmp/cml-nodes-*/virl-base-images/*/*.gz"));
    assert_eq!(sent(&stage), size - there);
    // What is there is not the beginning of the archive, so it does not count.
    host.sh(&format!(
        "cd /var/tmp/cml-nodes-*/virl-base-images/*/; truncate -s {there} *.gz; \
        printf x | dd of=$(ls *.gz) bs=1 seek=1000 conv=notrunc"
    ));
    assert_eq!(sent(&stage), size);
    assert_eq!(sent(&stage), 0);
}

#[test]
fn a_connection_that_is_cut_is_made_again_and_the_transfer_resumes() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    with_slow_archive(&stage);
    let upload = stage.repo.start(&["upload", "--install", "--no-restart", "--json"]);
    wait_for_half_an_archive(&host);
    host.sh("for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline | grep -q '^sshd-session: admin' && kill -9 \
        ${p#/proc/}; done; true");
    go(&stage);
    let outcome = upload.end().success().says(["was lost", "connecting again"]);
    let sent = outcome.json()[0]["nodes"][0]["sent"].as_u64().unwrap();
    holds_what_is_here(&host, &stage);
    // Only what was in transit when the connection was cut is sent again, not what had arrived.
    assert!(sent < size_of_archive(&stage) + 4_000_000, "{sent}");
}

#[test]
fn a_server_that_stalls_is_given_up_and_a_repeat_resumes() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    with_slow_archive(&stage);
    let upload = stage.repo.start(&["upload", "--timeout", "2"]);
    wait_for_half_an_archive(&host);
    host.docker("pause");
    go(&stage);
    upload.end().failure().says(["what has arrived is kept, and the same command continues from there"]);
    host.docker("unpause");
    let report = stage.repo.xtask(&["upload", "--install", "--no-restart", "--json"]).success().json();
    let sent = report[0]["nodes"][0]["sent"].as_u64().unwrap();
    assert!(sent > 0 && sent <= size_of_archive(&stage) - 3_000_000, "{sent}");
    holds_what_is_here(&host, &stage);
}

#[test]
fn a_client_that_is_killed_leaves_nothing_running_and_a_repeat_resumes() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    with_slow_archive(&stage);
    let upload = stage.repo.start(&["upload", "--install", "--no-restart"]);
    wait_for_half_an_archive(&host);
    upload.signal("KILL");
    go(&stage);
    assert_eq!(upload.end().code, None);
    wait_until("its ssh ends with it", || !runs(&format!("{}/ssh_config", stage.home.path().display())));
    assert!(host.held(&stage.repo.id()).is_none());
    let report = stage.repo.xtask(&["upload", "--install", "--no-restart", "--json"]).success().json();
    assert!(report[0]["nodes"][0]["sent"].as_u64().unwrap() <= size_of_archive(&stage) - 3_000_000);
    holds_what_is_here(&host, &stage);
}

/// Makes ssh count its commands, and hold the one after the first `let_through` until a file `go` exists; then it ends
/// without having started.
fn with_ssh_held_after(stage: &Stage, let_through: usize) {
    let home = stage.home.path().display();
    let told = stage.home.path().join("told");
    let _ = std::fs::remove_dir_all(&told);
    std::fs::create_dir(&told).unwrap();
    stage.ssh_is(&format!(
        "n=$(ls {home}/told | wc -l); : >{home}/told/$n
         [ $n -lt {let_through} ] || {{ : >{home}/held; while [ ! -e {home}/go ]; do sleep 0.02; done; exit 1; }}
         exec /usr/bin/ssh -F \"$CONFIG\" \"$@\""
    ));
    for name in ["go", "held"] {
        let _ = std::fs::remove_file(stage.home.path().join(name));
    }
}

#[test]
fn a_client_that_is_killed_between_any_two_of_its_commands_leaves_the_whole_old_node_or_the_whole_new_one() {
    const NOBODY: usize = 1000;
    let host = Host::start();
    let mut stage = Stage::of_host(&host);
    let temporary = stage.home.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    stage.repo.set("TMPDIR", &temporary);
    // Whatever is about a kill, the answer of sudo is not.
    host.sh("echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin");
    let words = ["upload", "--install", "--no-restart"];
    stage.repo.xtask(&words).success();
    let old = host.held(&stage.repo.id()).unwrap();
    stage.change_node("changed\n");
    stage.repo.xtask(&["save"]).success();
    with_ssh_held_after(&stage, NOBODY);
    stage.repo.xtask(&words).success();
    let new = host.held(&stage.repo.id()).unwrap();
    let commands = std::fs::read_dir(stage.home.path().join("told")).unwrap().count();
    assert!(old != new && commands >= 15, "{commands}");
    let mut seen = std::collections::BTreeSet::new();
    for step in 1..commands {
        stage.repo.xtask(&["cml", "rollback", stage.repo.node(), "--no-restart"]).success();
        assert_eq!(host.held(&stage.repo.id()).unwrap(), old);
        with_ssh_held_after(&stage, step);
        let upload = stage.repo.start(&words);
        wait_until("the command is held", || stage.home.path().join("held").exists());
        upload.signal("KILL");
        go(&stage);
        assert_eq!(upload.end().code, None);
        let held = host.held(&stage.repo.id()).unwrap();
        assert!(held == old || held == new, "killed before command {step}: {held:?}");
        seen.insert(held == new);
        with_ssh_held_after(&stage, NOBODY);
        stage.repo.xtask(&words).success();
        assert_eq!(host.held(&stage.repo.id()).unwrap(), new, "killed before command {step}");
        assert_eq!(host.left_in_var_tmp(), "", "killed before command {step}");
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "killed before command {step}");
    }
    assert_eq!(seen.len(), 2, "some commands leave the old one, some the new one");
}

#[test]
fn a_client_that_is_killed_during_the_installation_does_not_stop_it() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    host.sh("mv /usr/bin/cp /usr/bin/cp.true; printf '#!/bin/sh\\nsleep 0.7\\nexec cp.true \"$@\"\\n' >/usr/bin/cp; \
        chmod 755 /usr/bin/cp");
    let upload = stage.repo.start(&["upload", "--install", "--no-restart"]);
    wait_until("the script runs", || host.run("ls -d /var/lib/libvirt/images/.cml-nodes/*/new").0 == 0);
    upload.signal("KILL");
    assert_eq!(upload.end().code, None);
    wait_until("the script has ended", || host.left_in_var_tmp().is_empty());
    holds_what_is_here(&host, &stage);
    let again = stage.repo.xtask(&["upload", "--install", "--no-restart"]).success();
    assert!(again.stdout.contains("the same"), "{again}");
}

#[test]
fn it_needs_neither_rsync_nor_sftp() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    host.sh("rm /usr/bin/rsync /usr/lib/openssh/sftp-server");
    stage.repo.xtask(&["upload", "--install", "--no-restart"]).success();
    holds_what_is_here(&host, &stage);
}

/// A stage that has never been in contact with its host.
fn before_first_contact(host: &Host) -> Stage {
    let stage = Stage::of_host(host);
    std::fs::remove_file(stage.known_hosts()).unwrap();
    stage
}

/// The command on a terminal, where a person answers.
fn status_on_a_terminal(stage: &Stage, dialogue: &[(&str, &str)]) -> crate::common::Outcome {
    let words = format!("{} --root {} cml status", env!("CARGO_BIN_EXE_xtask"), stage.repo.folder.path().display());
    stage.repo.in_dialogue(&words, dialogue)
}

fn fingerprint(host: &Host) -> String {
    host.sh("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn at_the_first_contact_no_password_is_sent_before_a_person_has_accepted_the_host_key() {
    let host = Host::start();
    let stage = before_first_contact(&host);
    let fingerprint = fingerprint(&host);
    let refused = stage.repo.xtask(&["cml", "status"]).failure();
    refused.says(["its host key is not known yet, and there is no terminal to ask on", &fingerprint, "ssh-keyscan"]);
    let outcome = status_on_a_terminal(&stage, &[("[y/N]", "n\n")]);
    assert!(outcome.code == Some(1) && outcome.stdout.contains(&fingerprint), "{outcome}");
    assert!(!stage.known_hosts().exists());
    let outcome = status_on_a_terminal(&stage, &[("[y/N]", "y\n")]);
    assert!(outcome.code == Some(0) && outcome.stdout.contains("Permanently added"), "{outcome}");
    stage.repo.xtask(&["cml", "status"]).success().does_not_say(["fingerprint", "Permanently added"]);
}

#[test]
fn at_the_first_contact_a_login_by_key_gives_no_password_away_and_is_not_asked_about() {
    let host = Host::start();
    let mut stage = before_first_contact(&host);
    let_in_by_key(&host, &mut stage);
    stage.repo.xtask(&["cml", "status"]).success().says(["Permanently added"]);
}

/// The configuration of `Host`s for ssh, before that of all.
fn configure(stage: &Stage, text: &str) {
    let path = stage.home.path().join("ssh_config");
    let rest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("{text}\n{rest}")).unwrap();
}

#[test]
fn a_jump_host_does_not_get_the_password_of_the_server_behind_it() {
    let (jump, server) = (Host::start(), Host::start());
    let mut stage = Stage::of_host(&jump);
    let inner = server.inner_address();
    let known = format!("{}\n[{inner}]:1122 {}\n", jump.known_as(), server.key());
    std::fs::write(stage.known_hosts(), known).unwrap();
    configure(&stage, &format!("Host {inner}\n  ProxyJump admin@127.0.0.1:{}\n", jump.port()));
    stage.repo.set("VIRL2_URL", format!("ssh://{inner}:1122"));
    // Its user has the same name and the same password: who sends that is let in.
    let outcome = stage.repo.xtask(&["cml", "status"]).failure();
    outcome.says(["a program that ssh has started", "asks `admin@127.0.0.1's password:`", "login by key"]);
    // With a way of its own through the jump host, the password serves for the server.
    let_in_by_key(&jump, &mut stage);
    stage.repo.set("CML_SSH_PASS", PASSWORD);
    stage.repo.xtask(&["cml", "status"]).success();
}

#[test]
fn a_proxy_command_does_not_get_the_password_whatever_it_asks() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    let script = stage.home.path().join("proxy");
    let got = stage.home.path().join("got");
    let text = format!(
        "#!/bin/bash\nfor p in \"admin@127.0.0.1's password: \" '(admin@127.0.0.1) Password: ' 'Password: '; do\n\
         \"$SSH_ASKPASS\" \"$p\" >>{0}; \"$SSH_ASKPASS\" \"$p\" >>{0} </dev/null; done\n\
         exec 3<>/dev/tcp/127.0.0.1/$2; cat <&3 & cat >&3\n",
        got.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    configure(&stage, &format!("Host *\n  ProxyCommand {} %h %p\n", script.display()));
    // ssh itself still gets it.
    stage.repo.xtask(&["cml", "status"]).success();
    assert_eq!(std::fs::read_to_string(&got).unwrap(), "");
}

#[test]
fn ssh_has_its_sockets_whatever_the_temporary_folder_is() {
    let host = Host::start();
    let mut stage = Stage::of_host(&host);
    let parent = tempfile::tempdir_in("/tmp").unwrap();
    let odd = ["with blank", "it's", "\"quoted\"", "100%h", "a:b", "back\\slash", &"long".repeat(50)];
    for name in odd {
        let folder = parent.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        stage.repo.set("TMPDIR", folder);
        stage.repo.xtask(&["cml", "status"]).success();
    }
    stage.repo.set("TMPDIR", "relative");
    stage.repo.xtask(&["cml", "status"]).success();
}

#[test]
fn a_changed_host_key_stops_everything() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    stage.repo.xtask(&["cml", "status"]).success();
    host.sh("rm /etc/ssh/ssh_host_*; ssh-keygen -A; kill -HUP $(cat /run/sshd.pid)");
    wait_until("sshd has its new key", || host.run("ssh-keyscan -p 1122 127.0.0.1 2>/dev/null | grep -q ssh-").0 == 0);
    let outcome = stage.repo.xtask(&["upload", "--install"]).failure();
    outcome.says(["the host key of", "is not the known one, so nothing was sent", "ssh-keygen -R"]);
    assert!(host.held(&stage.repo.id()).is_none() && host.left_in_var_tmp().is_empty());
}

#[test]
fn a_wrong_password_is_reported_and_no_password_is_ever_shown() {
    let host = Host::start();
    let mut stage = Stage::of_host(&host);
    let shown = stage.repo.xtask(&["-v", "upload", "--install", "--no-restart"]).success();
    assert!(!shown.stderr.contains(PASSWORD) && !shown.stdout.contains(PASSWORD), "{shown}");
    stage.repo.set("CML_SSH_PASS", "Wr0ng-one");
    let outcome = stage.repo.xtask(&["-v", "upload"]).failure();
    outcome.says(["refuses the login of `admin`: wrong key or password"]).does_not_say(["Wr0ng-one"]);
}

#[test]
fn the_password_is_in_no_argument_and_no_environment() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    with_slow_archive(&stage);
    let upload = stage.repo.start(&["upload"]);
    wait_for_half_an_archive(&host);
    let own = upload.pid();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&line).contains(PASSWORD), "{}", String::from_utf8_lossy(&line));
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let is_meant = pid == own || String::from_utf8_lossy(&line).contains("ssh_config");
        assert!(
            !is_meant || !String::from_utf8_lossy(&environment).contains(PASSWORD),
            "{} has the password in its environment",
            String::from_utf8_lossy(&line)
        );
    }
    go(&stage);
    upload.end().success();
}

#[test]
fn a_refusal_by_sudo_is_reported_and_nothing_is_changed() {
    let host = Host::start();
    let mut stage = Stage::of_host(&host);
    let guest = host.url().replace("ssh://", "ssh://guest@");
    let outcome = stage.repo.xtask(&["upload", "--install", "--cml", &guest]).failure();
    outcome.says(["sudo refuses `guest`", "not in the sudoers file"]);
    assert!(host.held(&stage.repo.id()).is_none());
    // The key is accepted, but sudo wants a password, and there is no terminal to ask on.
    let_in_by_key(&host, &mut stage);
    let outcome = stage.repo.xtask(&["upload", "--install"]).failure();
    outcome.says(["sudo needs the password of `admin`, and there is no terminal to ask on", "CML_SSH_PASS"]);
    assert!(host.held(&stage.repo.id()).is_none());
}

#[test]
fn on_a_terminal_the_password_for_sudo_is_asked_for() {
    let host = Host::start();
    let mut stage = Stage::of_host(&host);
    stage.repo.xtask(&["save"]).success();
    let_in_by_key(&host, &mut stage);
    let program = env!("CARGO_BIN_EXE_xtask");
    let words = format!("{program} --root {} upload --install --no-restart", stage.repo.folder.path().display());
    let outcome = stage.repo.in_dialogue(&words, &[("[sudo] password for admin", &format!("{PASSWORD}\n"))]);
    assert!(outcome.code == Some(0) && outcome.stdout.contains("[sudo] password for admin"), "{outcome}");
    holds_what_is_here(&host, &stage);
}

/// By key alone: no password is known.
fn let_in_by_key(host: &Host, stage: &mut Stage) {
    let key = stage.home.path().join("none");
    std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).output().unwrap();
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    host.sh(&format!(
        "mkdir -p /home/admin/.ssh; echo '{}' >/home/admin/.ssh/authorized_keys; chown -R admin: /home/admin/.ssh",
        public.trim()
    ));
    stage.repo.set("CML_SSH_PASS", "");
}

#[test]
fn a_full_disk_is_reported_before_and_during_the_transfer() {
    let images = ["--mount", "type=tmpfs,destination=/var/lib/libvirt/images,tmpfs-size=4000000"];
    let host = Host::start_with(&images);
    let stage = Stage::of_host(&host);
    with_large_archive(&stage);
    stage.repo.xtask(&["upload"]).failure().says(["the disk of /var/lib/libvirt/images has"]);
    assert_eq!(host.left_in_var_tmp(), "");
    let host = Host::start_with(&["--mount", "type=tmpfs,destination=/var/tmp,tmpfs-mode=1777,tmpfs-size=4000000"]);
    let address = host.url();
    stage.knows(&host);
    stage.repo.xtask(&["upload", "--cml", &address]).failure().says(["the disk of /var/tmp has"]);
    // The free space was reported wrongly: the transfer itself fails.
    host.sh("printf '#!/bin/sh\necho x; echo x x x 9000000\n' >/usr/local/bin/df; chmod 755 /usr/local/bin/df");
    stage.repo.xtask(&["upload", "--cml", &address]).failure().says(["No space left on device"]);
    // And if it is not reported, that is what is said.
    host.sh("printf '#!/bin/sh\nexit 1\n' >/usr/local/bin/df");
    let outcome = stage.repo.xtask(&["upload", "--cml", &address]).failure();
    outcome.says(["the free space on the disk of /var/tmp is unknown", "No space left on device"]);
    assert!(host.held(&stage.repo.id()).is_none());
}

#[test]
fn an_archive_that_was_changed_after_it_was_saved_is_not_installed() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    stage.repo.xtask(&["save"]).success();
    let times = std::fs::metadata(stage.repo.archive()).unwrap().modified().unwrap();
    let mut bad = std::fs::read(stage.repo.archive()).unwrap();
    *bad.last_mut().unwrap() ^= 1;
    std::fs::write(stage.repo.archive(), bad).unwrap();
    std::fs::File::options().write(true).open(stage.repo.archive()).unwrap().set_modified(times).unwrap();
    stage.repo.xtask(&["upload", "--install"]).failure().says(["has changed since it was saved"]);
    assert!(host.held(&stage.repo.id()).is_none());
}

#[test]
fn two_uploads_at_once_both_succeed() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    stage.repo.xtask(&["save"]).success();
    let words = ["upload", "--install", "--no-restart"];
    for run in [stage.repo.start(&words), stage.repo.start(&words)] {
        run.end().success();
    }
    holds_what_is_here(&host, &stage);
}

#[test]
fn with_several_hosts_one_may_be_unreachable() {
    let (one, two) = (Host::start(), Host::start());
    let stage = Stage::of_host(&one);
    stage.knows(&two);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = format!("ssh://127.0.0.1:{port}");
    let urls = [one.url(), two.url()];
    let outcome = stage
        .repo
        .xtask(&["upload", "--install", "--no-restart", "--cml", &urls[0], "--cml", &nobody, "--cml", &urls[1]]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    outcome.says(["refuses connections on port", "cockpit", "1 of 3 servers failed"]);
    for host in [&one, &two] {
        holds_what_is_here(host, &stage);
    }
}

#[test]
fn a_server_that_is_too_old_gets_nothing() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    host.sh("echo 2.8.1+build.1 >/run/virl2/version");
    stage.repo.xtask(&["upload", "--install"]).failure().says(["runs CML 2.8.1+build.1; containers need 2.9"]);
    assert_eq!(host.left_in_var_tmp(), "");
}

/// A node that needs the host to forward IPv6.
fn that_forwards(stage: &Stage) {
    stage.repo.edit(
        "node-definitions/tiny.yaml",
        r#""{% endif -%} }}"#,
        r#"",{% endif -%} "run_args": ["--sysctl", "net.ipv6.conf.all.forwarding=1"]}}"#,
    );
}

#[test]
fn doctor_accepts_a_ready_host_and_shows_what_it_would_fix() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    that_forwards(&stage);
    stage.repo.xtask(&["save"]).success();
    let outcome = stage.repo.xtask(&["cml", "doctor"]).success();
    assert!(
        outcome.stdout.contains("net.ipv6.conf.all.forwarding is on, at the next boot too")
            && !outcome.stdout.contains("WRONG"),
        "{outcome}"
    );

    host.sh("mkdir /root/kept; mv /etc/sysctl.d/50-server.conf /root/kept/; \
        echo '#net.ipv6.conf.all.forwarding=1' >/etc/sysctl.conf");
    let before = host.sh("sha256sum /etc/sysctl.conf /etc/sysctl.d/*; ls /etc/modules-load.d");
    let outcome = stage.repo.xtask(&["cml", "doctor"]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stdout.contains("WRONG  net.ipv6.conf.all.forwarding is on, but not at the next boot"),
        "{outcome}"
    );
    // No node here needs it, so it is only a note.
    assert!(outcome.stdout.contains("note   net.ipv4.ip_forward is on, but not at the next boot"), "{outcome}");
    outcome.says(["`cargo xtask cml doctor --fix` fixes what it can"]);
    for words in [["cml", "doctor", "--fix", "--dry-run"].as_slice(), &["cml", "doctor", "--fix"]] {
        let outcome = stage.repo.xtask(words);
        outcome.says(["/etc/sysctl.d/99-zz-cml-nodes.conf becomes:", "+ net.ipv6.conf.all.forwarding = 1"]);
        assert_eq!(host.sh("sha256sum /etc/sysctl.conf /etc/sysctl.d/*; ls /etc/modules-load.d"), before, "{words:?}");
    }
}

#[test]
fn doctor_fix_writes_drop_ins_and_reboots_only_when_told() {
    let mut host = Host::start();
    let stage = Stage::of_host(&host);
    that_forwards(&stage);
    stage.repo.xtask(&["save"]).success();
    // As Ubuntu has it.
    host.sh("echo net.ipv6.conf.all.forwarding=0 >/etc/sysctl.conf; ln -s ../sysctl.conf /etc/sysctl.d/99-sysctl.conf");
    stage
        .repo
        .xtask(&["upload", "--install"])
        .failure()
        .says(["could not start on", "not at the next boot", "cml doctor --fix", "--force"]);
    assert!(host.held(&stage.repo.id()).is_none() && host.left_in_var_tmp().is_empty());
    let outcome = stage.repo.xtask(&["cml", "doctor", "--fix", "--yes"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    outcome.says(["the changes take effect after a reboot", "is not ready for the nodes here before it was rebooted"]);
    assert_eq!(host.sh("cat /etc/sysctl.conf"), "net.ipv6.conf.all.forwarding=0\n", "what is not ours is let be");
    assert!(host.sh("cat /etc/sysctl.d/99-zz-cml-nodes.conf").contains("net.ipv6.conf.all.forwarding = 1"));
    stage
        .repo
        .xtask(&["upload", "--install", "--no-restart", "--force"])
        .success()
        .says(["installing anyway (--force)"]);
    assert!(host.is_up(), "it does not reboot unasked");
    stage.repo.xtask(&["cml", "doctor", "--fix", "--yes", "--reboot"]).success().says(["rebooting"]);
    host.boot_again();
    stage.knows(&host);
    let outcome = stage.repo.xtask(&["cml", "doctor", "--cml", &host.url()]).success();
    assert!(
        outcome
            .stdout
            .contains("net.ipv6.conf.all.forwarding is on, at the next boot too, and dockerd was started after it"),
        "{outcome}"
    );
}

#[test]
fn doctor_asks_for_vrf_only_where_a_node_needs_it() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    stage.repo.xtask(&["save"]).success();
    let outcome = stage.repo.xtask(&["cml", "doctor"]).success();
    assert!(outcome.stdout.contains("vrf is not loaded, and no node here needs it"), "{outcome}");
    that_forwards(&stage);
    stage.repo.edit("node-definitions/tiny.yaml", "net.ipv6.conf.all.forwarding=1", "net.vrf.strict_mode=1");
    stage.repo.edit_manifest("A node for tests", "A node for hosts with the module vrf");
    stage.repo.xtask(&["save"]).success();
    stage.repo.xtask(&["cml", "doctor", "--fix", "--yes"]).says(["before it was rebooted"]);
    assert!(host.sh("cat /etc/modules-load.d/cml-nodes.conf").contains("vrf\n"));
    host.sh("rm /usr/local/bin/docker-shim; sed -i 's/^OPTS=\"/OPTS=\"-day0privs privileged /' \
        /etc/default/docker-shim.env; systemctl disable ssh.service");
    let outcome = stage.repo.xtask(&["cml", "doctor"]);
    for found in [
        "docker-shim is not installed",
        "-day0privs is `privileged`",
        "the SSH service does not start with the server (disabled)",
    ] {
        assert!(outcome.stdout.contains(found), "{found}: {outcome}");
    }
}

#[test]
fn a_restart_that_fails_is_reported() {
    let host = Host::start();
    let stage = Stage::of_host(&host);
    host.sh("touch /run/virl2/broken");
    stage.repo.xtask(&["upload", "--install"]).failure().says(["job for virl2.target failed"]);
    holds_what_is_here(&host, &stage);
}
