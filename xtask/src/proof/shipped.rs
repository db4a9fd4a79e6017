//! What is proved of every node, whatever its manifest says: it boots as it is shipped, gets what its
//! definition asks for, and stops.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::lab;
use crate::lab::{Asked, Booted, Lack, Node, Process};
use crate::proof::{Outcome, Report, Row, Stage, identity};
use definitions::container::Container;

const SCENE: &str = "as shipped";

/// How long a booted node is left alone before its memory counts as that of a node at rest.
const REST: Duration = Duration::from_secs(2);

/// How often a zombie is looked for before it is one for good, and how long its parent has in between.
const ZOMBIE_LOOKS: u32 = 4;
const ZOMBIE_PAUSE: Duration = Duration::from_millis(500);

/// CML's second console has one process of its own here; no more time than a person would give it.
const SHELL_TIME: Duration = Duration::from_secs(10);

/// The node as it is shipped, and what its boot was like.
pub(super) struct Running {
    node: Node,
    booted: Booted,
    /// Settings of the definition that it runs without.
    left_out: Vec<Lack>,
}

/// Boots the node. Nothing, if it is not fit for more: the report says why.
pub(super) async fn boot(stage: &Stage<'_>, report: &mut Report) -> Result<Option<Running>> {
    let mut rows = Rows(&mut report.rows);
    let node = stage.subject.node.clone();
    let since = Instant::now();
    let examined = async {
        let faults = tokio::task::spawn_blocking(move || identity::faults(&node)).await;
        (faults, since.elapsed())
    };
    // The engine takes the archives while this process reads one.
    let ((faults, examining), ()) = tokio::join!(examined, stage.load_ahead());
    let faults = faults??;
    rows.put_timed("archive and definitions agree", examining, faults.join("\n"));
    let since = Instant::now();
    let mut container = stage.subject.node.container.clone();
    let lacks = stage.lab.fit(&mut container).await?;
    let (missing, left_out) = (told(&lacks.missing), told(&lacks.left_out));
    rows.put_partly("the engine's host has what the node needs", since, missing, &left_out);
    if !lacks.missing.is_empty() || !faults.is_empty() {
        return Ok(None);
    }
    let loaded = stage.image(&stage.subject.node.archive).await?;
    let since = Instant::now();
    let started = start(stage, container, &loaded.image).await;
    let fault = started.as_ref().err().map_or_else(String::new, |error| format!("{error:#}"));
    rows.put("boots within boot.timeout", since, fault);
    report.figures.image = Some(loaded.size);
    report.figures.ready = started.as_ref().ok().map(|(_, booted)| booted.time);
    Ok(started.ok().map(|(node, booted)| Running { node, booted, left_out: lacks.left_out }))
}

async fn start(stage: &Stage<'_>, container: Container, image: &str) -> Result<(Node, Booted)> {
    let interfaces = container.default_interfaces;
    let asked = Asked { name: container.id.clone(), ..Asked::default() };
    let mut node = stage.lab.create(container, image, asked).await?;
    for _ in 0..interfaces {
        stage.lab.add_interface(&mut node, None)?;
    }
    let booted = stage.lab.start(&mut node).await?;
    Ok((node, booted))
}

/// Looks at the booted node, and stops it.
pub(super) async fn look_at(stage: &Stage<'_>, report: &mut Report, running: Running) -> Result<()> {
    let Running { node, booted, left_out } = &running;
    let mut rows = Rows(&mut report.rows);
    let since = Instant::now();
    if let Some(day0) = &booted.day0 {
        rows.put("day0cmd succeeds", since, day0_fault(day0.code, &day0.text));
    }
    let since = Instant::now();
    rows.put("its interfaces are there", since, interfaces_fault(stage, node).await?);
    let since = Instant::now();
    if !stage.subject.node.container.config.docker.sysctls().is_empty() {
        let fault = sysctls_fault(stage, node).await?;
        rows.put_partly("each --sysctl has its value inside", since, fault, &told(left_out));
    }
    let since = Instant::now();
    if let Some(shell) = &node.container.config.shell {
        rows.put("the second console's shell runs", since, shell_fault(stage, node, shell).await?);
    }
    tokio::time::sleep(REST).await;
    let since = Instant::now();
    if let Some((processes, zombies)) = at_rest(stage, node).await? {
        rows.put("no process is a zombie", since, zombies_fault(&zombies));
        if processes.iter().any(|process| process.command.starts_with("sshd")) {
            rows.put("sshd may log people in", since, audit_fault(&node.container.config.docker.caps));
        }
        report.figures.processes = Some(processes.len());
        report.figures.memory = lab::memory(&processes);
    } else {
        for check in ["no process is a zombie", "sshd may log people in"] {
            rows.cannot_be_proved(check, since, UNSEEN);
        }
    }
    let since = Instant::now();
    let stopped = stage.lab.stop(node).await?;
    report.figures.stop = Some(stopped);
    let limit = stage.subject.stop_seconds.unwrap_or(10.0);
    let late = stopped.as_secs_f64() > limit;
    let fault = if late { format!("it took {:.1} s to stop", stopped.as_secs_f64()) } else { String::new() };
    rows.put(&format!("stops within {limit} s"), since, fault);
    stage.lab.engine.remove_container(node.id()).await
}

/// The processes of a node at rest, and those among them that stay zombies. Each process is one for a moment after its
/// end, until its parent looks.
async fn at_rest(stage: &Stage<'_>, node: &Node) -> Result<Option<(Vec<Process>, Vec<Process>)>> {
    let Some(mut processes) = stage.lab.processes(node).await? else { return Ok(None) };
    let mut zombies: Vec<Process> = processes.iter().filter(|process| process.state == "Z").cloned().collect();
    for _ in 1..ZOMBIE_LOOKS {
        if zombies.is_empty() {
            break;
        }
        tokio::time::sleep(ZOMBIE_PAUSE).await;
        processes = stage.lab.processes(node).await?.unwrap_or_default();
        zombies.retain(|zombie| processes.iter().any(|process| process.state == "Z" && process.id == zombie.id));
    }
    Ok(Some((processes, zombies)))
}

/// The table, with a scene's name filled in.
struct Rows<'a>(&'a mut Vec<Row>);

impl Rows<'_> {
    /// An empty `fault` is none.
    fn put(&mut self, check: &str, since: Instant, fault: String) {
        self.put_timed(check, since.elapsed(), fault);
    }

    fn put_timed(&mut self, check: &str, time: Duration, fault: String) {
        let outcome = if fault.is_empty() { Outcome::Passed } else { Outcome::Failed };
        self.add(check, time, outcome, fault);
    }

    /// An empty `unproved` is nothing. Something is, and the rest has no fault: then the whole is not proved.
    fn put_partly(&mut self, check: &str, since: Instant, fault: String, unproved: &str) {
        if fault.is_empty() && !unproved.is_empty() {
            self.cannot_be_proved(check, since, unproved);
        } else {
            self.put(check, since, fault);
        }
    }

    fn cannot_be_proved(&mut self, check: &str, since: Instant, why: &str) {
        self.add(check, since.elapsed(), Outcome::NotProvable, why.to_owned());
    }

    fn add(&mut self, check: &str, time: Duration, outcome: Outcome, said: String) {
        let (scene, check) = (SCENE.to_owned(), check.to_owned());
        self.0.push(Row { scene, check, outcome, time, said });
    }
}

fn told(lacks: &[Lack]) -> String {
    lacks.iter().map(|lack| format!("{}: {}", lack.what, lack.remedy)).collect::<Vec<_>>().join("\n")
}

fn day0_fault(code: i64, said: &str) -> String {
    if code == 0 {
        return String::new();
    }
    let said = crate::lab::tail(said);
    let hint = if said.contains("Read-only file system") {
        "\na running container can't change sysctls: /proc/sys is read-only in it. Set them at creation, with `--sysctl` in `run_args`"
    } else {
        ""
    };
    format!("it exited with {code} and printed:\n{}{hint}", said.trim_end())
}

async fn interfaces_fault(stage: &Stage<'_>, node: &Node) -> Result<String> {
    let Some(text) = read_inside(stage, node, &["/proc/net/dev".to_owned()]).await? else {
        return Ok(UNREADABLE.to_owned());
    };
    let there = |name: &str| text.lines().any(|line| line.trim_start().starts_with(&format!("{name}:")));
    let wanted = node.container.interfaces.iter().take(node.container.default_interfaces);
    let missing: Vec<&str> = wanted.map(String::as_str).filter(|name| !there(name)).collect();
    Ok(if missing.is_empty() { String::new() } else { format!("missing: {}", missing.join(", ")) })
}

async fn sysctls_fault(stage: &Stage<'_>, node: &Node) -> Result<String> {
    let wanted = node.container.config.docker.sysctls();
    if wanted.is_empty() {
        return Ok(String::new());
    }
    // All in one command where that works: each is one line.
    let paths: Vec<String> = wanted.iter().map(|(name, _)| format!("/proc/sys/{}", name.replace('.', "/"))).collect();
    let all = read_inside(stage, node, &paths).await?.unwrap_or_default();
    let lines: Vec<&str> = all.lines().collect();
    let mut faults = Vec::new();
    for (index, ((name, wanted), path)) in wanted.iter().zip(&paths).enumerate() {
        let value = match lines.get(index).filter(|_| lines.len() == paths.len()) {
            Some(line) => Some((*line).to_owned()),
            None => read_inside(stage, node, std::slice::from_ref(path)).await?,
        };
        match value {
            Some(value) if same_setting(&value, wanted) => {}
            Some(value) => faults.push(format!("{name} is {}, not {wanted}", value.trim())),
            None => faults.push(format!("{name}: {UNREADABLE}")),
        }
    }
    Ok(faults.join("\n"))
}

const UNSEEN: &str = "the engine does not let the link helper see the node's processes (is /proc of its host mounted with hidepid, or does \
     the engine run in a PID namespace of its own?)";

const UNREADABLE: &str = "it can't be read: `cat` does not work in the node";

/// Some settings are several numbers, with any blanks between them.
fn same_setting(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

async fn read_inside(stage: &Stage<'_>, node: &Node, paths: &[String]) -> Result<Option<String>> {
    let words: Vec<String> = std::iter::once("cat".to_owned()).chain(paths.iter().cloned()).collect();
    let read = stage.lab.exec(node, &words).await?;
    Ok((read.code == 0).then_some(read.text))
}

/// Without input a shell ends at once.
async fn shell_fault(stage: &Stage<'_>, node: &Node, shell: &str) -> Result<String> {
    let words: Vec<String> = shell.split_whitespace().map(str::to_owned).collect();
    match tokio::time::timeout(SHELL_TIME, stage.lab.exec(node, &words)).await {
        Ok(Ok(output)) if matches!(output.code, 126 | 127) => Ok(format!("`{shell}`: {}", output.text.trim())),
        Ok(Ok(_)) | Err(_) => Ok(String::new()),
        Ok(Err(error)) => Ok(format!("`{shell}` does not run: {error:#}")),
    }
}

/// [docs/cml.md 5, seed]
fn audit_fault(caps: &[String]) -> String {
    let grants = caps.is_empty() || caps.iter().any(|cap| cap.trim_start_matches("CAP_") == "AUDIT_WRITE");
    if grants {
        return String::new();
    }
    "sshd runs in the node, but `docker.caps` does not grant AUDIT_WRITE: every login would fail. Add \"CAP_AUDIT_WRITE\"".to_owned()
}

fn zombies_fault(zombies: &[Process]) -> String {
    let names: Vec<&str> = zombies.iter().map(|zombie| zombie.command.as_str()).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("ended, and never waited for by the process that started it: {}", names.join(", "))
}
