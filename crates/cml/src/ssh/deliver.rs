//! Installs nodes by ssh: copies their files to one folder, then has a script install them as root.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use retry::Retry;

use crate::bundle::check_installed;
use crate::space;
use crate::ssh::about::{About, IMAGES};
use crate::ssh::command::ConnectionLost;
use crate::ssh::doctor::{self, Needs, Verdict};
use crate::ssh::folder::TransferFolder;
use crate::ssh::installed::Installed;
use crate::ssh::script;
use crate::ssh::session::Ssh;
use crate::ssh::transfer;
use crate::version;
use crate::{Access, Address, Bundle, Forms, InstallState, NodeReport, Options};

const RECONNECTS: u32 = 2;

struct Pending<'a> {
    bundle: &'a Bundle,
    has_archive: bool,
    /// Its place among the reports.
    report: usize,
}

/// Copies what the server does not have, and installs it if that is wanted; returns CML's version and a report for each
/// node. If anything fails, the server has what it had before.
pub async fn deliver(
    access: &Access,
    address: &Address,
    nodes: &[Forms],
    needs: Needs,
    options: Options,
) -> Result<(Option<String>, Vec<NodeReport>)> {
    let mut ssh = Ssh::open(access, address).await?;
    let about = About::read(&ssh).await?;
    version::check(address, about.version.as_deref())?;
    let (mut reports, mut pending) = (Vec::new(), Vec::new());
    for forms in nodes {
        let (bundle, installed) = Installed::like(&ssh, forms).await?;
        let differences = installed.differences(bundle);
        check_own_node(address, bundle, differences.is_empty())?;
        let state = match (differences.is_empty(), options.dry_run) {
            (true, _) => InstallState::Same,
            (false, true) => InstallState::WouldInstall,
            (false, false) => {
                pending.push(Pending { bundle, has_archive: installed.has_archive_of(bundle), report: reports.len() });
                InstallState::Transferred
            }
        };
        reports.push(NodeReport::new(&bundle.id, state).with(differences));
    }
    if !pending.is_empty() {
        if options.install {
            check_startable(&ssh, &about, needs, options.force).await?;
        }
        check_space(access, address, &about, &pending)?;
        transfer_and_install(&mut ssh, &pending, &mut reports, options).await?;
    }
    Ok((about.version, reports))
}

/// The install script replaces a node definition with its only image. Another image of it would lose its definition.
fn check_own_node(address: &Address, Bundle { id, node_id, .. }: &Bundle, is_same: bool) -> Result<()> {
    ensure!(
        is_same || id == node_id,
        "{id} belongs to the node definition {node_id}, which versions share; that is installed by the API alone: pass \
         `--via api` for {}",
        address.host
    );
    Ok(())
}

pub async fn status(ssh: &Ssh<'_>, forms: &Forms) -> Result<NodeReport> {
    let (bundle, installed) = Installed::like(ssh, forms).await?;
    Ok(NodeReport::compare(&bundle.id, installed.is_absent(), installed.differences(bundle)))
}

/// Fails if the nodes could not start on the server, unless that is forced.
async fn check_startable(ssh: &Ssh<'_>, about: &About, needs: Needs, force: bool) -> Result<()> {
    let findings = doctor::examine(ssh, about, needs).await?;
    let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong);
    let wrong: Vec<String> = wrong.map(|finding| format!("{} ({})", finding.what, finding.remedy)).collect();
    let (at, list) = (&ssh.address, wrong.join("; "));
    if force && !wrong.is_empty() {
        ssh.access.ui.warn(format_args!("{at}: installing anyway (--force): {list}"));
        return Ok(());
    }
    ensure!(
        wrong.is_empty(),
        "the node could not start on {at}: {list}\n\
         `cargo xtask cml doctor --fix` fixes what it can; --force installs the node anyway"
    );
    Ok(())
}

/// All nodes together must fit: their copies are there at the same time.
fn check_space(access: &Access, address: &Address, about: &About, pending: &[Pending<'_>]) -> Result<()> {
    let copies = |nodes: &mut dyn Iterator<Item = &Pending<'_>>| -> u64 {
        nodes.map(|node| space::by_ssh(node.bundle.archive.size)).sum()
    };
    let staged = copies(&mut pending.iter());
    let sent = copies(&mut pending.iter().filter(|node| !node.has_archive));
    let ids: Vec<&str> = pending.iter().map(|node| node.bundle.id.as_str()).collect();
    let folder = TransferFolder::parent(address);
    for demand in space::by_disk(&[(IMAGES, &about.images, staged), (folder, &about.transfer, sent)]) {
        let disk = format!("the disk of {}", text::printable_line(&demand.places));
        match demand.free {
            Some(free) => space::check(address, &disk, free, &ids.join(" and "), demand.needed)?,
            None => access.ui.warn(format_args!(
                "{address}: the free space on {disk} is unknown; {} needs {}",
                ids.join(" and "),
                text::size(demand.needed)
            )),
        }
    }
    Ok(())
}

async fn transfer_and_install(
    ssh: &mut Ssh<'_>,
    pending: &[Pending<'_>],
    reports: &mut [NodeReport],
    options: Options,
) -> Result<()> {
    let bundles: Vec<&Bundle> = pending.iter().map(|node| node.bundle).collect();
    let folder = TransferFolder::of_bundles(ssh, &bundles);
    for node in pending {
        let (sent, time) = transfer_node(ssh, &folder, node).await?;
        reports[node.report].count_sent(sent, time);
    }
    folder.complete(ssh, &bundles).await?;
    if !options.install {
        let ui = &ssh.access.ui;
        ui.note("everything has arrived, and its digests are right. To install it, run:");
        ui.note(format_args!("    {}", folder.command_to_install(ssh, options.restart)));
        return Ok(());
    }
    script::run(ssh, &folder, &["install"], options.restart).await?;
    if options.restart {
        script::wait_until_ready(ssh).await?;
    }
    for node in pending {
        let installed = Installed::read(ssh, node.bundle).await?;
        check_installed(&ssh.address, &node.bundle.id, &installed.differences(node.bundle))?;
        reports[node.report].state = InstallState::Installed;
    }
    Ok(())
}

/// Copies a node's files to the folder, and logs in again if the connection is lost. Returns the bytes of the archive
/// that were sent, and how long the last attempt took to send them.
async fn transfer_node(ssh: &mut Ssh<'_>, folder: &TransferFolder, node: &Pending<'_>) -> Result<(u64, Duration)> {
    let (at, archive, mut sent) = (ssh.address.clone(), &node.bundle.archive.name, 0);
    let incomplete = || {
        format!(
            "{archive} did not arrive completely on {at}; \
             what has arrived is kept, and the same command continues from there"
        )
    };
    let mut retry = Retry::times(RECONNECTS, Duration::from_secs(1));
    loop {
        let error = match transfer_once(ssh, folder, node, &mut sent).await {
            Ok(time) => return Ok((sent, time)),
            Err(error) => error,
        };
        let is_lost = error.chain().any(|cause| cause.is::<ConnectionLost>());
        if !is_lost || retry.is_exhausted() {
            return Err(error.context(incomplete()));
        }
        ssh.access.ui.note(format_args!("{error:#}; connecting again"));
        retry.pause().await;
        *ssh = Ssh::open(ssh.access, &at).await.with_context(incomplete)?;
    }
}

/// Adds to `sent` the bytes that the connection has accepted, even if it was lost then.
async fn transfer_once(ssh: &Ssh<'_>, folder: &TransferFolder, node: &Pending<'_>, sent: &mut u64) -> Result<Duration> {
    folder.create(ssh).await?;
    folder.write_definitions(ssh, node.bundle).await?;
    if node.has_archive {
        return Ok(Duration::ZERO);
    }
    let archive = &node.bundle.archive;
    let progress = ssh.access.counter_of(archive, &ssh.address);
    let time = transfer::send(ssh, archive, &folder.archive(node.bundle), &progress).await;
    *sent += progress.position();
    progress.finish_and_clear();
    time
}
