//! By ssh over loopback, next to `scp`, to the container that stands in for a CML server in the tests.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::commands::args::NodeArgs;
use crate::commands::flow::Saved;
use crate::commands::running_nodes::own_image;
use crate::commands::session::Session;
use crate::dev::bench::figures::{Figure, Times, figure, ratio};
use crate::dev::bench::upload::{Uploaded, upload};
use crate::setup::Consent;

/// The container's recipe, next to the link helper's.
const HOST: &str = "cml-host";

/// How much of the archive has arrived when the transfer is cut off, in percent.
const CUT_AT: u64 = 90;

pub async fn measure(session: &Session<'_>, node: &NodeArgs, rounds: u32) -> Result<Vec<Figure>> {
    let saved = Saved::up_to_date(session, node).await?;
    let (archive, size) = (&saved.bundle.archive.path, saved.bundle.archive.size);
    let server = Server::start(session).await?;
    let [mut whole, mut ours, mut scp, mut repeat] = <[Times; 4]>::default();
    for round in 1..=rounds {
        session.ui.headline(format_args!("upload, round {round} of {rounds}"));
        server.forget()?;
        // Both without the login: an upload logs in once for everything.
        scp.0.push(server.scp(archive)?);
        server.forget()?;
        let done = server.upload(session, &[])?;
        whole.0.push(done.time);
        ours.0.push(done.transfer);
    }
    let there = size * CUT_AT / 100;
    server.sh(&format!("truncate -s {there} /var/tmp/cml-nodes-*/virl-base-images/*/*.gz"))?;
    let resent = server.upload(session, &[])?.sent;
    server.upload(session, &["--install", "--no-restart", "--force"])?;
    for _ in 0..rounds.max(3) {
        let done = server.upload(session, &["--install"])?;
        anyhow::ensure!(done.sent == 0, "a repeat sent {} bytes", done.sent);
        repeat.0.push(done.time);
    }
    let part = 100.0 * ratio(&scp, &ours);
    let again = 100.0 * resent as f64 / size as f64;
    Ok(vec![
        figure(format!("upload of {} by ssh, whole command", text::size(size)), whole, ""),
        figure("transfer within it", ours, ""),
        figure("scp of the archive, less its login", scp, ""),
        figure("transfer / scp, as a rate", format!("{part:.0} %"), "at least 80 %"),
        figure(format!("cut at {CUT_AT} %: sent again"), format!("{again:.1} %"), "at most 12 %"),
        figure("upload with nothing to do, by ssh", repeat, "at most 2 s, no archive bytes"),
    ])
}

/// The container, which is removed when this is dropped, and a login to it.
struct Server {
    folder: tempfile::TempDir,
    name: String,
    port: String,
}

impl Server {
    async fn start(session: &Session<'_>) -> Result<Self> {
        let image = own_image(session, HOST, Consent::Given).await?;
        let folder = tempfile::tempdir_in(&session.cache)?;
        let name = format!("cml-nodes-bench-{}", std::process::id());
        let sh = Shell::new()?;
        let key = folder.path().join("key");
        cmd!(sh, "ssh-keygen -q -t ed25519 -N '' -f {key}").quiet().run().context("the bench needs openssh-client")?;
        let forwarding = ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "net.ipv6.conf.all.forwarding=1"];
        cmd!(sh, "docker run --detach --name {name} --publish 127.0.0.1::1122 {forwarding...} {image}")
            .quiet()
            .ignore_stdout()
            .run()?;
        let mut server = Self { folder, name, port: String::new() };
        let name = &server.name;
        let ports = cmd!(sh, "docker port {name} 1122/tcp").quiet().read()?;
        server.port = ports
            .lines()
            .next()
            .and_then(|line| line.rsplit(':').next())
            .context("docker did not print the port")?
            .to_owned();
        let public = std::fs::read_to_string(key.with_extension("pub"))?;
        server.sh(&format!(
            "mkdir -p ~admin/.ssh && echo '{}' >~admin/.ssh/authorized_keys && chown -R admin: ~admin/.ssh &&
             echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin &&
             while [ ! -e /run/sshd.pid ]; do sleep 0.1; done",
            public.trim()
        ))?;
        server.write_ssh()?;
        Ok(server)
    }

    /// Writes an `ssh` with its own key and known hosts, for this program and for scp.
    fn write_ssh(&self) -> Result<()> {
        let at = self.folder.path().display();
        let options = format!(
            "-i {at}/key -o IdentitiesOnly=yes -o UserKnownHostsFile={at}/known -o StrictHostKeyChecking=accept-new"
        );
        let path = self.ssh();
        std::fs::create_dir_all(path.parent().unwrap_or(self.folder.path()))?;
        std::fs::write(&path, format!("#!/bin/sh\nexec /usr/bin/ssh {options} \"$@\"\n"))?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(())
    }

    fn ssh(&self) -> PathBuf {
        self.folder.path().join("bin/ssh")
    }

    /// Runs a shell script as root on the server.
    fn sh(&self, script: &str) -> Result<()> {
        let (sh, name) = (Shell::new()?, &self.name);
        cmd!(sh, "docker exec {name} sh -c {script}")
            .quiet()
            .ignore_stdout()
            .run()
            .context("the container that stands in for CML")
    }

    /// Removes what was sent before.
    fn forget(&self) -> Result<()> {
        self.sh("rm -rf /var/tmp/*")
    }

    /// The time that scp takes, less that of the login.
    fn scp(&self, archive: &Path) -> Result<Duration> {
        let (sh, ssh, port) = (Shell::new()?, self.ssh(), &self.port);
        let since = Instant::now();
        cmd!(sh, "{ssh} -p {port} admin@127.0.0.1 true").quiet().run()?;
        let (login, since) = (since.elapsed(), Instant::now());
        cmd!(sh, "scp -q -S {ssh} -P {port} {archive} admin@127.0.0.1:/var/tmp/").quiet().run()?;
        Ok(since.elapsed().saturating_sub(login))
    }

    fn upload(&self, session: &Session<'_>, further: &[&str]) -> Result<Uploaded> {
        let bin = self.folder.path().join("bin").display().to_string();
        let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
        let environment = [("PATH", path.into()), ("XDG_STATE_HOME", self.folder.path().join("state").into())];
        upload(session, &format!("ssh://admin@127.0.0.1:{}", self.port), &environment, further)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let name = &self.name;
        if let Ok(sh) = Shell::new() {
            let _ = cmd!(sh, "docker rm --force --volumes {name}").quiet().ignore_stdout().ignore_stderr().run();
        }
    }
}
