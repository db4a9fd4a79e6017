//! To whom passwords and tokens go, and where they are never seen.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::common::cml::controller::{Controller, Trouble};
use crate::common::cml::{PASSWORD, Stage, USER};
use crate::common::{Outcome, command_lines};

/// What a talkative server says about a login.
const ECHO: &str = "no: you sent Wr4p-the.pipe";

/// A `.virlrc` that only its owner can read.
fn virlrc(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join(".virlrc");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// A working folder whose `.virlrc` names this server. The user's own credentials are in the environment.
fn in_a_strangers_folder(controller: &Controller, more: &str) -> (Stage, TempDir) {
    let (mut stage, folder) = (Stage::of(controller), tempfile::tempdir().unwrap());
    stage.repo.set("VIRL2_URL", "");
    virlrc(folder.path(), &format!("VIRL2_URL={}\n{more}", controller.url()));
    (stage, folder)
}

fn has_no_secret(outcome: &Outcome) {
    for secret in [PASSWORD, ".payload."] {
        assert!(!outcome.stdout.contains(secret) && !outcome.stderr.contains(secret), "{outcome}");
    }
}

#[test]
fn without_a_terminal_nothing_goes_to_a_server_that_only_the_working_folder_names() {
    let controller = Controller::start();
    let (stage, folder) = in_a_strangers_folder(&controller, "");
    let file = folder.path().join(".virlrc");
    let outcome = stage.repo.xtask_from(folder.path(), &["cml", "status"]).failure();
    let outcome =
        outcome.says([&file.display().to_string(), "VIRL2_PASS of the environment", "--cml 'https://127.0.0.1"]);
    has_no_secret(&outcome);
    assert!(controller.take_log().is_empty());
    // The same server, named by the user: on the command line, in the environment, at home.
    stage.repo.xtask_from(folder.path(), &["cml", "status", "--cml", &controller.url()]).success();
    virlrc(stage.home.path(), &format!("VIRL2_URL={}\n", controller.url()));
    stage.repo.xtask_from(folder.path(), &["cml", "status"]).success();
}

#[test]
fn on_a_terminal_the_user_decides_who_gets_the_password() {
    let controller = Controller::start();
    let (stage, folder) = in_a_strangers_folder(&controller, "");
    let (program, root) = (env!("CARGO_BIN_EXE_xtask"), stage.repo.folder.path().display());
    let line = format!("cd {} && {program} --root {root} cml status", folder.path().display());
    let question =
        format!("names the server {}. May VIRL2_PASS of the environment be sent there?", controller.address());
    let refused = stage.repo.in_dialogue(&line, &[("[y/N]", "n\n")]);
    assert!(refused.code == Some(1) && refused.stdout.contains(&question), "{refused}");
    assert!(controller.take_log().is_empty());
    let agreed = stage.repo.in_dialogue(&line, &[("[y/N]", "y\n")]);
    assert!(agreed.code == Some(0) && controller.take_log().contains(&"POST authenticate".to_owned()), "{agreed}");
}

#[test]
fn a_password_that_was_typed_for_one_user_is_not_tried_for_another() {
    let (one, two) = (Controller::start(), Controller::start());
    let stage = Stage::new();
    let (program, root) = (env!("CARGO_BIN_EXE_xtask"), stage.repo.folder.path().display());
    let line = format!(
        "{program} --root {root} cml status --via api --insecure --cml first@{} --cml second@{}",
        one.address(),
        two.address()
    );
    let outcome = stage.repo.in_dialogue(&line, &[("Password of", "x\n"), ("Password of", "y\n")]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    for user in ["first", "second"] {
        assert!(outcome.stdout.contains(&format!("Password of {user} on")), "{outcome}");
    }
}

#[test]
fn a_server_gets_the_credentials_beside_its_name_and_no_others() {
    let controller = Controller::start();
    let (mut stage, folder) =
        in_a_strangers_folder(&controller, &format!("VIRL2_USER={USER}\nVIRL2_PASS={PASSWORD}\n"));
    stage.repo.set("VIRL2_USER", "me");
    stage.repo.set("VIRL2_PASS", "my-own");
    stage.repo.set("VIRL2_JWT", "my.own.token");
    stage.repo.xtask_from(folder.path(), &["cml", "status"]).success().says(["only the credentials in that file"]);
}

#[test]
fn the_working_folder_does_not_decide_which_certificates_are_accepted() {
    let controller = Controller::start();
    let (mut stage, folder) = in_a_strangers_folder(&controller, "");
    let theirs = folder.path().join("theirs.pem");
    std::fs::write(&theirs, &controller.certificate).unwrap();
    virlrc(folder.path(), &format!("CA_BUNDLE={}\nCML_VERIFY_CERT=False\n", theirs.display()));
    stage.repo.set("CA_BUNDLE", "");
    stage.repo.set("VIRL2_URL", controller.url());
    let outcome = stage.repo.xtask_from(folder.path(), &["cml", "status"]);
    assert_eq!((outcome.code, outcome.stderr.matches("warning:").count()), (Some(1), 1), "{outcome}");
    outcome.says(["CA_BUNDLE and CML_VERIFY_CERT do not count in a file of the working folder", "is not trusted"]);
    // At home they are the user's.
    virlrc(stage.home.path(), &format!("CA_BUNDLE={}\n", theirs.display()));
    stage.repo.xtask(&["cml", "status"]).success();
}

#[test]
fn a_password_that_others_can_read_is_warned_of_once() {
    let controller = Controller::start();
    let mut stage = Stage::of(&controller);
    let text = format!("VIRL2_URL={}\nVIRL2_USER={USER}\nVIRL2_PASS={PASSWORD}\n", controller.url());
    let file = virlrc(stage.home.path(), &text);
    for name in ["VIRL2_URL", "VIRL2_USER", "VIRL2_PASS"] {
        stage.repo.set(name, "");
    }
    stage.repo.xtask(&["cml", "status"]).success().does_not_say(["warning"]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    // In the home folder the file is not read twice.
    let outcome = stage.repo.xtask_from(stage.home.path(), &["cml", "status"]).success();
    let outcome = outcome.says([&format!("chmod 600 {}", file.display())]);
    assert_eq!(outcome.stderr.matches("warning:").count(), 1, "{outcome}");
}

#[test]
fn a_fingerprint_pins_the_certificate_even_if_an_authority_has_signed_another() {
    let (controller, other) = (Controller::start(), Controller::start());
    let mut stage = Stage::of(&controller);
    let authorities = stage.home.path().join("authorities.pem");
    std::fs::write(&authorities, format!("{}{}", controller.certificate, other.certificate)).unwrap();
    stage.repo.set("CA_BUNDLE", authorities);
    let pins = stage.home.path().join("state/cml-nodes/known_controllers");
    let outcome = stage.repo.xtask(&["cml", "status", "--fingerprint", &other.fingerprint]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    outcome.says([
        "is not the one that --fingerprint names",
        &format!("pinned {}", other.fingerprint),
        &format!("shown  {}", controller.fingerprint),
    ]);
    assert!(controller.take_log().is_empty() && !pins.exists(), "nothing is said, nothing is kept");
    stage.repo.xtask(&["cml", "status", "--fingerprint", &controller.fingerprint]).success();
    let kept = std::fs::read_to_string(&pins).unwrap();
    assert_eq!(kept, format!("{} {}\n", controller.address(), controller.fingerprint));
    stage.repo.xtask(&["cml", "status"]).success();

    // As if the server had a new certificate, which an authority has signed.
    std::fs::write(&pins, format!("{} {}\n", other.address(), controller.fingerprint)).unwrap();
    let outcome = stage.repo.xtask(&["cml", "status", "--cml", &other.url()]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    outcome.says([
        "is not the one that is pinned for it",
        &format!("pinned {}", controller.fingerprint),
        &format!("shown  {}", other.fingerprint),
        &format!("--fingerprint {}", other.fingerprint),
        "remove the line of",
    ]);
    assert!(other.take_log().is_empty());
    stage.repo.xtask(&["cml", "status", "--cml", &other.url(), "--fingerprint", &other.fingerprint]).success();
    stage.repo.xtask(&["cml", "status", "--cml", &other.url()]).success();
}

#[test]
fn a_fingerprint_is_refused_where_it_would_pin_nothing() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let args = ["--cml", "ssh://127.0.0.1", "--fingerprint", &controller.fingerprint];
    for command in ["status", "doctor"] {
        stage
            .repo
            .xtask(&[&["cml", command], &args[..]].concat())
            .failure()
            .says(["--fingerprint", "~/.ssh/known_hosts"]);
    }
}

#[test]
fn a_file_of_pins_that_somebody_else_may_have_made_stops_everything() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    let folder = stage.home.path().join("state/cml-nodes");
    std::fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink("/dev/null", folder.join("known_controllers")).unwrap();
    let outcome = stage.repo.xtask(&["cml", "status"]);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    outcome.says(["known_controllers", "symbolic link"]);
    assert!(controller.take_log().is_empty());
}

#[test]
fn a_password_in_an_address_is_refused_wherever_it_is_given() {
    let mut stage = Stage::new();
    for address in [format!("https://{USER}:{PASSWORD}@127.0.0.1"), format!("{USER}:{PASSWORD}/x@127.0.0.1")] {
        stage.repo.set("VIRL2_URL", "");
        for args in [["-v", "cml", "status", "--cml", &address], ["cml", "status", "--json", "--cml", &address]] {
            let outcome = stage.repo.xtask(&args).says(["contains a password", "VIRL2_PASS or .virlrc"]);
            assert_eq!(outcome.code, Some(2), "{outcome}");
            has_no_secret(&outcome);
        }
        stage.repo.set("VIRL2_URL", &address);
        has_no_secret(&stage.repo.xtask(&["-v", "cml", "status"]).failure());
    }
}

#[test]
fn whatever_a_controller_answers_no_password_or_token_is_shown() {
    assert!(ECHO.contains(PASSWORD));
    let controller = Controller::start();
    let mut stage = Stage::of(&controller);
    let args = ["-v", "cml", "status", "--json"];
    has_no_secret(&stage.repo.xtask(&args[..3]).success());
    has_no_secret(&stage.repo.xtask(&args).success());
    for request in ["POST authenticate", "GET system_stats"] {
        for (times, trouble) in [
            (1, Trouble::Status(401, ECHO)),
            (2, Trouble::Status(401, ECHO)),
            (1, Trouble::Status(400, ECHO)),
            (1, Trouble::Status(404, ECHO)),
            (9, Trouble::Status(429, ECHO)),
            (9, Trouble::Status(503, ECHO)),
            (9, Trouble::Html(502)),
            (9, Trouble::CutAfter(0)),
            (9, Trouble::AnswerLost),
            (1, Trouble::Expired),
        ] {
            controller.trouble(request, times, trouble);
            has_no_secret(&stage.repo.xtask(&args));
            controller.end_all_trouble();
        }
    }
    stage.repo.set("CA_BUNDLE", "");
    has_no_secret(&stage.repo.xtask(&["-v", "cml", "status"]));
    stage.repo.set("VIRL2_JWT", format!("{PASSWORD}.payload.\u{1}"));
    has_no_secret(&stage.repo.xtask(&["-v", "cml", "status", "--insecure"]).failure().says(["VIRL2_JWT"]));
}

#[test]
fn no_command_line_has_a_password_while_a_request_runs() {
    let controller = Controller::start();
    let stage = Stage::of(&controller);
    for request in ["POST authenticate", "GET system_stats"] {
        controller.trouble(request, 1, Trouble::Held);
        let running = stage.repo.start(&["-v", "cml", "status"]);
        controller.wait_for_held();
        let lines = command_lines(running.pid());
        assert!(lines.contains("cml status") && !lines.contains(PASSWORD) && !lines.contains(".payload."), "{lines}");
        controller.release();
        has_no_secret(&running.end().success());
    }
}

#[test]
fn ssh_gets_no_password_as_an_argument() {
    let mut stage = Stage::new();
    let home = stage.home.path().display().to_string();
    stage.ssh_is(&format!(
        "tr '\\0' ' ' <\"/proc/$$/cmdline\" >>{home}/lines; tr '\\0' ' ' <\"/proc/$PPID/cmdline\" >>{home}/lines\n\
         echo 'admin@127.0.0.1: Permission denied (publickey,password).' >&2; exit 255"
    ));
    stage.repo.set("PATH", format!("{home}/bin:{}", std::env::var("PATH").unwrap()));
    stage.repo.set("VIRL2_USER", "admin");
    for (name, other) in [("CML_SSH_PASS", "VIRL2_PASS"), ("VIRL2_PASS", "CML_SSH_PASS")] {
        stage.repo.set(name, PASSWORD);
        stage.repo.set(other, "");
        for command in [&["-v", "cml", "status"][..], &["-v", "cml", "doctor"], &["-v", "cml", "status", "--json"]] {
            let outcome = stage.repo.xtask(&[command, &["--cml", "ssh://127.0.0.1"]].concat());
            assert_eq!(outcome.code, Some(1), "{outcome}");
            has_no_secret(&outcome);
        }
    }
    let lines = std::fs::read_to_string(stage.home.path().join("lines")).unwrap();
    assert!(lines.contains("cml status") && lines.contains("127.0.0.1") && !lines.contains(PASSWORD), "{lines}");
}
