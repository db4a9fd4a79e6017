//! `cargo xtask builder`, against a controller that follows CML's rules.

use std::os::unix::fs::PermissionsExt;

use crate::common::Outcome;
use crate::common::cml::controller::{Controller, Trouble};
use crate::common::cml::labs::Boot;
use crate::common::cml::{KEY, OTHER_KEY, PASSWORD, Stage};

const TITLE: &str = "Create Docker Image";
const UBUNTU: &str = "ubuntu-24-04-20250503";
const SECRET: &str = "corr3ct-h0rse";
const QUESTION: &str = "(empty: generate one): ";

/// A server with some Ubuntu images, and a user who has a key.
fn scene() -> (Controller, Stage) {
    let controller = Controller::start();
    for image in ["ubuntu-22-04-20240126", UBUNTU, "ubuntu-24-04-20241004", "ubuntu-24-04"] {
        controller.add_image(image, "ubuntu");
    }
    controller.add_image("alpine-3-21-3", "alpine");
    let stage = Stage::of_builder(&controller);
    (controller, stage)
}

const CREATE: [&str; 4] = ["builder", "create", "--server-address", "192.0.2.1"];

fn create(stage: &Stage, further: &[&str]) -> Outcome {
    stage.repo.xtask(&[&CREATE, further].concat())
}

fn titles(controller: &Controller) -> Vec<String> {
    controller.state().labs.all.values().map(|lab| lab.title.clone()).collect()
}

/// Requests that change something.
fn changes(controller: &Controller) -> Vec<String> {
    let read_only =
        |line: &String| !line.starts_with("GET ") && !["POST authenticate", "DELETE logout"].contains(&line.as_str());
    controller.take_log().into_iter().filter(read_only).collect()
}

/// The configuration for cloud-init.
fn user_data(controller: &Controller) -> serde_yaml::Value {
    let mut state = controller.state();
    let (_, lab) = state.labs.only();
    let text = lab.nodes[1].says["configuration"][0]["content"].as_str().unwrap().to_owned();
    assert!(text.starts_with("#cloud-config\n"), "{text}");
    serde_yaml::from_str(&text).unwrap()
}

#[test]
fn a_lab_is_created_from_one_topology_with_the_newest_ubuntu_and_a_repeat_leaves_it_alone() {
    let (controller, stage) = scene();
    let outcome = create(&stage, &[]).success();
    assert!(outcome.stdout.contains("  created"), "{outcome}");
    assert_eq!(changes(&controller), ["POST import"]);
    {
        let mut state = controller.state();
        let (_, lab) = state.labs.only();
        assert_eq!(lab.title, TITLE);
        assert_eq!(lab.state(), "DEFINED_ON_CORE");
        let [outside, builder] = lab.nodes.as_slice() else { panic!("two nodes") };
        assert_eq!(outside.says["node_definition"], "external_connector");
        assert_eq!(outside.says["configuration"][0]["content"], "NAT");
        assert_eq!(builder.says["image_definition"], UBUNTU);
        let size = ["cpus", "ram", "boot_disk_size"].map(|key| builder.says[key].as_i64().unwrap());
        assert_eq!(size, [4, 4096, 32]);
    }
    let again = create(&stage, &["--cpus", "8"]).success().says(["left unchanged", "--replace"]);
    assert!(again.stdout.contains("  unchanged"), "{again}");
    assert_eq!(changes(&controller), [""; 0]);
}

#[test]
fn the_machine_gets_the_callers_settings_but_no_secret() {
    let (controller, mut stage) = scene();
    stage.repo.set("CML_BUILDER_PASS", SECRET);
    stage.repo.set("CML_SSH_USER", "labs");
    let size = ["--cpus", "2", "--ram", "2048", "--disk", "20", "--user", "me", "-v"];
    let outcome = create(&stage, &size).success();
    let data = user_data(&controller);
    assert_eq!((&data["timezone"], &data["locale"]), (&"Asia/Tokyo".into(), &"ja_JP.UTF-8".into()));
    let user = &data["users"][0];
    assert_eq!(data["users"].as_sequence().unwrap().len(), 1, "no other user, with a password that everybody knows");
    assert_eq!(user["name"], "me");
    let keys: Vec<&str> =
        user["ssh_authorized_keys"].as_sequence().unwrap().iter().flat_map(|key| key.as_str()).collect();
    assert_eq!(keys, [KEY, OTHER_KEY]);
    assert!(user["hashed_passwd"].as_str().unwrap().starts_with("$6$rounds="));
    assert_eq!((&user["lock_passwd"], &data["ssh_pwauth"]), (&false.into(), &true.into()));
    let files = serde_yaml::to_string(&data["write_files"]).unwrap();
    for part in ["HostName 192.0.2.1", "User labs", "CML_SSH_USER=labs", "https://example.org/team/cml-nodes.git"] {
        assert!(files.contains(part), "{part}: {files}");
    }
    let state = controller.state();
    let lab = state.labs.all.values().next().unwrap();
    assert_eq!(lab.nodes[1].says["ram"], 2048);
    let everything = format!("{outcome}{:?}{:?}{}{}", lab.nodes[1].says, state.log, lab.description, lab.notes);
    for secret in [SECRET, PASSWORD, "t0ken"] {
        assert!(!everything.contains(secret), "{secret}");
    }
}

#[test]
fn without_a_password_a_key_is_needed() {
    let (controller, stage) = scene();
    create(&stage, &[]).success().says(["gets no password"]);
    assert_eq!(user_data(&controller)["users"][0]["lock_passwd"], true);
    stage.repo.xtask(&["builder", "delete", "--yes"]).success();
    std::fs::remove_dir_all(stage.home.path().join(".ssh")).unwrap();
    controller.take_log();
    create(&stage, &[]).failure().says(["nobody could log in", "--key FILE", "--generate-password"]);
    assert_eq!(changes(&controller), [""; 0]);
    // A generated password is shown once, and is different each time.
    let shown = |outcome: &Outcome| {
        let line = outcome
            .stderr
            .lines()
            .find_map(|line| line.split_once("shown only once: "))
            .map(|(_, word)| word.to_owned());
        line.unwrap_or_else(|| panic!("{outcome}"))
    };
    let one = shown(&create(&stage, &["--generate-password"]).success());
    let other = shown(&create(&stage, &["--generate-password", "--replace", "--yes"]).success());
    assert!(one.len() >= 20 && one != other, "{one} {other}");
    assert!(!format!("{:?}", user_data(&controller)).contains(&other));
}

#[test]
fn a_password_is_asked_for_twice_on_a_terminal_and_weak_ones_are_refused() {
    let (controller, stage) = scene();
    let line = |arguments: &[&str]| {
        let program = env!("CARGO_BIN_EXE_xtask");
        format!("{program} --root {} {}", stage.repo.folder.path().display(), arguments.join(" "))
    };
    let right = format!("{SECRET}\n");
    let first = (QUESTION, right.as_str());
    let refused = stage.repo.in_dialogue(&line(&CREATE), &[(QUESTION, "cisco\n")]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stdout.contains("at least 8 characters"), "{refused}");
    let differ = stage.repo.in_dialogue(&line(&CREATE), &[first, ("Repeat the password: ", &format!("{SECRET}x\n"))]);
    assert!(differ.code == Some(1) && differ.stdout.contains("the passwords differ"), "{differ}");
    assert!(titles(&controller).is_empty());
    let outcome = stage.repo.in_dialogue(&line(&CREATE), &[first, ("Repeat the password: ", &right)]);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(!outcome.stdout.contains(SECRET), "it is not shown: {outcome}");
    assert_eq!(user_data(&controller)["ssh_pwauth"], true);
}

#[test]
fn after_ctrl_c_at_a_password_the_terminal_shows_what_is_typed_again() {
    let (_controller, stage) = scene();
    let program = env!("CARGO_BIN_EXE_xtask");
    let root = stage.repo.folder.path().display();
    let line = format!("trap : INT; {program} --root {root} {}; stty -a", CREATE.join(" "));
    let outcome = stage.repo.in_dialogue(&line, &[(QUESTION, "\u{3}")]);
    assert!(outcome.stdout.contains("interrupted") && outcome.stdout.contains(" echo "), "{outcome}");
}

#[test]
fn a_missing_image_is_named_together_with_those_that_exist() {
    let (controller, stage) = scene();
    let outcome = create(&stage, &["--image-definition", "ubuntu-24-04-2099"]).failure();
    outcome.says(["no image definition `ubuntu-24-04-2099`", UBUNTU, "ubuntu-22-04-20240126"]).does_not_say(["alpine"]);
    create(&stage, &["--image-definition", "ubuntu-22-04-20240126"]).success();
    stage.repo.xtask(&["builder", "delete", "--yes"]).success();
    controller.state().image_definitions.retain(|id, _| id.starts_with("ubuntu-22") || id.starts_with("alpine"));
    create(&stage, &[]).failure().says(["no image of Ubuntu 24.04", "ubuntu-22-04-20240126", "--image-definition"]);
    controller.state().image_definitions.clear();
    create(&stage, &[]).failure().says(["no image of Ubuntu 24.04", "there is none"]);
    assert!(titles(&controller).is_empty());
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_done() {
    let (controller, stage) = scene();
    for (arguments, says) in [
        (["--user", "Me"], "is not a valid user name"),
        (["--timezone", "../etc"], "is not a time zone"),
        (["--repository", "/srv/cml-nodes"], "folder on this machine"),
        (["--key", "/nonexistent"], "could not read"),
        (["--title", "x\ny"], "on one line"),
    ] {
        create(&stage, &arguments).failure().says([says]);
    }
    stage
        .repo
        .xtask(&["builder", "create"])
        .failure()
        .says(["`127.0.0.1` is the build machine itself", "--server-address"]);
    stage.repo.xtask(&["builder", "status", "--via", "ssh"]).failure().says(["this command needs CML's API"]);
    stage.repo.xtask(&["builder", "status", "--cml", "one", "--cml", "two"]).failure().says(["one server at a time"]);
    assert_eq!(changes(&controller), [""; 0]);
}

#[test]
fn a_file_holds_the_same_lab_and_needs_no_server_if_the_image_is_named() {
    let (controller, stage) = scene();
    create(&stage, &[]).success();
    let imported = user_data(&controller);
    controller.take_log();
    let file = stage.home.path().join("lab.yaml");
    let words = ["--output", file.to_str().unwrap(), "--image-definition", UBUNTU];
    let outcome = create(&stage, &words).success();
    assert_eq!(outcome.stdout.trim(), file.to_str().unwrap());
    assert_eq!(controller.take_log(), [""; 0]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let lab: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let written = lab["nodes"][1]["configuration"][0]["content"].as_str().unwrap();
    assert_eq!(serde_yaml::from_str::<serde_yaml::Value>(written).unwrap(), imported);
    create(&stage, &words).failure().says(["exists already and is not overwritten"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_machine_is_started_waited_for_stopped_started_again_and_deleted() {
    let (controller, stage) = scene();
    create(&stage, &["--user", "me"]).success();
    let start = || stage.repo.xtask(&["builder", "start"]).success();
    let outcome = start();
    assert_eq!(outcome.stdout.trim(), "ssh -J admin@127.0.0.1:1122 me@192.168.255.17", "{outcome}");
    let outcome = outcome.says(["booting", "preparing: packages", "ready", "console server"]);
    assert!(outcome.stderr.find("booting") < outcome.stderr.find("preparing: packages"), "{outcome}");
    let status = stage.repo.xtask(&["builder", "status", "--json"]).success().json();
    assert_eq!((&status[0]["machine"], &status[0]["own"]), (&"ready".into(), &true.into()));
    assert_eq!(status[0]["addresses"][0], "192.168.255.17");
    // Again, while it runs: nothing is started.
    changes(&controller);
    start();
    assert_eq!(changes(&controller), [""; 0]);

    stage.repo.xtask(&["builder", "stop"]).success();
    let again = stage.repo.xtask(&["builder", "stop"]).success();
    assert!(again.stdout.contains("not running"), "{again}");
    let outcome = stage.repo.xtask(&["builder", "status"]).success();
    assert!(outcome.stdout.contains("stopped"), "{outcome}");

    // The console's log still has the first boot, which must not count.
    start().says(["booting", "preparing: packages"]);
    let outcome = stage.repo.xtask(&["builder", "delete"]).failure().says(["--yes"]);
    assert!(outcome.stderr.contains("nothing was changed"), "{outcome}");
    changes(&controller);
    stage.repo.xtask(&["builder", "delete", "--yes"]).success();
    let done: Vec<String> =
        changes(&controller).iter().filter_map(|line| Some(line.rsplit_once('/')?.1.to_owned())).collect();
    assert_eq!(done[..2], ["stop", "wipe"]);
    assert!(titles(&controller).is_empty());
    for repeat in ["delete", "stop"] {
        stage.repo.xtask(&["builder", repeat]).success().says(["no lab `", "with a build machine"]);
    }
    stage.repo.xtask(&["builder", "start"]).failure().says(["builder create"]);
    stage.repo.xtask(&["builder", "status"]).success().says(["there is no lab with the title"]);
}

#[test]
fn without_an_address_from_the_server_the_machines_own_message_is_used() {
    let (controller, stage) = scene();
    create(&stage, &[]).success();
    controller.state().labs.sees_addresses = false;
    let outcome = stage.repo.xtask(&["builder", "start"]).success().says(["from its own console"]);
    assert_eq!(outcome.stdout.trim(), "ssh -J admin@127.0.0.1:1122 builder@192.168.255.23");
}

#[test]
fn a_node_that_never_boots_is_shown_with_its_console() {
    let (controller, stage) = scene();
    create(&stage, &[]).success();
    controller.state().labs.boot = Boot::Never;
    let outcome = stage.repo.xtask(&["builder", "start", "--wait", "3"]).failure();
    outcome.says([
        "was not ready after 3 s (--wait); its last state: booting",
        "  | [    1.2] Kernel panic - not syncing: VFS",
    ]);
    controller.state().labs.boot = Boot::Ready;
    stage.repo.xtask(&["builder", "stop"]).success();
    stage.repo.xtask(&["builder", "start"]).success();
}

#[test]
fn a_machine_that_fails_to_prepare_or_crashes_says_why_and_is_tried_again() {
    let (controller, stage) = scene();
    create(&stage, &[]).success();
    controller.state().labs.boot = Boot::Unprepared;
    let start = || stage.repo.xtask(&["builder", "start"]);
    start().failure().says([
        "its preparation failed at the step `packages`",
        "E: Unable to locate package docker.io",
        "builder stop",
    ]);
    stage.repo.xtask(&["builder", "stop"]).success();
    controller.state().labs.boot = Boot::Stops;
    start().failure().says(["was stopped, or stopped by itself", "Linux version 6.8.0"]);
    controller.state().labs.boot = Boot::Ready;
    start().success();
}

#[test]
fn only_labs_of_this_project_are_touched_even_if_others_have_the_same_title() {
    let (controller, stage) = scene();
    let foreign = controller.state().labs.add(TITLE, "ubuntu");
    for command in ["stop", "delete"] {
        let outcome = stage.repo.xtask(&["builder", command, "--title", TITLE]).success();
        outcome.says(["is not this project's and is left unchanged"]);
        stage.repo.xtask(&["builder", command, "--lab", &foreign]).failure().says(["did not make the lab"]);
    }
    for replace in [&[][..], &["--replace", "--yes"]] {
        create(&stage, replace).failure().says(["this project did not create", "choose another --title"]);
    }
    // A lab with a copied description.
    let copied = {
        let mut state = controller.state();
        let id = state.labs.add("copied", "ubuntu");
        state.labs.all.get_mut(&id).unwrap().description = "cml-nodes.builder user=me".to_owned();
        id
    };
    stage.repo.xtask(&["builder", "delete", "--yes", "--title", "copied"]).success();
    assert_eq!(changes(&controller), [""; 0]);
    // This project's lab, under a title that others also have.
    create(&stage, &["--title", "ours"]).success();
    let ours = controller.state().labs.all.keys().find(|id| **id != foreign && **id != copied).unwrap().clone();
    controller.state().labs.all.get_mut(&ours).unwrap().title = TITLE.to_owned();
    let status = stage.repo.xtask(&["builder", "status", "--json"]).success().json();
    assert_eq!(status.as_array().unwrap().iter().filter(|lab| lab["own"] == true).count(), 1);
    create(&stage, &["--replace", "--yes"]).success();
    stage.repo.xtask(&["builder", "start"]).success();
    stage.repo.xtask(&["builder", "delete", "--yes"]).success();
    let mut left: Vec<String> = controller.state().labs.all.keys().cloned().collect();
    left.sort();
    assert_eq!(left, [foreign, copied]);
}

#[test]
fn one_of_several_labs_must_be_named_and_one_with_other_peoples_nodes_is_not_deleted() {
    let (controller, stage) = scene();
    create(&stage, &["--title", "second"]).success();
    create(&stage, &[]).success();
    for lab in controller.state().labs.all.values_mut() {
        lab.title = TITLE.to_owned();
    }
    let ids: Vec<String> = controller.state().labs.all.keys().cloned().collect();
    changes(&controller);
    for command in ["start", "stop", "delete"] {
        stage.repo.xtask(&["builder", command]).failure().says(["choose one with --lab", &ids[0], &ids[1]]);
    }
    assert_eq!(changes(&controller), [""; 0]);
    stage.repo.xtask(&["builder", "delete", "--yes", "--lab", &ids[0]]).success();
    assert_eq!(controller.state().labs.all.keys().collect::<Vec<_>>(), [&ids[1]]);
    {
        let mut state = controller.state();
        let added = state.labs.add("draft", "iosv");
        let router = state.labs.all.remove(&added).unwrap().nodes.pop().unwrap();
        state.labs.only().1.nodes.push(router);
    }
    changes(&controller);
    stage.repo.xtask(&["builder", "delete", "--yes"]).failure().says(["nodes that somebody added: r1"]);
    create(&stage, &["--replace", "--yes"]).failure().says(["nodes that somebody added: r1"]);
    assert_eq!(changes(&controller), [""; 0]);
}

#[test]
fn a_replacement_is_created_before_the_old_lab_is_deleted() {
    let (controller, stage) = scene();
    create(&stage, &[]).success();
    stage.repo.xtask(&["builder", "start"]).success();
    let old = controller.state().labs.only().0.clone();
    create(&stage, &["--replace"]).failure().says(["--yes"]);
    // A server that has no room for two leaves the old one as it was.
    controller.state().labs.limit = 1;
    changes(&controller);
    let refused = create(&stage, &["--replace", "--yes"]).failure();
    refused.says(["The limit of 1 labs is reached", "free resources on the server"]);
    assert_eq!(changes(&controller), ["POST import"]);
    controller.state().labs.limit = 2;
    create(&stage, &["--replace", "--yes", "--cpus", "8"]).success();
    let mut state = controller.state();
    let (id, lab) = state.labs.only();
    assert!(*id != old && lab.nodes[1].says["cpus"] == 8);
}

#[test]
fn a_lab_limit_and_a_missing_licence_are_reported_in_the_servers_words_with_a_remedy() {
    let (controller, stage) = scene();
    controller.state().labs.limit = 0;
    create(&stage, &[]).failure().says(["The limit of 0 labs is reached", "free resources on the server"]);
    controller.state().labs.limit = 9;
    create(&stage, &[]).success();
    controller.state().labs.licensed = false;
    let outcome = stage.repo.xtask(&["builder", "start"]).failure();
    outcome.says(["No valid license is available", "registration NOT_REGISTERED", "Tools, Licensing"]);
    controller.state().labs.licensed = true;
    stage.repo.xtask(&["builder", "start"]).success();
}

#[test]
fn an_expired_token_is_renewed_in_the_middle_of_everything() {
    let (controller, stage) = scene();
    for (request, command) in [
        ("POST import", &CREATE[..]),
        ("GET labs/", &["builder", "start"]),
        ("DELETE labs/", &["builder", "delete", "--yes"]),
    ] {
        controller.trouble(request, 1, Trouble::Expired);
        stage.repo.xtask(command).success().says(["the session has expired; logging in again"]);
    }
    assert!(titles(&controller).is_empty());
}

#[test]
fn after_the_loss_of_any_request_a_repeat_completes_the_work() {
    let (controller, stage) = scene();
    // What was created without an answer is found again.
    controller.trouble("POST import", 1, Trouble::AnswerLost);
    create(&stage, &[]).failure().says(["the connection to", "was lost"]);
    create(&stage, &[]).success().says(["left unchanged"]);
    assert_eq!(titles(&controller).len(), 1);
    // A short failure is retried; a long one ends the command, not the lab.
    let id = controller.state().labs.only().0.clone();
    controller.trouble(&format!("PUT labs/{id}/start"), 1, Trouble::AnswerLost);
    controller.trouble(&format!("GET labs/{id}/lab_element_state"), 2, Trouble::CutAfter(0));
    stage.repo.xtask(&["builder", "start"]).success().says(["trying again"]);
    stage.repo.xtask(&["builder", "stop"]).success();
    controller.trouble(&format!("GET labs/{id}/nodes"), 100, Trouble::CutAfter(0));
    stage.repo.xtask(&["builder", "start"]).failure().says(["was lost"]);
    controller.end_all_trouble();
    stage.repo.xtask(&["builder", "start"]).success();
    for step in ["PUT labs", "DELETE labs"] {
        controller.trouble(step, 4, Trouble::AnswerLost);
        let outcome = stage.repo.xtask(&["builder", "delete", "--yes"]).failure();
        controller.end_all_trouble();
        assert!(outcome.stderr.contains("was lost"), "{outcome}");
    }
    stage.repo.xtask(&["builder", "delete", "--yes"]).success();
    assert!(titles(&controller).is_empty());
}

#[test]
fn the_next_command_completes_what_a_killed_one_began() {
    let (controller, stage) = scene();
    create(&stage, &[]).success();
    let id = controller.state().labs.only().0.clone();
    for (request, command) in [
        (format!("PUT labs/{id}/start"), &["builder", "start"][..]),
        (format!("PUT labs/{id}/stop"), &["builder", "delete", "--yes"]),
        (format!("PUT labs/{id}/wipe"), &["builder", "delete", "--yes"]),
        (format!("DELETE labs/{id}"), &["builder", "delete", "--yes"]),
    ] {
        controller.trouble(&request, 1, Trouble::Silence);
        controller.take_log();
        let running = stage.repo.start(command);
        crate::common::wait_until("the request has come", || controller.state().log.contains(&request));
        running.signal("KILL");
        assert_eq!(running.end().code, None);
        controller.end_all_trouble();
        if command[1] == "start" {
            stage.repo.xtask(command).success();
        }
    }
    stage.repo.xtask(&["builder", "delete", "--yes"]).success();
    assert!(titles(&controller).is_empty());
}
