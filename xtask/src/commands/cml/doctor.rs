//! `cargo xtask cml doctor`

use anyhow::{Result, ensure};

use crate::commands::outcome::{Outcome, conclude};
use crate::commands::saved_nodes;
use crate::commands::servers::{self, ServerArgs, Target};
use crate::commands::session::Session;
use cml::Scheme;
use cml::ssh::Ssh;
use cml::ssh::about::About;
use cml::ssh::doctor::{self, Finding, Needs, Verdict};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    servers: ServerArgs,
    /// Write what is missing to files in /etc/sysctl.d and /etc/modules-load.d, after showing it
    #[arg(long)]
    fix: bool,
    /// With --fix: also reboot the server if that is necessary
    #[arg(long, requires = "fix")]
    reboot: bool,
    /// Change the server without asking
    #[arg(long, short)]
    yes: bool,
    /// Show what would be done, and change nothing on the server
    #[arg(long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    ensure!(!args.servers.is_by_api(), "doctor needs ssh; leave out --via api");
    args.servers.check_fingerprint(true)?;
    let servers = servers::open(session.ui, &args.servers).await?;
    let needs = saved_nodes::needs(&saved_nodes::all(session))?;
    let outcomes = servers::on_each(&servers, async |target, outcome| examine(target, outcome, needs, &args).await);
    conclude(session.ui, outcomes.await, args.json)
}

async fn examine(target: &Target<'_>, outcome: &mut Outcome, needs: Needs, args: &Args) -> Result<()> {
    // Always by ssh: the API does not tell what is examined.
    let ssh = Ssh::open(target.access, &target.address.by(Scheme::Ssh)).await?;
    let about = About::read(&ssh).await?;
    let findings = doctor::examine(&ssh, &about, needs).await?;
    outcome.version = about.version;
    let findings = outcome.findings.insert(findings);
    if !args.json {
        print(target, findings)?;
    }
    if args.fix {
        fix(target, &ssh, findings, args).await?;
        return conclude_fix(target, findings, args);
    }
    let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
    let is_ready = wrong == 0;
    let can_fix = findings.iter().any(Finding::can_be_fixed);
    let advice = if can_fix { "; `cargo xtask cml doctor --fix` fixes what it can" } else { "" };
    let wrong = text::plural(wrong, "problem");
    ensure!(is_ready, "{} is not ready for the nodes here: {wrong}{advice}", target.address);
    Ok(())
}

fn print(target: &Target<'_>, findings: &[Finding]) -> Result<()> {
    let ui = &target.access.ui;
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Fine => "ok",
            Verdict::Note => "note",
            Verdict::Wrong => "WRONG",
        };
        ui.result(format_args!("{}  {mark:<5}  {}", target.address, finding.what))?;
        if !finding.remedy.is_empty() {
            ui.result(format_args!("           {}", finding.remedy))?;
        }
    }
    Ok(())
}

/// Fails while a problem remains: what was not written, what cannot be fixed from here, and what waits for a reboot.
fn conclude_fix(target: &Target<'_>, findings: &[Finding], args: &Args) -> Result<()> {
    let wrong: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).collect();
    let settled = wrong.iter().filter(|finding| finding.waits_for_reboot()).count();
    let (at, rest) = (&target.address, wrong.len() - settled);
    let problems = |count| text::plural(count, "problem");
    ensure!(wrong.is_empty() || !args.dry_run, "{at} is not ready for the nodes here: {}", problems(wrong.len()));
    ensure!(rest == 0, "{at} is not ready for the nodes here: {} cannot be fixed by --fix", problems(rest));
    ensure!(settled == 0 || args.reboot, "{at} is not ready for the nodes here before it was rebooted");
    Ok(())
}

async fn fix(target: &Target<'_>, ssh: &Ssh<'_>, findings: &[Finding], args: &Args) -> Result<()> {
    let (ui, at) = (&target.access.ui, &target.address);
    let changes = doctor::changes(findings);
    for change in &changes {
        ui.note(format_args!("{at}: {} becomes:", change.path));
        for line in change.text.lines() {
            ui.note(format_args!("  + {line}"));
        }
    }
    if args.dry_run {
        return Ok(());
    }
    if !changes.is_empty() {
        target.agree(args.yes, "Write this?").await?;
        doctor::apply(ssh, &changes).await?;
        ui.note(format_args!("{at}: written"));
    }
    if !doctor::needs_reboot(findings) {
        ui.note(format_args!("{at}: there is nothing to fix by a file or a reboot"));
    } else if args.reboot {
        doctor::reboot(ssh).await?;
        ui.note(format_args!("{at}: rebooting"));
    } else {
        ui.warn(format_args!("{at}: the changes take effect after a reboot; `--fix --reboot` reboots the server"));
    }
    Ok(())
}
