//! What is proved of every node, whatever its manifest says: it boots as it is shipped, gets what its
//! definition asks for, and stops.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;

use crate::engine::containers::exec::Output;
use crate::lab::{self, Booted, Lab, MemoryUse, Node, NodeOptions, Process, QUOTED_LINES, UnmetNeed, UnmetNeeds};
use crate::proof::identity;
use crate::proof::report::{Figures, Rows};
use crate::proof::subject::{Subject, Testbed};
use definitions::python_regex::Unknown;
use retry::Retry;

const ALL_APPLIED: &str = "it gets all that its definition asks for";
const NO_ZOMBIE: &str = "no process is a zombie";
const SSHD_WORKS: &str = "sshd can log users in";
pub(super) const ENOUGH_MEMORY: &str = "its memory is enough";

const STILL_RUNS: &str = "still runs after it has booted";

/// How long a booted node is left alone before its memory counts as that of a node at rest.
const REST: Duration = Duration::from_secs(2);

/// How many times more a zombie is looked for before it counts, and the pause in between, for its parent.
const ZOMBIE_RETRIES: u32 = 3;
const ZOMBIE_PAUSE: Duration = Duration::from_millis(500);

/// How long the shell of CML's second console may run before it counts as running.
const SHELL_TIME: Duration = Duration::from_secs(10);

/// The node as it is shipped, booted.
pub(super) struct Running {
    node: Node,
    booted: Booted,
    /// Settings of the definition that it runs without.
    left_out: Vec<UnmetNeed>,
}

/// Compares the archive with the definitions. Returns whether they agree.
pub(super) async fn compare(subject: &Subject, rows: &mut Rows) -> Result<bool> {
    let node = subject.node.clone();
    let compared = tokio::task::spawn_blocking(move || identity::compare(&node)).await??;
    let found = joined(compared.contradictions);
    let agree = found.is_none();
    rows.add("archive and definitions agree", found, None);
    if agree && compared.image_definitions == 0 {
        rows.add("archive and image definition agree", None, Some(NOT_COMPARED.to_owned()));
    }
    Ok(agree)
}

/// Boots the node, unless its archive is another's. Nothing, if no further check makes sense: the rows say why.
pub(super) async fn boot(
    testbed: &Testbed<'_>,
    rows: &mut Rows,
    figures: &mut Figures,
    agree: bool,
) -> Result<Option<Running>> {
    rows.restart_clock();
    let mut container = testbed.subject.node.container.clone();
    let UnmetNeeds { missing, left_out } = testbed.lab.check_host(&mut container).await?;
    rows.add("the engine's host has what the node needs", describe(&missing), describe(&left_out));
    if !missing.is_empty() || !agree {
        return Ok(None);
    }
    if let Some(ignored) = joined(container.not_applied()) {
        rows.add(ALL_APPLIED, None, Some(ignored));
    }
    let loaded = testbed.image(&testbed.subject.node.archive)?;
    let interfaces = container.default_interfaces;
    let options = NodeOptions { name: container.id.clone(), ..NodeOptions::default() };
    let started = testbed.lab.run(container, &loaded.image, options, interfaces).await;
    let (unknown, failed): (Vec<_>, Vec<_>) = started.as_ref().err().into_iter().partition(|error| is_unknown(error));
    let [failed, unknown] = [failed, unknown].map(|errors| errors.first().map(|error| format!("{error:#}")));
    rows.add("boots within boot.timeout", failed, unknown);
    figures.image = Some(loaded.size);
    figures.ready = started.as_ref().ok().map(|(_, booted)| booted.time);
    Ok(started.ok().map(|(node, booted)| Running { node, booted, left_out }))
}

/// Whether it is only unknown here whether a node has booted: CML may be able to tell.
fn is_unknown(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Unknown>())
}

/// Examines the booted node, and stops it.
pub(super) async fn examine(
    testbed: &Testbed<'_>,
    rows: &mut Rows,
    figures: &mut Figures,
    running: Running,
) -> Result<()> {
    let (lab, node) = (testbed.lab, &running.node);
    let looked = look(testbed, rows, figures, &running).await;
    if let Err(how) = lab.still_runs(node).await? {
        // What could not be looked at is a consequence.
        rows.add(STILL_RUNS, Some(how), None);
        return lab.engine.remove_container(&node.id).await;
    }
    let memory = looked?;
    rows.add(STILL_RUNS, None, None);
    let stopped = lab.stop(node).await?;
    figures.stop = Some(stopped);
    let (seconds, limit) = (stopped.as_secs_f64(), testbed.subject.stop_seconds.unwrap_or(10.0));
    let late = (seconds > limit).then(|| format!("it took {seconds:.1} s to stop"));
    rows.add(&format!("stops within {limit} s"), late, None);
    match memory {
        MemoryUse::Enough => rows.add(ENOUGH_MEMORY, None, None),
        MemoryUse::Outgrown(why) => rows.add(ENOUGH_MEMORY, Some(why), None),
        // Of a node that has ended, the engine may know that processes were killed.
        MemoryUse::Unknown => {
            let (killed, unknown) = match lab.ran_out_of_memory(node).await? {
                None => (None, Some(NO_LIMIT.to_owned())),
                killed => (killed, None),
            };
            rows.add(ENOUGH_MEMORY, killed, unknown);
        }
    }
    lab.engine.remove_container(&node.id).await
}

/// Examines the node while it runs. Returns whether its memory was enough.
async fn look(testbed: &Testbed<'_>, rows: &mut Rows, figures: &mut Figures, running: &Running) -> Result<MemoryUse> {
    let Running { node, booted, left_out } = running;
    let (lab, config) = (testbed.lab, &node.container.config);
    if let Some(day0) = &booted.day0 {
        rows.add("day0cmd succeeds", day0_problem(node, day0), None);
    }
    rows.add("its interfaces exist", interfaces_problem(lab, node).await?, None);
    let sysctls = testbed.subject.node.container.config.docker.sysctls();
    if !sysctls.is_empty() {
        let Sysctls { wrong, unknown } = read_sysctls(lab, node, &sysctls).await?;
        let unprovable = joined(describe(left_out).into_iter().chain(unknown).collect());
        rows.add("each --sysctl is in effect", wrong, unprovable);
    }
    if let Some(shell) = &config.shell {
        rows.add("the second console's shell runs", shell_problem(lab, node, shell).await, None);
    }
    tokio::time::sleep(REST).await;
    rows.restart_clock();
    if let Some((processes, zombies)) = at_rest(lab, node).await? {
        rows.add(NO_ZOMBIE, zombies_problem(&zombies), None);
        if processes.iter().any(|process| process.command.starts_with("sshd")) {
            rows.add(SSHD_WORKS, audit_problem(&config.docker.caps), None);
        }
        figures.processes = Some(processes.len());
        figures.memory = lab::memory(&processes);
    } else {
        [NO_ZOMBIE, SSHD_WORKS].into_iter().for_each(|check| rows.add(check, None, Some(UNSEEN.to_owned())));
    }
    lab.memory_use(node).await
}

/// The processes of a node at rest, and those among them that stay zombies. Each process is one for a moment after it
/// exits, until its parent waits for it.
async fn at_rest(lab: &Lab<'_>, node: &Node) -> Result<Option<(Vec<Process>, Vec<Process>)>> {
    let Some(mut processes) = lab.processes(node).await? else { return Ok(None) };
    let mut zombies: Vec<Process> = processes.iter().filter(|process| process.state == "Z").cloned().collect();
    let mut retry = Retry::times(ZOMBIE_RETRIES, ZOMBIE_PAUSE);
    while !zombies.is_empty() && retry.pause().await {
        processes = lab.processes(node).await?.unwrap_or_default();
        zombies.retain(|zombie| processes.iter().any(|process| process.state == "Z" && process.id == zombie.id));
    }
    Ok(Some((processes, zombies)))
}

fn describe(needs: &[UnmetNeed]) -> Option<String> {
    joined(needs.iter().map(|need| format!("{}: {}", need.what, need.remedy)).collect())
}

fn joined(lines: Vec<String>) -> Option<String> {
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn day0_problem(node: &Node, day0: &Output) -> Option<String> {
    let output = ui::tail(&day0.text, QUOTED_LINES);
    let hint = if output.contains("Read-only file system") {
        "\na running container cannot change sysctls: /proc/sys is read-only in it. Set them at creation, with \
         `--sysctl` in `run_args`"
    } else {
        ""
    };
    let unwritable = lab::unwritable(&node.container, &day0.text);
    let (code, output) = (day0.code, output.trim_end());
    (code != 0).then(|| format!("it exited with {code} and printed:\n{output}{hint}{unwritable}"))
}

async fn interfaces_problem(lab: &Lab<'_>, node: &Node) -> Result<Option<String>> {
    let Some(text) = read_inside(lab, node, "/proc/net/dev").await? else {
        return Ok(Some(UNREADABLE.to_owned()));
    };
    let there = |name: &str| text.lines().any(|line| line.trim_start().starts_with(&format!("{name}:")));
    let wanted = node.container.interfaces.iter().take(node.container.default_interfaces);
    let missing: Vec<&str> = wanted.map(String::as_str).filter(|name| !there(name)).collect();
    Ok((!missing.is_empty()).then(|| format!("missing: {}", missing.join(", "))))
}

/// What is wrong with the kernel settings of a node, and which cannot be read.
struct Sysctls {
    wrong: Option<String>,
    unknown: Option<String>,
}

async fn read_sysctls(lab: &Lab<'_>, node: &Node, sysctls: &[(String, String)]) -> Result<Sysctls> {
    let checks = sysctls.iter().map(async |(name, wanted)| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        anyhow::Ok(match read_inside(lab, node, &path).await? {
            // Some settings are several numbers, separated by any white space.
            Some(value) if value.split_whitespace().eq(wanted.split_whitespace()) => (None, None),
            Some(value) => (Some(format!("{name} is {}, not {wanted}", value.trim())), None),
            None => (None, Some(format!("{name}: {UNREADABLE}"))),
        })
    });
    let (wrong, unknown): (Vec<_>, Vec<_>) = try_join_all(checks).await?.into_iter().unzip();
    let joined = |lines: Vec<Option<String>>| joined(lines.into_iter().flatten().collect());
    Ok(Sysctls { wrong: joined(wrong), unknown: joined(unknown) })
}

const NOT_COMPARED: &str = "not compared: no image definition beside the archive names it as its `disk_image`, so only \
     the node definition was compared";

const UNSEEN: &str = "the link helper cannot see the node's processes (is /proc of the engine's host mounted with \
     hidepid, or does the engine run in a PID namespace of its own?)";

const NO_LIMIT: &str = "the node cannot show that its memory is limited to `sim.linux_native.ram`: it has no `cat`, \
     or the definition's own arguments set another limit (`--memory`), or the engine (an ordinary user's, without \
     control groups of its own) cannot limit it";

const UNREADABLE: &str = "unknown: the image has no `cat` that could read it in the node";

async fn read_inside(lab: &Lab<'_>, node: &Node, path: &str) -> Result<Option<String>> {
    let read = lab.cat(node, &[path]).await?;
    Ok((read.code == 0).then_some(read.text))
}

/// Without input a shell exits at once.
async fn shell_problem(lab: &Lab<'_>, node: &Node, shell: &str) -> Option<String> {
    let args: Vec<String> = shell.split_whitespace().map(str::to_owned).collect();
    match tokio::time::timeout(SHELL_TIME, lab.exec(node, &args)).await {
        Ok(Ok(output)) if matches!(output.code, 126 | 127) => Some(format!("`{shell}`: {}", output.text.trim())),
        Ok(Ok(_)) | Err(_) => None,
        Ok(Err(error)) => Some(format!("`{shell}` does not run: {error:#}")),
    }
}

/// [docs/cml.md 5, seed]
fn audit_problem(caps: &[String]) -> Option<String> {
    const PROBLEM: &str = "sshd runs in the node, but `docker.caps` does not grant AUDIT_WRITE: every login would \
         fail. Add \"CAP_AUDIT_WRITE\"";
    let is_granted = caps.is_empty() || caps.iter().any(|cap| cap.trim_start_matches("CAP_") == "AUDIT_WRITE");
    (!is_granted).then(|| PROBLEM.to_owned())
}

fn zombies_problem(zombies: &[Process]) -> Option<String> {
    let names: Vec<&str> = zombies.iter().map(|zombie| zombie.command.as_str()).collect();
    (!names.is_empty()).then(|| format!("exited, and never waited for by their parent: {}", names.join(", ")))
}
