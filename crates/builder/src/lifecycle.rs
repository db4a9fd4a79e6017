//! Starting, stopping and deleting the lab of a build machine. Each step looks at the current state and does what is
//! missing, so it can be repeated however it ended.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use retry::Retry;

use crate::console::{self, Boot, Progress};
use crate::lookup::BuildMachine;
use cml::api::labs::{Lab, RunState};
use cml::api::{Controller, Refused};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Lines of the console that an error shows.
const LINES: usize = 20;

/// Where a machine can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub list: Vec<String>,
    /// Reported by the machine itself; the controller's table does not have them.
    pub from_console: bool,
}

/// How long a command waits for the server, from its start.
#[derive(Clone, Copy)]
pub struct Timeout {
    limit: Duration,
    retry: Retry,
}

impl Timeout {
    pub fn new(limit: Duration) -> Self {
        Self { limit, retry: Retry::within(limit, FIRST_PAUSE).growing_to(LONGEST_PAUSE) }
    }
}

/// Starts the lab if it is not running, and waits until its machine reports that it is ready.
/// If it is not ready in time, the error shows the end of its console.
pub async fn start(
    controller: &Controller<'_>,
    lab: &Lab,
    machine: &BuildMachine,
    timeout: Timeout,
) -> Result<Addresses> {
    let log = controller.console_log(&lab.id, &machine.node).await?;
    let before = controller.node_state(&lab.id, &machine.node).await?;
    let fresh = !before.as_ref().is_some_and(RunState::is_running);
    let old = if fresh { console::ids(&log) } else { BTreeSet::new() };
    if fresh && let Err(error) = controller.start_lab(&lab.id).await {
        return Err(explain(controller, error).await);
    }
    let starting = Starting { controller, lab, machine, old, fresh };
    let reported = starting.until_ready(timeout).await.map_err(|error| match error.is::<NotReady>() {
        true => error,
        false => error.context("the lab continues to start; `cargo xtask builder start` waits for it again"),
    })?;
    starting.addresses(reported).await
}

/// The machine did not become ready. The message is complete.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotReady(String);

struct Starting<'a> {
    controller: &'a Controller<'a>,
    lab: &'a Lab,
    machine: &'a BuildMachine,
    /// Boots that were in the console's log before this start.
    old: BTreeSet<String>,
    /// Whether this command started the lab.
    fresh: bool,
}

impl Starting<'_> {
    /// Returns the addresses that the machine reports.
    async fn until_ready(&self, mut timeout: Timeout) -> Result<Vec<String>> {
        let ui = &self.controller.access.ui;
        let bar = ui.spinner(format!("{}: waiting for the build machine", self.controller.address));
        let (mut shown, mut ran) = (String::new(), false);
        loop {
            let state = self.controller.node_state(&self.lab.id, &self.machine.node).await?;
            let log = self.controller.console_log(&self.lab.id, &self.machine.node).await?;
            let boot = console::boots(&log).into_iter().rfind(|boot| !self.old.contains(&boot.id));
            let now = describe(state.as_ref(), boot.as_ref());
            if now != shown {
                bar.set_message(text::printable_line(&now));
                ui.note(format_args!("  {now}"));
                shown = now;
            }
            match boot.map(|boot| boot.progress) {
                Some(Progress::Failed(step)) => return Err(self.not_ready(&failed(&step), &log)),
                // If the machine was running already, the report may be of an earlier boot until this boot is complete.
                Some(Progress::Ready(addresses)) if self.fresh || state == Some(RunState::Booted) => {
                    bar.finish_and_clear();
                    return Ok(addresses);
                }
                _ => {}
            }
            match state {
                None => return Err(self.not_ready("the lab was deleted meanwhile", &log)),
                Some(state) if state.is_running() => ran = true,
                Some(RunState::Stopped | RunState::Defined) if ran => {
                    return Err(self.not_ready("the machine was stopped, or stopped by itself", &log));
                }
                Some(_) => {}
            }
            if !timeout.retry.pause().await {
                let limit = timeout.limit.as_secs();
                let why = format!("the machine was not ready after {limit} s (--wait); its last state: {shown}");
                return Err(self.not_ready(&why, &log));
            }
        }
    }

    fn not_ready(&self, why: &str, log: &str) -> anyhow::Error {
        let shown = match ui::tail(log, LINES) {
            lines if lines.is_empty() => "its console is empty".to_owned(),
            lines => format!("the end of its console:\n{}", lines.trim_end()),
        };
        anyhow::Error::new(NotReady(format!("{}: {why}\n{shown}", self.controller.address)))
    }

    /// The addresses in the controller's table, which may appear late; else those that the machine reported.
    async fn addresses(&self, reported: Vec<String>) -> Result<Addresses> {
        let is_empty = |list: &Result<Vec<String>>| list.as_ref().is_ok_and(Vec::is_empty);
        let ask = async || self.controller.addresses(&self.lab.id, &self.machine.node).await;
        let list = Retry::times(3, FIRST_PAUSE * 3).run_while(is_empty, ask).await?;
        let from_console = list.is_empty();
        Ok(Addresses { list: if from_console { reported } else { list }, from_console })
    }
}

fn failed(step: &str) -> String {
    format!(
        "the machine has booted, but its preparation failed at the step `{step}`\n\
         Each start tries again what is missing: `cargo xtask builder stop`, then `cargo xtask builder start`"
    )
}

/// The machine's state in words.
pub fn describe(state: Option<&RunState>, boot: Option<&Boot>) -> String {
    match (state, boot.map(|boot| &boot.progress)) {
        (None, _) => "deleted".to_owned(),
        (Some(RunState::Queued), None) => "queued".to_owned(),
        (Some(RunState::Booted), None) => "booted; cloud-init is running".to_owned(),
        (Some(state), None) if state.is_running() => "booting".to_owned(),
        (Some(state), None) => state.to_string(),
        (Some(_), Some(Progress::Preparing)) => "preparing".to_owned(),
        (Some(_), Some(Progress::Step(step))) => format!("preparing: {step}"),
        (Some(_), Some(Progress::Failed(step))) => format!("the preparation failed at {step}"),
        (Some(_), Some(Progress::Ready(_))) => "ready".to_owned(),
    }
}

/// Stops the lab if it is running, and waits until it has stopped. Returns whether it was running.
pub async fn stop(controller: &Controller<'_>, lab: &Lab, timeout: Timeout) -> Result<bool> {
    let Some(now) = controller.lab(&lab.id).await? else { return Ok(false) };
    if !now.state.is_running() {
        return Ok(false);
    }
    controller.access.ui.note(format_args!("{}: stopping the lab", controller.address));
    controller.stop_lab(&lab.id).await?;
    wait_until(controller, lab, timeout, |state| !state.is_running()).await.context("the lab does not stop")?;
    Ok(true)
}

/// Stops, wipes and deletes the lab, as far as necessary.
pub async fn delete(controller: &Controller<'_>, lab: &Lab, timeout: Timeout) -> Result<()> {
    stop(controller, lab, timeout).await?;
    let Some(now) = controller.lab(&lab.id).await? else { return Ok(()) };
    if now.state != RunState::Defined {
        controller.access.ui.note(format_args!("{}: wiping the lab", controller.address));
        controller.wipe_lab(&lab.id).await?;
        let is_wiped = |state: &RunState| *state == RunState::Defined;
        wait_until(controller, lab, timeout, is_wiped).await.context("the lab is not wiped")?;
    }
    controller.access.ui.note(format_args!("{}: deleting the lab", controller.address));
    controller.delete_lab(&lab.id).await
}

/// Waits until the lab has reached a state, or no longer exists.
async fn wait_until(
    controller: &Controller<'_>,
    lab: &Lab,
    timeout: Timeout,
    is_reached: impl Fn(&RunState) -> bool,
) -> Result<()> {
    let is_passing = |lab: &Result<Option<Lab>>| matches!(lab, Ok(Some(now)) if !is_reached(&now.state));
    match timeout.retry.run_while(is_passing, async || controller.lab(&lab.id).await).await? {
        Some(now) if !is_reached(&now.state) => {
            bail!("after {} s (--wait) it is still {}", timeout.limit.as_secs(), now.state)
        }
        _ => Ok(()),
    }
}

/// The server's refusal, with advice where its reason is known.
pub async fn explain(controller: &Controller<'_>, error: anyhow::Error) -> anyhow::Error {
    let Some(refused) = error.downcast_ref::<Refused>() else { return error };
    let reason = refused.reason.to_lowercase();
    let mentions = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    let mut advice = Vec::new();
    if mentions(&["licen", "authoriz", "registr"]) {
        let known = controller.licence().await.map(|text| format!(" ({text})")).unwrap_or_default();
        advice.push(format!("check the server's license{known} in its web interface: Tools, Licensing"));
    }
    if mentions(&["limit", "maximum", "exceed", "too many", "insufficient", "not enough"]) {
        let less = "stop or delete other labs, or request less with --cpus, --ram, --disk";
        advice.push(format!("free resources on the server: {less}"));
    }
    if advice.is_empty() {
        return error;
    }
    anyhow!("{error:#}\n{}", text::printable(&advice.join("\n")))
}
