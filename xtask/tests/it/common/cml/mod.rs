//! What stands in for CML: a controller that follows the rules of its API, and a host that can be reached over SSH.

pub mod controller;
pub mod host;
pub mod labs;
pub mod systemd;
pub mod uploader;

use std::io::Write;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::common::{CONFIGURATION, Repo};
use controller::Controller;
use host::Host;

pub const USER: &str = "lab-admin";
pub const PASSWORD: &str = "Wr4p-the.pipe";

/// Public keys that belong to nobody, one with a comment that is hard to quote in YAML.
pub const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG5vYm9keSdzIGtleSwgZm9yIHRlc3RzIG9ubHkgISE= me: \"@home\" # {{ x }} - ü";
pub const OTHER_KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC5vYm9keSdzIGtleSwgZm9yIHRlc3RzIG9ubHk= you@home";

/// A node definition that a controller accepts, as a template.
const NODE_DEFINITION: &str = r#"id: {{ id }}
general: {nature: server, read_only: false}
ui:
  description: "{{ description }}"
  group: Others
  icon: server
  label: {{ label | json }}
  label_prefix: t-
  visible: true
boot: {timeout: 30, completed: [READY], uses_regex: false}
sim:
  linux_native: {libvirt_domain_driver: docker, driver: server, ram: 64, cpus: 1}
device:
  interfaces: {serial_ports: 2, has_loopback_zero: false, physical: [eth0], default_count: 1}
"#;

/// A repository with one node, a home folder, and settings with which the program finds what stands in for CML.
pub struct Stage {
    pub repo: Repo,
    pub home: TempDir,
}

impl Stage {
    /// With a node whose archive is small.
    pub fn new() -> Self {
        let mut repo = Repo::tiny();
        let home = tempfile::tempdir().expect("a temporary folder");
        repo.write("node-definitions/tiny.yaml", &format!("{NODE_DEFINITION}{CONFIGURATION}"));
        for name in
            ["VIRL2_URL", "VIRL_HOST", "VIRL2_JWT", "CML_VERIFY_CERT", "CA_BUNDLE", "CML_SSH_USER", "CML_SSH_PASS"]
        {
            repo.set(name, "");
        }
        // What stands in for CML is on this machine.
        for name in ["NO_PROXY", "no_proxy"] {
            repo.set(name, "127.0.0.1,localhost");
        }
        repo.set("HOME", home.path());
        repo.set("XDG_STATE_HOME", home.path().join("state"));
        Self { repo, home }
    }

    /// With the login of this controller and its certificate as trusted.
    pub fn of(controller: &Controller) -> Self {
        let mut stage = Self::new();
        let bundle = stage.home.path().join("authority.pem");
        std::fs::write(&bundle, &controller.certificate).expect("a file of ours");
        stage.repo.set("CA_BUNDLE", bundle);
        stage.repo.set("VIRL2_URL", controller.url());
        stage.repo.set("VIRL2_USER", USER);
        stage.repo.set("VIRL2_PASS", PASSWORD);
        stage
    }

    /// The same with the files for a build machine, for a user who has two SSH keys, a time zone, a locale, and a clone
    /// of another repository.
    pub fn of_builder(controller: &Controller) -> Self {
        let mut stage = Self::of(controller);
        let root = stage.repo.folder.path().to_owned();
        crate::common::copy(&crate::common::real_root().join("builder"), &root.join("builder"));
        let git = |args: &[&str]| {
            let done = std::process::Command::new("git").arg("-C").arg(&root).args(args).output().expect("git");
            assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        };
        git(&["init", "--quiet"]);
        git(&["remote", "add", "origin", "https://me:t0ken@example.org/team/cml-nodes.git"]);
        let keys = stage.home.path().join(".ssh");
        std::fs::create_dir(&keys).expect("a folder of ours");
        for (name, text) in [("id_ed25519.pub", KEY), ("id_rsa.pub", OTHER_KEY), ("not-a-key.pub", "hello")] {
            std::fs::write(keys.join(name), format!("{text}\n")).expect("a file of ours");
        }
        for (name, value) in [("TZ", "Asia/Tokyo"), ("LANG", "ja_JP.UTF-8"), ("LC_ALL", ""), ("CML_BUILDER_PASS", "")] {
            stage.repo.set(name, value);
        }
        stage
    }

    /// With the login of this host over SSH, and its own file of known hosts, in which the host is.
    pub fn of_host(host: &Host) -> Self {
        let mut stage = Self::new();
        let home = stage.home.path().display().to_string();
        let config = format!(
            "Host *\n  UserKnownHostsFile {home}/known_hosts\n  GlobalKnownHostsFile /dev/null\n  \
                IdentityFile {home}/none\n  IdentitiesOnly yes\n"
        );
        std::fs::write(stage.home.path().join("ssh_config"), config).expect("a file of ours");
        stage.ssh_is("exec /usr/bin/ssh -F \"$CONFIG\" \"$@\"");
        let path = format!("{home}/bin:{}", std::env::var("PATH").unwrap_or_default());
        stage.repo.set("PATH", path);
        stage.repo.set("CML_SSH_PASS", PASSWORD);
        stage.repo.set("VIRL2_URL", host.url());
        stage.knows(host);
        stage
    }

    /// With the address of a server that this shell script stands for, in place of `ssh`. Nothing is really connected.
    pub fn of_ssh(script: &str) -> Self {
        let mut stage = Self::new();
        std::fs::write(stage.home.path().join("ssh_config"), "").expect("a file of ours");
        stage.ssh_is(script);
        let path = std::env::var("PATH").unwrap_or_default();
        stage.repo.set("PATH", format!("{}/bin:{path}", stage.home.path().display()));
        stage.repo.set("VIRL2_URL", "ssh://127.0.0.1:1");
        stage
    }

    /// Adds the key of a host to the file of known hosts.
    pub fn knows(&self, host: &Host) {
        let file = std::fs::File::options().create(true).append(true).open(self.known_hosts());
        writeln!(file.expect("a file of ours"), "{}", host.known_as()).expect("a file of ours");
    }

    pub fn known_hosts(&self) -> PathBuf {
        self.home.path().join("known_hosts")
    }

    /// Replaces `ssh` by this shell script.
    pub fn ssh_is(&self, script: &str) {
        let bin = self.home.path().join("bin");
        std::fs::create_dir_all(&bin).expect("a folder of ours");
        let text = format!("#!/bin/sh\nCONFIG={}/ssh_config\n{script}\n", self.home.path().display());
        // Written aside and renamed: a script must not change while a shell runs it.
        std::fs::write(bin.join("ssh.new"), text).expect("a file of ours");
        std::fs::set_permissions(bin.join("ssh.new"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("chmod");
        std::fs::rename(bin.join("ssh.new"), bin.join("ssh")).expect("a file of ours");
    }

    /// Changes the node, so that its image, archive and definitions change.
    pub fn change_node(&self, greeting: &str) {
        self.repo.write(&format!("docker/{}/greeting", self.repo.node()), greeting);
    }
}
