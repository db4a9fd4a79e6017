//! The life of a build machine's lab. Each step looks at what is, and does what is missing; so each can be repeated after
//! whatever ended it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::console::{self, Boot, Progress};
use crate::labs::Own;
use cml::api::labs::{Lab, State};
use cml::api::{Controller, Refused};

/// How long the first look after a change waits; each further one a half more.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Lines of the console that are shown when something is wrong.
const LINES: usize = 20;

/// How often the table of addresses is looked at, once the machine is ready.
const LOOKS_FOR_ADDRESS: u32 = 4;

/// Where a machine can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub list: Vec<String>,
    /// From the machine itself: the controller's table does not have it.
    pub by_itself: bool,
}

/// Until when something is waited for.
#[derive(Clone, Copy)]
pub struct Patience {
    since: Instant,
    limit: Duration,
    pause: Duration,
}

impl Patience {
    pub fn new(limit: Duration) -> Self {
        Self { since: Instant::now(), limit, pause: FIRST_PAUSE }
    }

    /// Waits a little; false if the time is up.
    async fn wait(&mut self) -> bool {
        let left = self.limit.saturating_sub(self.since.elapsed());
        tokio::time::sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        !left.is_zero()
    }
}

/// Starts the lab if it does not run, and waits until its machine says that it is ready.
///
/// # Errors
/// If the controller refuses, or the machine does not get ready in time; then with the end of its console's log.
pub async fn start(controller: &Controller<'_>, lab: &Lab, own: &Own, patience: Patience) -> Result<Addresses> {
    let log = controller.console_log(&lab.id, &own.node).await?;
    let before = controller.node_state(&lab.id, &own.node).await?;
    let fresh = !before.as_ref().is_some_and(State::runs);
    // What earlier boots said does not count.
    let old = if fresh { console::ids(&log) } else { BTreeSet::new() };
    if fresh && let Err(error) = controller.start_lab(&lab.id).await {
        return Err(explain(controller, error).await);
    }
    let waiting = Waiting { controller, lab, own, old, fresh };
    let said = waiting.until_ready(patience).await;
    let said = said.map_err(|error| match error.is::<Unready>() {
        true => error,
        false => error.context("the lab goes on starting by itself; `cargo xtask builder start` waits for it again"),
    })?;
    waiting.addresses(said).await
}

/// The machine did not get ready; all is said.
#[derive(Debug)]
struct Unready(String);

impl std::fmt::Display for Unready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unready {}

struct Waiting<'a> {
    controller: &'a Controller<'a>,
    lab: &'a Lab,
    own: &'a Own,
    /// Boots that the console's log told of before this start.
    old: BTreeSet<String>,
    /// Whether we started it.
    fresh: bool,
}

impl Waiting<'_> {
    /// Yields the addresses that the machine says it has.
    async fn until_ready(&self, mut patience: Patience) -> Result<Vec<String>> {
        let ui = &self.controller.access.ui;
        let bar = ui.spinner(format!("{}: waiting for the build machine", self.controller.address));
        let mut told = String::new();
        let mut ran = false;
        loop {
            let state = self.controller.node_state(&self.lab.id, &self.own.node).await?;
            let log = self.controller.console_log(&self.lab.id, &self.own.node).await?;
            let boot = console::boots(&log).into_iter().rfind(|boot| !self.old.contains(&boot.id));
            let now = story(state.as_ref(), boot.as_ref());
            if now != told {
                bar.set_message(now.clone());
                ui.note(format_args!("  {now}"));
                told = now;
            }
            match boot.map(|boot| boot.progress) {
                Some(Progress::Failed(step)) => return Err(self.unready(&failed(&step), &log)),
                // Of a machine that ran already, a log may tell of an earlier boot as long as this one is young.
                Some(Progress::Ready(addresses)) if self.fresh || state == Some(State::Booted) => {
                    bar.finish_and_clear();
                    return Ok(addresses);
                }
                _ => {}
            }
            match state {
                None => return Err(self.unready("the lab was deleted meanwhile", &log)),
                Some(state) if state.runs() => ran = true,
                Some(State::Stopped | State::Defined) if ran => {
                    return Err(self.unready("the machine was stopped, or stopped by itself", &log));
                }
                Some(_) => {}
            }
            if !patience.wait().await {
                let time = patience.limit.as_secs();
                let why = format!("the machine was not ready after {time} s (--wait); last it was: {told}");
                return Err(self.unready(&why, &log));
            }
        }
    }

    fn unready(&self, why: &str, log: &str) -> anyhow::Error {
        let lines = console::tail(log, LINES);
        let shown = if lines.is_empty() {
            "its console has shown nothing".to_owned()
        } else {
            format!("the end of its console's log:\n  | {}", lines.join("\n  | "))
        };
        anyhow::Error::new(Unready(format!("{}: {why}\n{shown}", self.controller.address)))
    }

    /// What the controller's table says, else what the machine said.
    async fn addresses(&self, said: Vec<String>) -> Result<Addresses> {
        for look in 0..LOOKS_FOR_ADDRESS {
            let list = self.controller.addresses(&self.lab.id, &self.own.node).await?;
            if !list.is_empty() {
                return Ok(Addresses { list, by_itself: false });
            }
            if look + 1 < LOOKS_FOR_ADDRESS {
                tokio::time::sleep(FIRST_PAUSE * 3).await;
            }
        }
        Ok(Addresses { list: said, by_itself: true })
    }
}

fn failed(step: &str) -> String {
    format!(
        "the machine has booted, but could not be prepared: its step `{step}` failed\n\
         Each start tries again what is missing: `cargo xtask builder stop`, then `start`"
    )
}

/// How far it is, for people.
pub fn story(state: Option<&State>, boot: Option<&Boot>) -> String {
    match (state, boot.map(|boot| &boot.progress)) {
        (None, _) => "gone".to_owned(),
        (Some(state), None) if state.runs() => match state {
            State::Queued => "queued".to_owned(),
            State::Booted => "booted; cloud-init is at work".to_owned(),
            _ => "booting".to_owned(),
        },
        (Some(state), None) => state.to_string(),
        (Some(_), Some(Progress::Preparing)) => "preparing".to_owned(),
        (Some(_), Some(Progress::Step(step))) => format!("preparing: {step}"),
        (Some(_), Some(Progress::Failed(step))) => format!("preparing failed at {step}"),
        (Some(_), Some(Progress::Ready(_))) => "ready".to_owned(),
    }
}

/// Stops the lab if it runs, and waits until it has stopped. Yields whether there was something to do.
///
/// # Errors
/// If the controller refuses, or it takes too long.
pub async fn stop(controller: &Controller<'_>, lab: &Lab, patience: Patience) -> Result<bool> {
    let Some(now) = controller.lab(&lab.id).await? else { return Ok(false) };
    if !now.state.runs() {
        return Ok(false);
    }
    controller.access.ui.note(format_args!("{}: stopping the lab", controller.address));
    controller.stop_lab(&lab.id).await?;
    until(controller, lab, patience, |state| !state.runs()).await.context("the lab does not stop")?;
    Ok(true)
}

/// Stops, wipes and deletes the lab, as far as that is not done.
///
/// # Errors
/// As [`stop`].
pub async fn delete(controller: &Controller<'_>, lab: &Lab, patience: Patience) -> Result<()> {
    stop(controller, lab, patience).await?;
    let Some(now) = controller.lab(&lab.id).await? else { return Ok(()) };
    if now.state != State::Defined {
        controller.access.ui.note(format_args!("{}: wiping the lab", controller.address));
        controller.wipe_lab(&lab.id).await?;
        until(controller, lab, patience, |state| *state == State::Defined).await.context("the lab is not wiped")?;
    }
    controller.access.ui.note(format_args!("{}: deleting the lab", controller.address));
    controller.delete_lab(&lab.id).await
}

/// Waits for a state of the lab. If it goes, that is as good.
async fn until(
    controller: &Controller<'_>,
    lab: &Lab,
    mut patience: Patience,
    is_so: impl Fn(&State) -> bool,
) -> Result<()> {
    loop {
        match controller.lab(&lab.id).await? {
            Some(now) if !is_so(&now.state) => {
                if !patience.wait().await {
                    bail!("after {} s (--wait) it is still {}", patience.limit.as_secs(), now.state);
                }
            }
            _ => return Ok(()),
        }
    }
}

/// A refusal with what can be done about it.
pub async fn explain(controller: &Controller<'_>, error: anyhow::Error) -> anyhow::Error {
    let Some(refused) = error.downcast_ref::<Refused>() else { return error };
    let said = refused.said.to_lowercase();
    let speaks_of = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let mut advice = Vec::new();
    if speaks_of(&["licen", "authoriz", "registr"]) {
        let known = controller.licence().await.map(|text| format!(" ({text})")).unwrap_or_default();
        advice.push(format!("see to the server's licence{known}: in its web pages, Tools, Licensing"));
    }
    if speaks_of(&["limit", "maximum", "exceed", "too many", "insufficient", "not enough"]) {
        advice.push(
            "make room on the server: stop or delete labs that are not needed, or ask for less with --cpus, --ram, --disk"
                .to_owned(),
        );
    }
    if advice.is_empty() {
        return error;
    }
    anyhow!("{error:#}\n{}", text::printable(&advice.join("\n")))
}
