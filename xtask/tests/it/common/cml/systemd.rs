//! systemd as the first process of a container. It needs more privileges than a container usually has, and not every
//! kernel grants them.

use std::io::Write;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::common::once_in_a_run;

/// The options of `docker run` for it, before the image.
pub fn options() -> Vec<&'static str> {
    let mut options = vec!["--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN"];
    options.extend(["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]);
    options.extend([
        "--tmpfs",
        "/run/lock",
        "--volume",
        "/sys/fs/cgroup:/sys/fs/cgroup:rw",
        "--env",
        "container=docker",
    ]);
    if cgroup_version() == "1" {
        // systemd 256 and later start on it only with both of these.
        options.extend(["--env", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "--env"]);
        options.push("SYSTEMD_PROC_CMDLINE=systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1");
    } else {
        options.push("--cgroupns=host");
    }
    options
}

fn cgroup_version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| docker(&["info", "--format", "{{.CgroupVersion}}"]).trim().to_owned())
}

/// Whether it comes up in a container here: tried once, and without the host's units, whose errors the tests are to
/// find.
pub fn runs(image: &str) -> bool {
    static RUNS: OnceLock<bool> = OnceLock::new();
    *RUNS.get_or_init(|| {
        let runs = once_in_a_run("systemd-runs", || try_it(image).to_string()) == "true";
        if !runs {
            // Not by `eprintln`, which shows only with a test that fails.
            let note = "note: systemd does not come up in a container here; \
                on the tests' CML host a script answers as `systemctl`\n";
            let _ = std::io::stderr().write_all(note.as_bytes());
        }
        runs
    })
}

fn try_it(image: &str) -> bool {
    let name = format!("t{}-systemd", std::process::id());
    let mut args = vec!["run", "--detach", "--name", &name, "--tmpfs", "/run:exec"];
    args.extend(options());
    args.extend([image, "/sbin/init", "--unit=basic.target"]);
    docker(&args);
    let since = Instant::now();
    let mut runs = false;
    while !runs && since.elapsed() < Duration::from_secs(30) && is_up(&name) {
        std::thread::sleep(Duration::from_millis(50));
        runs = matches!(state(&name).as_str(), "running" | "degraded");
    }
    docker(&["rm", "--force", "--volumes", &name]);
    runs
}

/// Whether a container runs.
pub fn is_up(name: &str) -> bool {
    docker(&["inspect", "--format", "{{.State.Running}}", name]).trim() == "true"
}

/// The state that systemd reports there: `starting`, `running`, `degraded` …
pub fn state(name: &str) -> String {
    docker(&["exec", name, "systemctl", "is-system-running"]).trim().to_owned()
}

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("docker");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
