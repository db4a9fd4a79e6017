//! What is said about servers that are named wrongly, lack what is asked for, or do not tell all about themselves.

use serde_json::json;

use crate::common::cml::Stage;
use crate::common::cml::controller::Controller;

#[test]
fn a_malformed_address_is_wrong_usage_with_one_true_message() {
    let stage = Stage::new();
    for (address, why) in [
        ("https//cml.example", "`https` needs `://` after it"),
        ("SSH:/cml.example", "`ssh` needs `://` after it"),
        ("b\u{fc}cher.example", "xn--bcher-kva.example"),
        ("http://cml.example", "by https only"),
        ("ftp://cml.example", "neither https:// nor ssh://"),
        ("https://::1", "in brackets"),
        ("cml:1122:33", "not an IPv6 address"),
        ("cml:99999", "not a port"),
        ("", "is not a server address"),
        ("https://cml.example/lab?x=1", "leave out what begins with `?`"),
        ("cml.example#labs", "leave out what begins with `?` or `#`"),
    ] {
        for command in [["cml", "status"], ["cml", "doctor"], ["builder", "status"]] {
            let outcome = stage.repo.xtask(&[&command[..], &["--cml", address]].concat());
            assert_eq!(outcome.code, Some(2), "{address}: {outcome}");
            let outcome = outcome.says([why]);
            assert_eq!(outcome.stderr.matches("error: ").count(), 1, "{address}: {outcome}");
        }
    }
    // A setting is no part of the command line; the message names it.
    let mut stage = stage;
    stage.repo.set("VIRL2_URL", "https//cml.example");
    stage.repo.xtask(&["cml", "status"]).failure().says(["VIRL2_URL: `https//cml.example` is not a server address"]);
}

#[test]
fn a_scheme_in_capitals_and_an_ipv6_address_without_brackets_work() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let address = controller.url().replace("https", "HTTPS");
    stage.repo.xtask(&["cml", "status", "--cml", &address]).success();
    stage.repo.xtask(&["cml", "status", "--via", "api", "--cml", "::1"]).failure().says(["cannot reach [::1]: "]);
}

#[test]
fn an_address_from_a_browser_works_or_says_what_is_too_much() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let status = |path: &str| stage.repo.xtask(&["cml", "status", "--cml", &format!("{}{path}", controller.url())]);
    for path in ["/", "/api/v0", "/api/v0/"] {
        status(path).success();
    }
    let outcome = status("/lab/x").failure().says(["is CML below `/lab/x` there?", "no part of the address"]);
    assert!(!outcome.stderr.contains("is this a CML controller"), "{outcome}");
}

#[test]
fn a_token_that_is_refused_is_not_called_a_session_that_has_expired() {
    let controller = Controller::start();
    let mut stage = Stage::of(&controller);
    stage.repo.set("VIRL2_JWT", "a.refused.token");
    let outcome = stage.repo.xtask(&["cml", "status"]).success().says(["the token is not accepted (VIRL2_JWT)"]);
    assert!(!outcome.stderr.contains("expired"), "{outcome}");
    stage.repo.set("VIRL2_USER", "");
    stage.repo.set("VIRL2_PASS", "");
    stage.repo.xtask(&["cml", "status"]).failure().says(["the token is not accepted (VIRL2_JWT)"]);
}

#[test]
fn removing_what_is_nowhere_is_an_error_with_what_may_have_been_meant() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    controller.add_image("frr-10-4", "frr-10-4");
    for words in [&["cml", "remove", "frr-10-5"][..], &["cml", "remove", "frr-10-5", "--dry-run"]] {
        let outcome = stage.repo.xtask(words).failure();
        outcome.says(["there is no node frr-10-5 on", "did you mean `frr-10-4`?"]);
    }
    stage.repo.xtask(&["cml", "remove", "nosuch"]).failure().says(["no node nosuch on"]).does_not_say(["did you mean"]);
    assert_eq!(controller.state().image_definitions.len(), 1);

    let stage = ssh("echo no; echo frr-10-4", "");
    for words in [&["cml", "remove", "frr-10-5"][..], &["cml", "remove", "frr-10-5", "--dry-run"]] {
        stage.repo.xtask(words).failure().says(["there is no node frr-10-5 on", "did you mean `frr-10-4`?"]);
    }
    let stage = ssh("echo yes; echo frr-10-4", "");
    let outcome = stage.repo.xtask(&["cml", "remove", "frr-10-4", "--dry-run"]).success();
    assert!(outcome.stdout.ends_with("frr-10-4  would be removed\n"), "{outcome}");
}

/// A server that prints this when it is asked about a node, and about itself. It has docker-shim if `$HOME/shim` is
/// there.
fn ssh(of_node: &str, of_itself: &str) -> Stage {
    Stage::of_ssh(&format!(
        "case \"$*\" in
           *'echo ready'*) echo ready; exec cat >/dev/null;;
           *' -G '*) exec /usr/bin/ssh \"$@\";;
           *'disk images'*) printf '%b' '{of_itself}';;
           *'docker-shim'*) echo ssh=enabled; [ ! -e \"$HOME/shim\" ] || echo shim=yes;;
           *) {of_node};;
         esac"
    ))
}

#[test]
fn free_space_that_a_server_does_not_tell_is_unknown_and_not_nothing() {
    let version = json!({"version": "2.9.0", "ready": true});
    for disks in ["disk images 8 \\n", "disk images  \\n", "disk images 8 -\\n", ""] {
        let stage = ssh("exit 1", &format!("{disks}{version}\\n"));
        std::fs::write(stage.home.path().join("shim"), "").unwrap();
        let outcome = stage.repo.xtask(&["cml", "status"]).success();
        assert!(outcome.stdout.contains("CML 2.9.0, ready, free space unknown"), "{outcome}");
        let outcome = stage.repo.xtask(&["cml", "doctor"]).success();
        let said = "note   the free space on the disk of /var/lib/libvirt/images is unknown";
        assert!(outcome.stdout.contains(said) && !outcome.stdout.contains(" 0 B free"), "{outcome}");
    }
}

#[test]
fn doctor_judges_the_disk_of_dockers_images_too() {
    let disks = "disk images 8 9000000\\ndisk transfer 8 9000000\\ndisk docker 9 0\\n{\"version\": \"2.9.0\"}\\n";
    let stage = ssh("exit 1", disks);
    let outcome = stage.repo.xtask(&["cml", "doctor"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(outcome.stdout.contains("ok     9.22 GB free on the disk of /var/lib/libvirt/images and"), "{outcome}");
    assert!(outcome.stdout.contains("WRONG  only 0 B free on the disk of Docker's images"), "{outcome}");
}

#[test]
fn doctor_fix_fails_while_a_problem_remains() {
    let disks = "disk images 8 9000000\\ndisk transfer 8 9000000\\ndisk docker 8 9000000\\n{\"version\": \"2.9.0\"}\\n";
    let stage = ssh("exit 1", disks);
    for words in [&["cml", "doctor", "--fix", "--yes"][..], &["cml", "doctor", "--fix", "--yes", "--reboot"]] {
        let outcome = stage.repo.xtask(words);
        assert_eq!(outcome.code, Some(1), "{outcome}");
        assert!(outcome.stdout.contains("WRONG  docker-shim is not installed"), "{outcome}");
        outcome.says(["is not ready for the nodes here: 1 problem cannot be fixed by --fix"]);
    }
    std::fs::write(stage.home.path().join("shim"), "").unwrap();
    stage.repo.xtask(&["cml", "doctor", "--fix", "--yes"]).success();
}
