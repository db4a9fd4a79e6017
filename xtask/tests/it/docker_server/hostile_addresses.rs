//! Addresses, users and ids that a shell on the server, or ssh here, would take for something else.

use std::process::Command;

use crate::common::cml::Stage;
use crate::common::cml::host::Host;

/// Folders on the server. A shell that ran a part of one would create `victim`, in the home folder or in `/`.
const FOLDERS: [&str; 9] = [
    "/x;touch victim;",
    "/srv/a b",
    "/srv/it's \"quoted\" !x",
    "/srv/$(touch victim)`touch victim`",
    "/srv/$HOME/~",
    "/srv/&touch victim&",
    "/srv/-rf",
    "/srv/*?[a]{b,c}\\",
    "/srv/\u{fc} \u{1f600}",
];

fn quoted(word: &str) -> String {
    shell_escape::unix::escape(word.into()).into_owned()
}

/// Lets in by a key, as root and as `admin`, whose sudo needs no password.
fn let_in(host: &Host, stage: &mut Stage) {
    let key = stage.home.path().join("none");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    host.sh(&format!(
        "echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin
         for user in root admin; do
             home=$(getent passwd $user | cut -d : -f 6); mkdir -p $home/.ssh
             echo '{}' >$home/.ssh/authorized_keys; chown -R $user: $home/.ssh
         done",
        public.trim()
    ));
    stage.repo.set("CML_SSH_PASS", "");
}

fn address(host: &Host, user: &str, folder: &str) -> String {
    format!("{}{folder}", host.url().replace("ssh://", &format!("ssh://{user}@")))
}

#[track_caller]
fn no_part_was_run(host: &Host, folder: &str) {
    let found = host.sh("find / -xdev -name victim -not -path '/proc/*'");
    assert_eq!(found, "", "a part of `{folder}` was run");
}

#[test]
fn a_folder_of_any_name_is_only_a_folder() {
    let host = Host::start();
    let mut stage = Stage::of_host(&host);
    let_in(&host, &mut stage);
    let (id, node) = (stage.repo.id(), stage.repo.node().to_owned());
    for (index, folder) in FOLDERS.into_iter().enumerate() {
        let user = ["root", "admin"][index % 2];
        host.sh(&format!("mkdir -p {0}; chown {user}: {0}", quoted(folder)));
        let at = address(&host, user, folder);
        stage.repo.xtask(&["upload", "--install", "--no-restart", "--cml", &at]).success();
        assert!(host.held(&id).is_some(), "{folder}");
        for words in [["remove"], ["rollback"], ["remove"]] {
            stage.repo.xtask(&["cml", words[0], &node, "--no-restart", "--cml", &at]).success();
        }
        assert!(host.held(&id).is_none(), "{folder}");
        assert_eq!(host.sh(&format!("ls -A {}", quoted(folder))), "", "{folder}");
        no_part_was_run(&host, folder);
    }
}

#[test]
fn the_command_that_is_shown_installs_from_a_folder_of_any_name() {
    let host = Host::start();
    let mut stage = Stage::of_host(&host);
    let_in(&host, &mut stage);
    let path = format!("{}/bin:{}", stage.home.path().display(), std::env::var("PATH").unwrap_or_default());
    for (index, folder) in FOLDERS.into_iter().enumerate() {
        let user = ["admin", "root"][index % 2];
        host.sh(&format!("mkdir -p {0}; chown {user}: {0}", quoted(folder)));
        let at = address(&host, user, folder);
        let shown = stage.repo.xtask(&["upload", "--no-restart", "--cml", &at]).success();
        let command = shown.stderr.lines().map(str::trim).find(|line| line.starts_with("ssh -t ")).unwrap();
        let ran = Command::new("sh").args(["-c", command]).env("PATH", &path).current_dir(stage.home.path()).output();
        let ran = ran.unwrap();
        assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
        assert!(host.held(&stage.repo.id()).is_some(), "{folder}");
        assert!(!stage.home.path().join("victim").exists(), "a part of `{folder}` was run here");
        no_part_was_run(&host, folder);
        let node = stage.repo.node();
        stage.repo.xtask(&["cml", "remove", node, "--no-restart", "--cml", &at]).success();
    }
}

#[test]
fn what_cannot_be_an_address_a_user_or_an_id_is_refused_before_anything_is_sent() {
    let host = Host::start();
    let mut stage = Stage::of_host(&host);
    let_in(&host, &mut stage);
    let victim = stage.home.path().join("victim").display().to_string();
    let port = host.url().rsplit(':').next().unwrap().to_owned();
    for (at, said) in [
        (address(&host, "root", "/x\ntouch victim\n"), "is not a server address"),
        (address(&host, "root", "/x\u{1b}[31m"), "is not a server address"),
        (address(&host, &format!("-oProxyCommand=touch {victim}"), ""), "is not a server address"),
        (address(&host, "-oProxyCommand=x", ""), "a user's name has no blanks"),
        (address(&host, "a;touch victim", ""), "a user's name has no blanks"),
        (address(&host, "$(id)", ""), "a user's name has no blanks"),
        (format!("ssh://-oProxyCommand=x:{port}"), "is not a server address"),
        (format!("ssh://127.0.0.1;id:{port}"), "is not a server address"),
        (format!("ssh://`id`:{port}"), "is not a server address"),
    ] {
        let refused = stage.repo.xtask(&["cml", "status", "--cml", &at]).wrong_usage().says([said]);
        assert!(!refused.stderr.contains('\u{1b}'), "{refused}");
        // The settings are read in the same way, but are no part of the command line.
        stage.repo.set("VIRL2_URL", &at);
        stage.repo.xtask(&["cml", "status"]).failure().says([said]);
    }
    stage.repo.set("VIRL2_URL", host.url());
    for user in ["-oProxyCommand=x", "a;touch victim", "$(touch victim)", "a\nb"] {
        stage.repo.set("CML_SSH_USER", user);
        stage
            .repo
            .xtask(&["cml", "status"])
            .failure()
            .says(["CML_SSH_USER is not usable", "a user's name has no blanks"]);
    }
    stage.repo.set("CML_SSH_USER", "root");
    for id in ["lock", "script.part", "$(touch victim)", "../x", "-rf", "a b", "a\nb", ""] {
        for word in ["remove", "rollback"] {
            let refused = stage.repo.xtask(&["cml", word, "--no-restart", "--", id]).failure();
            assert!(refused.stderr.contains("is not an id") || refused.stderr.contains("cannot be an id"), "{refused}");
        }
    }
    stage.repo.xtask(&["cml", "status"]).success();
    no_part_was_run(&host, "");
    assert!(!std::path::Path::new(&victim).exists());
}
