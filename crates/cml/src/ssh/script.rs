//! Running the install script, and waiting for CML after a restart.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use retry::Retry;

use crate::remote_text::excerpt;
use crate::report::no_such_node;
use crate::ssh::about::About;
use crate::ssh::exchange::Kind;
use crate::ssh::folder::TransferFolder;
use crate::ssh::session::Ssh;
use crate::{Access, Address, InstallState, NodeReport, Options, Reversal};

/// Prints whether something of a node is there, then the IDs of all that have an image.
const THERE: &str = r#"cd /var/lib/libvirt/images || exit 1
there=no
for path in "node-definitions/$1.yaml" "virl-base-images/$1" ".cml-nodes/$1/state"; do
	[ ! -e "$path" ] || there=yes
done
echo $there
ls virl-base-images"#;

const START_TIMEOUT: Duration = Duration::from_secs(600);

/// Runs the script as root; returns what it printed. If it fails, the server has what it had before.
pub async fn run(ssh: &Ssh<'_>, folder: &TransferFolder, arguments: &[&str], restart: bool) -> Result<String> {
    let script = folder.script();
    let restart: &[&str] = if restart { &["--restart"] } else { &[] };
    let arguments = [&[script.as_str()], restart, arguments].concat();
    let output = ssh.as_root(Kind::Installation, r#"exec sh "$@""#, &arguments).await?;
    if output.code != 0 {
        let lines = output.stderr.lines().map(|line| line.trim_start_matches("cml_install_image: "));
        let errors: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
        let errors = excerpt(&errors.join("; "), 4000);
        bail!("{}: the script failed (exit code {}): {errors}", ssh.address, output.code);
    }
    Ok(output.stdout)
}

/// Runs the script's `rollback` or `remove`.
pub async fn reverse(
    access: &Access,
    address: &Address,
    reversal: Reversal,
    id: &str,
    options: Options,
) -> Result<NodeReport> {
    let ssh = Ssh::open(access, address).await?;
    if reversal == Reversal::Remove {
        let there = ssh.read(Kind::Question, THERE, &[id]).await?;
        let (is_there, ids) = there.split_once('\n').unwrap_or_default();
        if is_there != "yes" {
            let ids: Vec<String> = ids.lines().map(str::to_owned).collect();
            ensure!(options.is_known, no_such_node(address, id, &ids));
            return Ok(NodeReport::new(id, InstallState::Absent));
        }
    }
    if options.dry_run {
        return Ok(NodeReport::dry_run(id, reversal));
    }
    let folder = TransferFolder::of_script(&ssh, reversal.name(), id);
    folder.create(&ssh).await?;
    folder.write_script(&ssh).await?;
    let printed = run(&ssh, &folder, &[reversal.name(), id], options.restart).await;
    folder.remove(&ssh).await?;
    if printed?.lines().any(|line| line == format!("absent {id}")) {
        return Ok(NodeReport::new(id, InstallState::Absent));
    }
    if options.restart {
        wait_until_ready(&ssh).await?;
    }
    Ok(NodeReport::new(id, reversal.result()))
}

/// After a restart CML takes a minute or more to answer.
pub async fn wait_until_ready(ssh: &Ssh<'_>) -> Result<()> {
    let spinner = ssh.access.ui.spinner(format!("{}: waiting until CML is ready again", ssh.address));
    let mut retry = Retry::within(START_TIMEOUT, Duration::from_secs(1));
    while !About::read(ssh).await?.ready {
        if !retry.pause().await {
            let (at, seconds) = (&ssh.address, START_TIMEOUT.as_secs());
            bail!("{at}: the change is made, but CML was not ready again within {seconds} s");
        }
    }
    spinner.finish_and_clear();
    Ok(())
}
