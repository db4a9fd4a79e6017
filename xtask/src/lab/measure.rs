//! A trial run of an image of which nothing is known: what it prints, what it needs, and whether it has a shell.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use crate::lab::boot::QUOTED_LINES;
use crate::lab::waiting;
use crate::lab::{Lab, MemoryUse, Node, NodeOptions, memory};
use definitions::container::Container;

/// How often the node is looked at.
const PAUSE: Duration = Duration::from_millis(250);

/// For how long the console must show nothing new until the node counts as started.
const QUIET: Duration = Duration::from_secs(3);

/// How long a node that never is quiet is looked at.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an image must go on running after all that, so that one which fails soon is no node. With the time before,
/// that is more than the 10 s after which CML takes a node as booted that has no text to wait for.
const LIFE: Duration = Duration::from_secs(8);

/// How long a shell may take to exit, and what it writes to appear on the console.
const SHELL_PATIENCE: Duration = Duration::from_secs(10);

/// Where images have shells, from the most comfortable to the least.
const SHELLS: [&str; 4] = ["/bin/bash", "/bin/sh", "/usr/bin/sh", "/busybox/sh"];

/// What is to be found out.
#[derive(Clone, Debug, Default)]
pub struct Measuring {
    /// How many interfaces the node has.
    pub interfaces: usize,
    /// A text to wait for, and how long.
    pub text: Option<(String, Duration)>,
    /// Whether nothing else needs to be found out of an image without a shell.
    pub needs_shell: bool,
}

/// What a run has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// What the console showed until the image was quiet.
    pub printed: String,
    /// The same at a second start, if the image cannot say READY: what both have in common is no time or number.
    pub printed_again: Option<String>,
    pub shell: Option<&'static str>,
    /// Whether that shell can write to `/dev/console`.
    pub can_say_ready: bool,
    /// The most bytes of memory that its processes had at one time, without the files that they have mapped.
    pub memory: Option<u64>,
    /// How long it took to stop.
    pub stopped: Duration,
}

/// When an image ended that is refused.
const IN_TRIAL: &str = "during the trial run";

/// From which part of the trial's memory on an image counts as one that wants more.
const NEAR_PERCENT: u64 = 90;

fn too_little(node: &Node) -> anyhow::Error {
    let limit = node.container.ram.unwrap_or_default();
    anyhow!("the image wants more memory than the {limit} MiB of the trial run, so how much it needs is not known here")
}

impl Lab<'_> {
    /// Runs a node for a trial. `container` must not wait for a text by itself.
    ///
    /// # Errors
    /// If the node ends by itself, does not print the text, or wants more memory than it gets; with the end of its
    /// console.
    pub async fn measure(&self, container: Container, image: &str, measuring: &Measuring) -> Result<Measured> {
        let options = NodeOptions { name: container.id.clone(), ..NodeOptions::default() };
        let (mut node, _) = self.run(container, image, options, measuring.interfaces).await?;
        let mut measured = Measured::default();
        measured.printed = self.observe(&node, "", measuring.text.as_ref(), &mut measured.memory).await?;
        measured.shell = self.find_shell(&node).await;
        if measuring.needs_shell && measured.shell.is_none() {
            return Ok(measured);
        }
        if let Some(shell) = measured.shell {
            measured.can_say_ready = self.can_say_ready(&node, shell).await?;
        }
        self.watch_life(&node).await?;
        self.check_memory(&node, measured.memory).await?;
        measured.stopped = self.stop(&node).await?;
        if self.engine.ended_out_of_memory(&node.id).await? {
            return Err(too_little(&node));
        }
        if measuring.text.is_none() && !measured.can_say_ready {
            let before = self.engine.console_log(&node.id).await?;
            self.start(&mut node).await?;
            measured.printed_again = Some(self.observe(&node, &before, None, &mut measured.memory).await?);
        }
        self.engine.remove_container(&node.id).await?;
        Ok(measured)
    }

    /// The same as [`Self::watch`]; if it takes long, the terminal shows what is waited for.
    async fn observe(
        &self,
        node: &Node,
        before: &str,
        text: Option<&(String, Duration)>,
        most: &mut Option<u64>,
    ) -> Result<String> {
        let what = match text {
            Some((text, limit)) => format!("`{text}` on its console, at most {} s", limit.as_secs()),
            None => format!("the image to start, at most {} s", PATIENCE.as_secs()),
        };
        waiting::shown(self.ui, what, self.watch(node, before, text, most)).await
    }

    /// Waits until the node has printed the text and prints nothing more. Returns what it printed after `before`.
    async fn watch(
        &self,
        node: &Node,
        before: &str,
        text: Option<&(String, Duration)>,
        most: &mut Option<u64>,
    ) -> Result<String> {
        let (since, mut changed, mut printed) = (Instant::now(), Instant::now(), String::new());
        let mut came = None;
        loop {
            tokio::time::sleep(PAUSE).await;
            let log = self.engine.console_log(&node.id).await?;
            let now = log.strip_prefix(before).unwrap_or(&log);
            if now != printed {
                (printed, changed) = (now.to_owned(), Instant::now());
            }
            if self.engine.process_of(&node.id).await?.is_err() {
                return Err(self.ended(node, &printed, IN_TRIAL).await);
            }
            let processes = self.processes(node).await.ok().flatten().unwrap_or_default();
            *most = (*most).max(memory(&processes).filter(|bytes| *bytes > 0));
            let is_there = text.is_none_or(|(text, _)| printed.contains(text.as_str()));
            let is_quiet = changed.elapsed() > QUIET;
            came = came.or(is_there.then(|| since.elapsed()));
            if let Some((text, limit)) = text {
                in_time(text, *limit, came, since.elapsed(), &printed)?;
            }
            if is_there && (is_quiet || since.elapsed() > PATIENCE) {
                return Ok(printed);
            }
        }
    }

    /// Fails if the image ends while it is watched.
    async fn watch_life(&self, node: &Node) -> Result<()> {
        match self.engine.end_within(LIFE, PAUSE, &node.id).await? {
            Ok(_runs) => Ok(()),
            Err(_exited) => {
                let log = self.engine.console_log(&node.id).await.unwrap_or_default();
                Err(self.ended(node, &log, IN_TRIAL).await)
            }
        }
    }

    /// Fails if the memory of the trial is not enough: then it says nothing of what the image needs.
    async fn check_memory(&self, node: &Node, most: Option<u64>) -> Result<()> {
        let limit = u64::from(node.container.ram.unwrap_or(u32::MAX)) << 20;
        let is_near = most.is_some_and(|bytes| bytes > limit / 100 * NEAR_PERCENT);
        if is_near || matches!(self.memory_use(node).await, Ok(MemoryUse::Outgrown(_))) {
            return Err(too_little(node));
        }
        Ok(())
    }

    /// A shell that the image has, and that runs as its user.
    async fn find_shell(&self, node: &Node) -> Option<&'static str> {
        for shell in SHELLS {
            let args = [shell, "-c", "exit 0"].map(str::to_owned);
            if self.exec_within(SHELL_PATIENCE, node, &args).await.is_ok_and(|output| output.code == 0) {
                return Some(shell);
            }
        }
        None
    }

    /// As `day0cmd` does it.
    async fn can_say_ready(&self, node: &Node, shell: &str) -> Result<bool> {
        // Not READY, which the image may print by itself.
        let mark = format!("mark-{:x}", fastrand::u64(..));
        let args = [shell.to_owned(), "-c".to_owned(), format!("echo {mark} > /dev/console")];
        if !self.exec_within(SHELL_PATIENCE, node, &args).await.is_ok_and(|output| output.code == 0) {
            return Ok(false);
        }
        let since = Instant::now();
        loop {
            let is_shown = self.engine.console_log(&node.id).await?.contains(&mark);
            if is_shown || since.elapsed() > SHELL_PATIENCE {
                return Ok(is_shown);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Fails if the text has not come within the limit: until `now`, since the start, or when it `came`.
fn in_time(text: &str, limit: Duration, came: Option<Duration>, now: Duration, printed: &str) -> Result<()> {
    let seconds = limit.as_secs();
    match came {
        Some(came) if came > limit => {
            bail!("the image printed `{text}` after {}, not within {seconds} s: raise --timeout", text::duration(came))
        }
        None if now > limit => bail!(
            "the image did not print `{text}` within {seconds} s (--timeout); the end of its console:\n{}",
            ui::tail(printed, QUOTED_LINES)
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_came_is_never_said_to_be_missing() {
        let limit = Duration::from_secs(2);
        let ends = |came: Option<u64>, now| {
            let came = came.map(Duration::from_secs);
            in_time("up", limit, came, Duration::from_secs(now), "starting\n").map_err(|error| error.to_string())
        };
        assert_eq!((ends(None, 2), ends(Some(2), 9)), (Ok(()), Ok(())), "what it prints afterwards does not count");
        let missing = ends(None, 3).unwrap_err();
        assert!(missing.contains("did not print `up` within 2 s") && missing.contains("starting"), "{missing}");
        let late = ends(Some(3), 3).unwrap_err();
        assert!(late.contains("printed `up` after 3.0 s") && late.contains("raise --timeout"), "{late}");
    }
}
