//! A trial run of an image of which nothing is known: what it prints, what it needs, and whether it has a shell.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::lab::boot::QUOTED_LINES;
use crate::lab::{Lab, Node, NodeOptions, memory};
use definitions::container::Container;

/// How often the node is looked at.
const PAUSE: Duration = Duration::from_millis(250);

/// For how long the console must show nothing new until the node counts as started.
const QUIET: Duration = Duration::from_secs(3);

/// How long a node that never is quiet is looked at.
const PATIENCE: Duration = Duration::from_secs(20);

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

impl Lab<'_> {
    /// Runs a node for a trial. `container` must not wait for a text by itself.
    ///
    /// # Errors
    /// If the node ends by itself, or does not print the text; with the end of its console.
    pub async fn measure(&self, container: Container, image: &str, measuring: &Measuring) -> Result<Measured> {
        let options = NodeOptions { name: container.id.clone(), ..NodeOptions::default() };
        let (mut node, _) = self.run(container, image, options, measuring.interfaces).await?;
        let mut measured = Measured::default();
        measured.printed = self.observe(&node, "", measuring.text.as_ref(), &mut measured.memory).await?;
        measured.shell = self.find_shell(&node).await;
        if let Some(shell) = measured.shell {
            measured.can_say_ready = self.can_say_ready(&node, shell).await?;
        }
        measured.stopped = self.stop(&node).await?;
        if measuring.text.is_none() && !measured.can_say_ready {
            let before = self.engine.console_log(&node.id).await?;
            self.start(&mut node).await?;
            measured.printed_again = Some(self.observe(&node, &before, None, &mut measured.memory).await?);
        }
        self.engine.remove_container(&node.id).await?;
        Ok(measured)
    }

    /// Waits until the node has printed the text and prints nothing more. Returns what it printed after `before`.
    async fn observe(
        &self,
        node: &Node,
        before: &str,
        text: Option<&(String, Duration)>,
        most: &mut Option<u64>,
    ) -> Result<String> {
        let (since, mut changed, mut printed) = (Instant::now(), Instant::now(), String::new());
        loop {
            tokio::time::sleep(PAUSE).await;
            let log = self.engine.console_log(&node.id).await?;
            let now = log.strip_prefix(before).unwrap_or(&log);
            if now != printed {
                (printed, changed) = (now.to_owned(), Instant::now());
            }
            if self.engine.process_of(&node.id).await?.is_err() {
                return Err(self.ended(node, &printed).await);
            }
            let processes = self.processes(node).await.ok().flatten().unwrap_or_default();
            *most = (*most).max(memory(&processes).filter(|bytes| *bytes > 0));
            let is_there = text.is_none_or(|(text, _)| printed.contains(text.as_str()));
            let is_quiet = changed.elapsed() > QUIET;
            if is_there && (is_quiet || since.elapsed() > PATIENCE) {
                return Ok(printed);
            }
            if let Some((text, limit)) = text.filter(|(_, limit)| since.elapsed() > *limit) {
                bail!(
                    "the image did not print `{text}` within {} s; the end of its console:\n{}",
                    limit.as_secs(),
                    ui::tail(&printed, QUOTED_LINES)
                );
            }
        }
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
