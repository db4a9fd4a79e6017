//! No program that this one starts gets the user's passwords.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::git::Upstream;
use crate::common::node::node;

/// A folder with a program for each one on this machine's path. It notes its name in `seen`, and in `told` if its
/// environment has this text, and becomes the true one.
fn spies(folder: &Path, text: &str) {
    let at = folder.display();
    let bin = folder.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for program in std::env::split_paths(&path).flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten()) {
        let (name, path) = (program.file_name().into_string().unwrap(), program.path());
        let spy = bin.join(&name);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
        // The first of a name is the one that is meant. The embedded engine takes this one as it is into a container.
        if spy.exists() || name == "true" || !name.chars().all(is_plain) || !path.is_file() {
            continue;
        }
        let script = format!(
            "#!/bin/sh\necho {name} >>{at}/seen\n\
             ! /usr/bin/tr '\\0' '\\n' </proc/$$/environ | /usr/bin/grep -q '{text}' || echo {name} >>{at}/told\n\
             exec {} \"$@\"\n",
            path.display()
        );
        std::fs::write(&spy, script).unwrap();
        std::fs::set_permissions(&spy, PermissionsExt::from_mode(0o755)).unwrap();
    }
}

/// The processes of this machine that have this text in their environment.
fn told(text: &str) -> Vec<String> {
    let has = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).contains(text);
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let line = |path: &Path| std::fs::read_to_string(path.join("cmdline")).unwrap_or_default().replace('\0', " ");
    processes.filter(|path| has(&path.join("environ"))).map(|path| line(&path)).collect()
}

#[test]
fn no_program_gets_the_passwords_that_the_environment_has() {
    let (mut repo, upstream, folder) = (node(), Upstream::of_version("1.0"), tempfile::tempdir().unwrap());
    let source = format!("      image: scratch\n    source: {{git: '{}', ref: main}}\n", upstream.url());
    repo.edit_manifest("      image: scratch\n", &source);
    repo.edit(&repo.dockerfile(), "COPY ", "ADD sources/ /sources\nCOPY ");
    let secret = format!("s3cret-{}", std::process::id());
    spies(folder.path(), &secret);
    let bin = folder.path().join("bin").display().to_string();
    repo.set("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap()));
    for name in cml::SECRETS {
        repo.set(name, secret.clone());
    }
    repo.xtask(&["run"]).success();
    assert_eq!(told(&secret), [""; 0], "while the node runs");
    repo.xtask(&["stop"]).success();
    let noted = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap_or_default();
    assert_eq!(noted("told"), "");
    let seen = noted("seen");
    let is_seen = |name: &str| seen.lines().any(|seen| seen == name);
    assert!(is_seen("git") && (is_seen("docker") || is_seen("podman")), "{seen}");
}
