//! The configuration of the build machine, checked and applied by cloud-init itself: Debian's package, in a container.

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::cml::controller::Controller;
use crate::common::cml::host::{Host, build, docker};
use crate::common::cml::{KEY, OTHER_KEY, PASSWORD, Stage};
use crate::common::once_in_a_run;
use builder::console::{self, Progress};

const SECRET: &str = "corr3ct-h0rse";

/// Programs in place of those that the preparation calls; they fail if `/srv/broken` exists.
const STAND_INS: &str = r#"
stand_in() { cat >/usr/local/bin/$1; chmod 755 /usr/local/bin/$1; }
stand_in apt-get <<'E'
#!/bin/sh
echo "apt-get $*" >>/srv/calls
[ ! -e /srv/broken ] || { echo 'E: Unable to locate package docker.io'; exit 100; }
case $* in *install*) groupadd -f docker; touch /srv/installed ;; esac
E
stand_in dpkg <<'E'
#!/bin/sh
[ -e /srv/installed ]
E
stand_in systemctl <<'E'
#!/bin/sh
exit 0
E
stand_in rustup <<'E'
#!/bin/sh
case $1 in which) [ -e ~/.rust ] ;; *) echo "rustup $*" >>/srv/calls; touch ~/.rust ;; esac
E
touch /srv/calls; chmod 666 /srv/calls
git config --system url.file:///srv/team/.insteadOf https://example.org/team/
git config --system --add safe.directory '*'
"#;

/// A machine that has booted with the output of `builder create`. It is removed with the value.
struct Machine(String);

impl Machine {
    /// The files that CML would give it, by name, from a lab in a file.
    fn boot(stage: &Stage, server: &str) -> Self {
        let machine = Self::off(stage, server);
        machine.shell("cd /var/lib/cloud/seed/nocloud && echo 'instance-id: i1' >meta-data");
        machine.shell("cloud-init init --local; cloud-init init; cloud-init modules --mode config; true");
        machine
    }

    fn off(stage: &Stage, server: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static IMAGE: OnceLock<String> = OnceLock::new();
        let file = stage.home.path().join("lab.yaml");
        let words = ["builder", "create", "--server-address", server, "--image-definition", "ubuntu-24-04"];
        stage.repo.xtask(&[&words[..], &["--output", file.to_str().unwrap()]].concat()).success();
        let lab: serde_yaml::Value = serde_yaml::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let name = format!("t{}-{}-builder", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // With a terminal, so that there is a console.
        docker(&[
            "run",
            "--detach",
            "--tty",
            "--name",
            &name,
            "--hostname",
            "builder",
            IMAGE.get_or_init(|| once_in_a_run("cloud-init", || build("cloud-init"))),
        ]);
        let machine = Self(name);
        for file in lab["nodes"][1]["configuration"].as_sequence().unwrap() {
            let (name, content) = (file["name"].as_str().unwrap(), file["content"].as_str().unwrap());
            let place = format!("mkdir -p /var/lib/cloud/seed/nocloud && cat >/var/lib/cloud/seed/nocloud/{name}");
            let (code, said) = machine.run(&place, content);
            assert_eq!(code, 0, "{said}");
        }
        machine
    }

    /// Runs a shell command as root. Returns exit code and output.
    fn run(&self, words: &str, input: &str) -> (i32, String) {
        let mut child = Command::new("docker")
            .args(["exec", "--interactive", &self.0, "sh", "-c", &format!("exec 2>&1\n{words}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[track_caller]
    fn shell(&self, words: &str) -> String {
        let (code, said) = self.run(words, "");
        assert_eq!(code, 0, "`{words}`: {said}");
        said
    }

    /// Prepares it as a boot does. Returns the exit code.
    fn prepare(&self) -> i32 {
        self.run("PAUSE=0 run-parts --exit-on-error /var/lib/cloud/scripts/per-boot", "").0
    }

    /// The last line on the console about its preparation.
    fn progress(&self) -> Progress {
        let log = docker(&["logs", &self.0]);
        console::boots(&log).pop().unwrap_or_else(|| panic!("nothing is told: {log}")).progress
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &self.0]).output();
    }
}

/// A caller with a password, whose repository can be cloned from `/srv/team/cml-nodes.git`.
fn stage() -> Stage {
    let mut stage = Stage::of_builder(&Controller::start());
    stage.repo.set("CML_BUILDER_PASS", SECRET);
    stage
}

/// Puts the repository where the machine clones from.
fn publish(machine: &Machine, stage: &Stage) {
    machine.shell(STAND_INS);
    let root = stage.repo.folder.path();
    let git = |words: &[&str]| {
        let who = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        let done = Command::new("git").arg("-C").arg(root).args(who).args(words).output().unwrap();
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message", "x"]);
    machine.shell("mkdir -p /srv/team/cml-nodes.git");
    docker(&["cp", &format!("{}/.git/.", root.display()), &format!("{}:/srv/team/cml-nodes.git", machine.0)]);
    machine.shell("git -C /srv/team/cml-nodes.git config core.bare true");
}

#[test]
fn cloud_inits_own_checker_finds_no_error_and_would_find_one() {
    let machine = Machine::off(&stage(), "192.0.2.1");
    let judge = |kind: &str, file: &str| {
        machine.run(
            &format!("cd /var/lib/cloud/seed/nocloud && cloud-init schema --schema-type {kind} --config-file {file}"),
            "",
        )
    };
    for (kind, file) in [("cloud-config", "user-data"), ("network-config", "network-config")] {
        let (code, said) = judge(kind, file);
        assert!(
            code == 0 && said.contains("Valid schema") && !said.to_lowercase().contains("deprecat"),
            "{file}: {said}"
        );
    }
    machine.shell(
        "cd /var/lib/cloud/seed/nocloud && sed 's/^users:/userz:/; \
        s/lock_passwd: false/lock_passwd: 7/' user-data >wrong",
    );
    let (code, said) = judge("cloud-config", "wrong");
    assert!(code != 0 && said.contains("userz"), "{said}");
}

#[test]
fn cloud_init_creates_the_user_with_keys_and_password_and_applies_the_settings() {
    let machine = Machine::boot(&stage(), "192.0.2.1");
    assert!(machine.shell("id builder").contains("(sudo)"));
    let keys = machine.shell("cat ~builder/.ssh/authorized_keys");
    for key in [KEY, OTHER_KEY] {
        assert!(keys.lines().any(|line| line == key), "{keys}");
    }
    // The system's own libcrypt checks the hash.
    let tries = "perl -e '$h = (getpwnam(\"builder\"))[1]; exit !(crypt($ARGV[0], $h) eq $h)' --";
    assert_eq!(machine.run(&format!("{tries} {SECRET}"), "").0, 0);
    assert_ne!(machine.run(&format!("{tries} {SECRET}x"), "").0, 0);
    assert_eq!(machine.shell("readlink /etc/localtime").trim(), "/usr/share/zoneinfo/Asia/Tokyo");
    let network = machine.shell("cat /etc/netplan/50-cloud-init.yaml");
    assert!(network.contains("name: \"en*\"") && network.contains("dhcp4: true"), "{network}");
    assert!(machine.shell("cut -d: -f1 /etc/passwd").lines().all(|user| user != "debian" && user != "ubuntu"));
}

#[test]
fn its_preparation_reports_what_failed_and_the_next_boot_completes_it_without_repeating_anything() {
    let stage = stage();
    let machine = Machine::boot(&stage, "192.0.2.1");
    publish(&machine, &stage);
    machine.shell("touch /srv/broken");
    assert_ne!(machine.prepare(), 0);
    assert_eq!(machine.progress(), Progress::Failed("packages".into()));
    assert!(docker(&["logs", &machine.0]).contains("E: Unable to locate package docker.io"));
    machine.shell("rm /srv/broken; mv /srv/team /srv/elsewhere");
    assert_ne!(machine.prepare(), 0);
    assert_eq!(machine.progress(), Progress::Failed("repository".into()));
    assert_eq!(machine.run("ls -d ~builder/cml-nodes", "").0, 2, "half a clone has no name");
    machine.shell("mv /srv/elsewhere /srv/team");
    assert_eq!(machine.prepare(), 0);
    let Progress::Ready(addresses) = machine.progress() else { panic!("{:?}", machine.progress()) };
    assert_eq!(addresses, [machine.shell("hostname -I").trim()]);
    assert!(
        machine
            .shell("ls -l ~builder/cml-nodes/builder/lab.yaml ~builder/.virlrc")
            .lines()
            .all(|line| line.contains(" builder "))
    );
    assert!(machine.shell("id builder").contains("(docker)"));
    let calls = machine.shell("cat /srv/calls");
    assert!(calls.contains("install") && calls.contains("rustup default stable"), "{calls}");
    machine.shell("echo mine >~builder/cml-nodes/mine; echo VIRL2_URL=other >~builder/.virlrc");
    assert_eq!(machine.prepare(), 0);
    assert_eq!(machine.shell("cat /srv/calls"), calls, "nothing is installed twice");
    assert_eq!(machine.shell("cat ~builder/cml-nodes/mine ~builder/.virlrc"), "mine\nVIRL2_URL=other\n");
    assert_eq!(machine.shell("grep -c cml-nodes /etc/hosts").trim(), "1");
}

#[test]
fn the_server_can_be_reached_from_it_as_cml_by_ssh_and_by_this_program() {
    let (stage, host) = (stage(), Host::start());
    let machine = Machine::boot(&stage, &host.inner_address());
    publish(&machine, &stage);
    assert_eq!(machine.prepare(), 0);
    machine.shell(&format!("printf '#!/bin/sh\\necho {PASSWORD}\\n' >/srv/ask; chmod 755 /srv/ask"));
    let ssh = "su builder -c 'SSH_ASKPASS=/srv/ask SSH_ASKPASS_REQUIRE=force \
        ssh -o StrictHostKeyChecking=accept-new cml id -un'";
    assert!(machine.shell(ssh).contains("admin\n"));
    docker(&["cp", env!("CARGO_BIN_EXE_xtask"), &format!("{}:/usr/local/bin/xtask", machine.0)]);
    for words in ["cml status --cml cml", "cml status"] {
        let run = format!("su - builder -c 'cd cml-nodes && CML_SSH_PASS={PASSWORD} xtask {words}'");
        let said = machine.shell(&run);
        assert!(said.contains("cml  CML 2.9"), "{said}");
    }
}
