//! A container that is laid out as a CML server: sshd on 1122, `admin` with sudo, CML's folders and owners. Its recipe
//! is `helper/docker/cml-host`. systemd is its first process, with a `virl2.target` whose starts are counted; where
//! systemd does not come up in a container, a script answers as `systemctl`.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{PASSWORD, systemd};
use crate::common::{once_in_a_run, wait_until};

/// A running host. It is removed with the value.
pub struct Host {
    name: String,
    port: u16,
}

/// A node as a server holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub node_definition: String,
    pub image_definition: String,
    pub archive_sum: String,
    /// Owner and mode of each file, and of the folder.
    pub owners: String,
}

impl Host {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further arguments for `docker run`.
    pub fn start_with(further: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}-{}-cml-host", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let password = format!("ADMIN_PASSWORD={PASSWORD}");
        let mut args = vec!["run", "--detach", "--name", &name, "--publish", "127.0.0.1::1122", "--env", &password];
        args.extend(["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "net.ipv6.conf.all.forwarding=1"]);
        args.extend(["--tmpfs", "/run:exec"]);
        args.extend(further);
        if systemd::runs(image()) {
            args.extend(systemd::options());
            args.extend([image(), "/sbin/init"]);
        } else {
            args.push(image());
        }
        docker(&args);
        let mut host = Self { port: 0, name };
        host.wait_until_up();
        host
    }

    fn wait_until_up(&mut self) {
        let port = docker(&["port", &self.name, "1122/tcp"]);
        self.port = port.lines().next().and_then(|line| line.rsplit(':').next()?.trim().parse().ok()).expect("a port");
        if systemd::runs(image()) {
            wait_until("systemd has started the host", || match systemd::state(&self.name).as_str() {
                "degraded" => {
                    panic!("units failed: {}", self.sh("systemctl --failed; journalctl --no-pager | tail -n 40"))
                }
                state => state == "running",
            });
        }
        wait_until("sshd listens", || self.run("[ -e /run/sshd.pid ]").0 == 0 && speaks_ssh(self.port));
    }

    /// Starts it again after its reboot, which ends a container. Its port changes.
    pub fn boot_again(&mut self) {
        wait_until("it goes down", || !systemd::is_up(&self.name));
        self.docker("start");
        self.wait_until_up();
    }

    pub fn is_up(&self) -> bool {
        systemd::is_up(&self.name)
    }

    pub fn url(&self) -> String {
        format!("ssh://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its line in a file of known hosts.
    pub fn known_as(&self) -> String {
        format!("[127.0.0.1]:{} {}", self.port, self.key())
    }

    /// Its public key.
    pub fn key(&self) -> String {
        let key = self.sh("cat /etc/ssh/ssh_host_ed25519_key.pub");
        key.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// Runs a shell command as root on the host. Returns exit code and output.
    pub fn run(&self, script: &str) -> (i32, String) {
        let output = Command::new("docker").args(["exec", &self.name, "sh", "-c", script]).output().expect("docker");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap_or(-1), text)
    }

    /// The same for a command that must succeed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let (code, text) = self.run(script);
        assert_eq!(code, 0, "`{script}` on the host: {text}");
        text
    }

    /// `docker pause`, `unpause`, `stop`.
    pub fn docker(&self, what: &str) {
        docker(&[what, &self.name]);
    }

    /// Its address on the engine's own network.
    pub fn inner_address(&self) -> String {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        docker(&["inspect", "--format", format, &self.name]).trim().to_owned()
    }

    /// Copies a file from the host.
    pub fn fetch(&self, path: &str, to: &Path) {
        docker(&["cp", &format!("{}:{path}", self.name), to.to_str().expect("UTF-8")]);
    }

    /// What is installed there under an id, if anything is.
    pub fn held(&self, id: &str) -> Option<Held> {
        let script = format!(
            "cd /var/lib/libvirt/images; n=node-definitions/{id}.yaml; d=virl-base-images/{id}
             [ -e $n ] || [ -e $d ] || exit 9
             cat $n; echo ----; cat $d/{id}.yaml; echo ----; sha256sum <$d/{id}.tar.gz; echo ----
             stat -c '%n %U:%G %a' $n $d $d/*"
        );
        let (code, text) = self.run(&script);
        if code == 9 {
            return None;
        }
        assert_eq!(code, 0, "half a node is installed there: {text}");
        let parts: Vec<String> = text.split("----\n").map(str::to_owned).collect();
        let [node_definition, image_definition, archive_sum, owners] = parts.try_into().expect("four parts");
        Some(Held { node_definition, image_definition, archive_sum: archive_sum[..64].to_owned(), owners })
    }

    /// How often CML was restarted: its starts since the boot, without the first.
    pub fn restarts(&self) -> usize {
        self.sh("cat /run/virl2/starts").lines().count().checked_sub(1).expect("it was started")
    }

    /// Folders of uploads that are left.
    pub fn left_in_var_tmp(&self) -> String {
        self.run("ls /var/tmp").1
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &self.name]).output();
    }
}

fn speaks_ssh(port: u16) -> bool {
    use std::io::Read;
    let mut greeting = [0; 4];
    let stream = std::net::TcpStream::connect(("127.0.0.1", port));
    stream.is_ok_and(|mut stream| stream.read_exact(&mut greeting).is_ok() && &greeting == b"SSH-")
}

fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| once_in_a_run("cml-host", || build("cml-host")))
}

/// Builds the image of a helper as the project builds a node. Returns its tag.
pub fn build(helper: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("helper");
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command.arg("--root").arg(root).args(["build", helper]).output().expect("the program starts");
    assert!(output.status.success(), "{helper} can't be built: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

pub fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("docker");
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
