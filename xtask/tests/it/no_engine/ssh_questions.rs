//! Who gets the password while ssh logs in. A script stands in for ssh here: it asks as ssh asks, by `SSH_ASKPASS`,
//! and as the programs ask that ssh starts.

use std::os::unix::fs::PermissionsExt;

use crate::common::Outcome;
use crate::common::cml::{PASSWORD, Stage};

const STATUS: [&str; 4] = ["cml", "status", "--cml", "ssh://cml.test"];

/// ssh's own question about a key.
const HOST_KEY: &str = "The authenticity of host '[cml.test]:1122 ([10.0.0.5]:1122)' can't be established.\n\
                        ED25519 key fingerprint is SHA256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0.\n\
                        This key is not known by any other names.\n\
                        Are you sure you want to continue connecting (yes/no/[fingerprint])? ";

/// Whose ssh is this script. `ask FILE PROMPT` asks as ssh does, and writes the answer to a file. What `-G` prints is
/// the first argument.
fn with_ssh(configuration: &str, script: &str) -> Stage {
    let mut stage = Stage::new();
    let home = stage.home.path().display().to_string();
    std::fs::write(stage.home.path().join("configuration"), configuration).unwrap();
    stage.ssh_is(&format!(
        "case \" $* \" in *' -G '*) exec cat {home}/configuration;; esac\n\
         cd {home}; echo \"$*\" >arguments\n\
         ask() {{ \"$SSH_ASKPASS\" \"$2\" >\"$1\" || echo none >\"$1\"; }}\n\
         {script}\n\
         echo 'admin@cml.test: Permission denied (password).' >&2; exit 255"
    ));
    stage.repo.set("PATH", format!("{home}/bin:{}", std::env::var("PATH").unwrap()));
    stage.repo.set("CML_SSH_PASS", PASSWORD);
    stage
}

/// What the script wrote to a file.
fn written(stage: &Stage, file: &str) -> String {
    std::fs::read_to_string(stage.home.path().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn answer(stage: &Stage, file: &str) -> Option<String> {
    let text = written(stage, file).trim_end().to_owned();
    (text != "none").then_some(text)
}

#[test]
fn under_umask_0_another_user_gets_neither_the_socket_nor_the_password() {
    let prompt = "\"admin@cml.test's password: \"";
    let script = format!(
        "folder=$(dirname \"$CML_NODES_ASKPASS\"); stat -c %a \"$folder\" >mode\n\
         other() {{ [ \"$(id -u)\" != 0 ] || ! setpriv --reuid=65534 --regid=65534 --clear-groups \
             ./askpass {prompt} >\"$1\"; }}\n\
         other stranger; chmod 777 \"$folder\" \"$CML_NODES_ASKPASS\"; other inside; ask own {prompt}"
    );
    let stage = with_ssh("hostname cml.test", &script);
    // Where others can execute it.
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), stage.home.path().join("askpass")).unwrap();
    std::fs::set_permissions(stage.home.path(), PermissionsExt::from_mode(0o755)).unwrap();
    stage.repo.start_within(&["sh", "-c", "umask 0; exec \"$@\"", "sh"], &STATUS).end().failure();
    assert_eq!(written(&stage, "mode"), "700\n");
    for file in ["stranger", "inside"] {
        let given = std::fs::read_to_string(stage.home.path().join(file)).unwrap_or_default();
        assert_eq!(given, "", "{file}");
    }
    assert_eq!(answer(&stage, "own").as_deref(), Some(PASSWORD));
}

#[test]
fn under_umask_0_the_cache_is_open_to_nobody_else() {
    let stage = with_ssh("hostname cml.test", "");
    stage.repo.start_within(&["sh", "-c", "umask 0; exec \"$@\"", "sh"], &STATUS).end().failure();
    let mode = std::fs::metadata(stage.repo.cache.path().join("cml-nodes")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn the_password_answers_ssh_itself_once_and_its_own_prompt_alone() {
    let stage = with_ssh(
        "hostname 10.0.0.5\nhostkeyalias Lab",
        "ask jump \"admin@jump's password: \"; ask plain 'Password: '; ask old \"Enter admin@Lab's old password: \"\n\
         ask name \"admin@10.0.0.5's password: \"; ask key \"Enter passphrase for key 'password': \"\n\
         # As a ProxyCommand: its standard input is a pipe of its own.\n\
         : | ask proxy \"admin@Lab's password: \"; ask proxy-of-nothing \"admin@Lab's password: \" </dev/null\n\
         ask right '(admin@Lab) Password: '; ask again \"admin@Lab's password: \"",
    );
    let outcome = stage.repo.xtask(&STATUS).failure();
    for file in ["jump", "plain", "old", "name", "key", "proxy", "proxy-of-nothing", "again"] {
        assert_eq!(answer(&stage, file), None, "{file}");
    }
    assert_eq!(answer(&stage, "right").as_deref(), Some(PASSWORD));
    outcome.says(["a program that ssh has started", "only for the prompt of ssh itself for admin@Lab", "login by key"]);
}

#[test]
fn a_server_that_asks_for_nothing_else_is_only_told_that_the_password_is_wrong() {
    let stage = with_ssh("hostname cml.test", "ask right \"admin@cml.test's password: \"");
    stage.repo.xtask(&STATUS).failure().says(["refuses the login of `admin`"]).does_not_say(["terminal"]);
}

/// ssh, which asks about the host's key.
fn with_new_host() -> Stage {
    with_ssh("hostname cml.test", &format!("ask key \"{HOST_KEY}\""))
}

/// The same command on a terminal, where the person answers.
fn on_a_terminal(stage: &Stage, dialogue: &[(&str, &str)]) -> Outcome {
    let root = stage.repo.folder.path().display();
    let line = format!("{} --root {root} {}", env!("CARGO_BIN_EXE_xtask"), STATUS.join(" "));
    stage.repo.in_dialogue(&line, dialogue)
}

#[test]
fn without_a_terminal_an_unknown_host_key_is_refused_before_the_password_is_sent() {
    let stage = with_new_host();
    stage.repo.xtask(&STATUS).failure().says([
        "its host key is not known yet, and there is no terminal to ask on, so nothing was sent",
        "ED25519 key fingerprint is SHA256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0.",
        "ssh-keygen -lf",
        "ssh -p 1122 admin@cml.test",
        "ssh-keyscan -p 1122 cml.test >>",
    ]);
    assert_eq!(answer(&stage, "key"), None);
    assert!(written(&stage, "arguments").contains("StrictHostKeyChecking=ask"));
}

#[test]
fn on_a_terminal_the_person_decides_about_an_unknown_host_key() {
    for (typed, answered) in [("n\n", "no"), ("y\n", "yes")] {
        let stage = with_new_host();
        let outcome = on_a_terminal(&stage, &[("[y/N]", typed)]);
        assert!(outcome.stdout.contains("ED25519 key fingerprint is SHA256:9f86d08"), "{outcome}");
        assert_eq!(answer(&stage, "key").as_deref(), Some(answered), "{outcome}");
    }
}

#[test]
fn on_a_terminal_the_person_is_asked_what_the_password_does_not_answer() {
    let stage = with_ssh("hostname cml.test", "ask jump \"me@jump's password: \"");
    let outcome = on_a_terminal(&stage, &[("me@jump's password: ", "typed\n")]);
    assert_eq!(answer(&stage, "jump").as_deref(), Some("typed"), "{outcome}");
    assert!(!outcome.stdout.contains("typed"), "{outcome}");
}

#[test]
fn the_users_own_configuration_may_be_stricter() {
    let stage = with_ssh("hostname cml.test\nstricthostkeychecking true", "");
    stage.repo.xtask(&STATUS).failure();
    assert!(written(&stage, "arguments").contains("StrictHostKeyChecking=yes"));
}

#[test]
fn the_sockets_are_where_ssh_can_have_them_whatever_the_temporary_folder_is() {
    let mut stage = with_ssh(
        "hostname cml.test",
        "for word; do case $word in ControlPath=*) echo \"${word#*=}\" >control;; esac; done\n\
         ask right \"admin@cml.test's password: \"",
    );
    let parent = tempfile::tempdir_in("/tmp").unwrap();
    let odd = ["with blank", "it's", "\"quoted\"", "100%h", "back\\slash", "$HOME", "ü", &"long".repeat(50)];
    let odd = odd.map(|name| parent.path().join(name));
    for folder in odd.iter().chain([&parent.path().join("a:b")]) {
        std::fs::create_dir(folder).unwrap();
    }
    let relative = std::path::PathBuf::from("tmp");
    let absent = parent.path().join("absent");
    for folder in odd.iter().chain([&parent.path().join("a:b"), &relative, &absent]) {
        stage.repo.set("TMPDIR", folder);
        stage.repo.xtask(&STATUS).failure().says(["refuses the login"]);
        let control = written(&stage, "control");
        assert!(control.starts_with('/') && control.trim_end().len() + 17 <= 107, "{control}");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:".contains(c);
        assert!(control.trim_end().chars().all(is_plain), "{}: {control}", folder.display());
        assert_eq!(answer(&stage, "right").as_deref(), Some(PASSWORD), "{}", folder.display());
    }
}
