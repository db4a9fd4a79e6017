//! What is proved of every node, whatever its manifest says: it boots as it is shipped, gets what its
//! definition asks for, and stops.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::try_join_all;

use crate::lab::{self, Booted, Node, NodeOptions, Process, QUOTED_LINES, UnmetNeed};
use crate::proof::identity;
use crate::proof::report::{Outcome, Row, VerifyReport};
use crate::proof::subject::Subject;
use crate::proof::testbed::Testbed;
use retry::Retry;

const SCENE: &str = "as shipped";
const NO_ZOMBIE: &str = "no process is a zombie";
const SSHD_WORKS: &str = "sshd can log users in";

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
pub(super) async fn compare(subject: &Subject, report: &mut VerifyReport) -> Result<bool> {
    let (mut rows, node) = (Rows::new(&mut report.rows), subject.node.clone());
    let found = tokio::task::spawn_blocking(move || identity::contradictions(&node)).await??;
    rows.add("archive and definitions agree", found.join("\n"), "");
    Ok(found.is_empty())
}

/// Boots the node, unless its archive is another's. Nothing, if no further check makes sense: the report says why.
pub(super) async fn boot(testbed: &Testbed<'_>, report: &mut VerifyReport, agree: bool) -> Result<Option<Running>> {
    let mut rows = Rows::new(&mut report.rows);
    let mut container = testbed.subject.node.container.clone();
    let unmet = testbed.lab.check_host(&mut container).await?;
    rows.add("the engine's host has what the node needs", describe(&unmet.missing), &describe(&unmet.left_out));
    if !unmet.missing.is_empty() || !agree {
        return Ok(None);
    }
    let loaded = testbed.image(&testbed.subject.node.archive)?;
    let interfaces = container.default_interfaces;
    let options = NodeOptions { name: container.id.clone(), ..NodeOptions::default() };
    let started = testbed.lab.run(container, &loaded.image, options, interfaces).await;
    let problem = started.as_ref().err().map_or_else(String::new, |error| format!("{error:#}"));
    rows.add("boots within boot.timeout", problem, "");
    report.figures.image = Some(loaded.size);
    report.figures.ready = started.as_ref().ok().map(|(_, booted)| booted.time);
    Ok(started.ok().map(|(node, booted)| Running { node, booted, left_out: unmet.left_out }))
}

/// Examines the booted node, and stops it.
pub(super) async fn examine(testbed: &Testbed<'_>, report: &mut VerifyReport, running: Running) -> Result<()> {
    let Running { node, booted, left_out } = &running;
    let (config, mut rows) = (&node.container.config, Rows::new(&mut report.rows));
    if let Some(day0) = &booted.day0 {
        rows.add("day0cmd succeeds", day0_problem(day0.code, &day0.text), "");
    }
    rows.add("its interfaces exist", interfaces_problem(testbed, node).await?, "");
    let sysctls = testbed.subject.node.container.config.docker.sysctls();
    if !sysctls.is_empty() {
        let problem = sysctls_problem(testbed, node, &sysctls).await?;
        rows.add("each --sysctl is in effect", problem, &describe(left_out));
    }
    if let Some(shell) = &config.shell {
        rows.add("the second console's shell runs", shell_problem(testbed, node, shell).await?, "");
    }
    tokio::time::sleep(REST).await;
    rows.restart_clock();
    if let Some((processes, zombies)) = at_rest(testbed, node).await? {
        rows.add(NO_ZOMBIE, zombies_problem(&zombies), "");
        if processes.iter().any(|process| process.command.starts_with("sshd")) {
            rows.add(SSHD_WORKS, audit_problem(&config.docker.caps), "");
        }
        report.figures.processes = Some(processes.len());
        report.figures.memory = lab::memory(&processes);
    } else {
        for check in [NO_ZOMBIE, SSHD_WORKS] {
            rows.add(check, String::new(), UNSEEN);
        }
    }
    let stopped = testbed.lab.stop(node).await?;
    report.figures.stop = Some(stopped);
    let limit = testbed.subject.stop_seconds.unwrap_or(10.0);
    let late = stopped.as_secs_f64() > limit;
    let problem = if late { format!("it took {:.1} s to stop", stopped.as_secs_f64()) } else { String::new() };
    rows.add(&format!("stops within {limit} s"), problem, "");
    testbed.lab.engine.remove_container(node.id()).await
}

/// The processes of a node at rest, and those among them that stay zombies. Each process is one for a moment after it
/// exits, until its parent waits for it.
async fn at_rest(testbed: &Testbed<'_>, node: &Node) -> Result<Option<(Vec<Process>, Vec<Process>)>> {
    let Some(mut processes) = testbed.lab.processes(node).await? else { return Ok(None) };
    let mut zombies: Vec<Process> = processes.iter().filter(|process| process.state == "Z").cloned().collect();
    let mut retry = Retry::times(ZOMBIE_RETRIES, ZOMBIE_PAUSE);
    while !zombies.is_empty() && retry.pause().await {
        processes = testbed.lab.processes(node).await?.unwrap_or_default();
        zombies.retain(|zombie| processes.iter().any(|process| process.state == "Z" && process.id == zombie.id));
    }
    Ok(Some((processes, zombies)))
}

/// The report's rows, to which checks of the node as shipped are added.
struct Rows<'a> {
    rows: &'a mut Vec<Row>,
    since: Instant,
}

impl<'a> Rows<'a> {
    fn new(rows: &'a mut Vec<Row>) -> Self {
        Self { rows, since: Instant::now() }
    }

    /// The next check begins now, not at the end of the one before.
    fn restart_clock(&mut self) {
        self.since = Instant::now();
    }

    /// Adds a check: failed with a problem, else not provable if something is unproved; each may be empty.
    fn add(&mut self, check: &str, problem: String, unproved: &str) {
        let (outcome, message) = match (problem.is_empty(), unproved.is_empty()) {
            (false, _) => (Outcome::Failed, problem),
            (true, false) => (Outcome::NotProvable, unproved.to_owned()),
            (true, true) => (Outcome::Passed, String::new()),
        };
        self.rows.push(Row::new(SCENE, check, outcome, self.since.elapsed(), message));
        self.restart_clock();
    }
}

fn describe(needs: &[UnmetNeed]) -> String {
    needs.iter().map(|need| format!("{}: {}", need.what, need.remedy)).collect::<Vec<_>>().join("\n")
}

fn day0_problem(code: i64, output: &str) -> String {
    if code == 0 {
        return String::new();
    }
    let output = text::tail(output, QUOTED_LINES);
    let hint = if output.contains("Read-only file system") {
        "\na running container cannot change sysctls: /proc/sys is read-only in it. Set them at creation, with \
         `--sysctl` in `run_args`"
    } else {
        ""
    };
    format!("it exited with {code} and printed:\n{}{hint}", output.trim_end())
}

async fn interfaces_problem(testbed: &Testbed<'_>, node: &Node) -> Result<String> {
    let Some(text) = read_inside(testbed, node, "/proc/net/dev").await? else {
        return Ok(UNREADABLE.to_owned());
    };
    let there = |name: &str| text.lines().any(|line| line.trim_start().starts_with(&format!("{name}:")));
    let wanted = node.container.interfaces.iter().take(node.container.default_interfaces);
    let missing: Vec<&str> = wanted.map(String::as_str).filter(|name| !there(name)).collect();
    Ok(if missing.is_empty() { String::new() } else { format!("missing: {}", missing.join(", ")) })
}

async fn sysctls_problem(testbed: &Testbed<'_>, node: &Node, sysctls: &[(String, String)]) -> Result<String> {
    let checks = sysctls.iter().map(async |(name, wanted)| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        anyhow::Ok(match read_inside(testbed, node, &path).await? {
            Some(value) if same_setting(&value, wanted) => None,
            Some(value) => Some(format!("{name} is {}, not {wanted}", value.trim())),
            None => Some(format!("{name}: {UNREADABLE}")),
        })
    });
    let problems: Vec<Option<String>> = try_join_all(checks).await?;
    Ok(problems.into_iter().flatten().collect::<Vec<_>>().join("\n"))
}

const UNSEEN: &str = "the link helper cannot see the node's processes (is /proc of the engine's host mounted with \
     hidepid, or does the engine run in a PID namespace of its own?)";

const UNREADABLE: &str = "unknown: `cat` does not work in the node";

/// Some settings are several numbers, separated by any white space.
fn same_setting(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

async fn read_inside(testbed: &Testbed<'_>, node: &Node, path: &str) -> Result<Option<String>> {
    let read = testbed.lab.exec(node, &["cat".to_owned(), path.to_owned()]).await?;
    Ok((read.code == 0).then_some(read.text))
}

/// Without input a shell exits at once.
async fn shell_problem(testbed: &Testbed<'_>, node: &Node, shell: &str) -> Result<String> {
    let args: Vec<String> = shell.split_whitespace().map(str::to_owned).collect();
    match tokio::time::timeout(SHELL_TIME, testbed.lab.exec(node, &args)).await {
        Ok(Ok(output)) if matches!(output.code, 126 | 127) => Ok(format!("`{shell}`: {}", output.text.trim())),
        Ok(Ok(_)) | Err(_) => Ok(String::new()),
        Ok(Err(error)) => Ok(format!("`{shell}` does not run: {error:#}")),
    }
}

/// [docs/cml.md 5, seed]
fn audit_problem(caps: &[String]) -> String {
    let grants = caps.is_empty() || caps.iter().any(|cap| cap.trim_start_matches("CAP_") == "AUDIT_WRITE");
    if grants {
        return String::new();
    }
    "sshd runs in the node, but `docker.caps` does not grant AUDIT_WRITE: every login would fail. Add \
     \"CAP_AUDIT_WRITE\""
        .to_owned()
}

fn zombies_problem(zombies: &[Process]) -> String {
    let names: Vec<&str> = zombies.iter().map(|zombie| zombie.command.as_str()).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("exited, and never waited for by their parent: {}", names.join(", "))
}
