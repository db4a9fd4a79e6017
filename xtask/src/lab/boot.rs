//! Watches a node's console for the texts that its definition expects of a booted node.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bollard::container::AttachContainerResults;
use futures_util::StreamExt;

use crate::engine::containers::exec::Output;
use definitions::container::Boot;

/// How many lines of a console are quoted.
pub const QUOTED_LINES: usize = 15;

/// How much of the console is kept: enough to find texts that arrive in pieces, and to quote the end.
const KEPT: usize = 1 << 16;

/// What happened until the node was booted.
#[derive(Clone, Debug)]
pub struct Booted {
    /// From `docker create` (at a restart, from the start) to the text on the console.
    pub time: Duration,
    /// What `day0cmd` printed, and how it exited.
    pub day0: Option<Output>,
    pub console: String,
}

/// Why the console is no longer watched.
pub(super) enum WatchEnd {
    Booted,
    /// The container exited.
    Exited,
    TimedOut,
}

/// Reads the console until it shows one of `boot.completed`.
pub(super) async fn watch(mut console: AttachContainerResults, boot: &Boot) -> Result<(WatchEnd, String)> {
    let wanted = Wanted::new(boot)?;
    let (mut shown, end) = (String::new(), Instant::now() + boot.timeout);
    while !wanted.is_in(&shown) {
        if shown.len() > 2 * KEPT {
            let cut = shown.len() - KEPT;
            let cut = (cut..shown.len()).find(|at| shown.is_char_boundary(*at)).unwrap_or(shown.len());
            shown.drain(..cut);
        }
        let left = end.saturating_duration_since(Instant::now());
        let piece = match tokio::time::timeout(left, console.output.next()).await {
            Err(_) => return Ok((WatchEnd::TimedOut, shown)),
            Ok(None) => return Ok((WatchEnd::Exited, shown)),
            Ok(Some(piece)) => piece.context("reading the console")?,
        };
        shown.push_str(&String::from_utf8_lossy(&piece.into_bytes()));
    }
    Ok((WatchEnd::Booted, shown))
}

/// What the console must show. With an empty list, the node is booted as soon as it runs.
enum Wanted<'a> {
    Texts(&'a [String]),
    Patterns(Vec<regex_lite::Regex>),
}

impl<'a> Wanted<'a> {
    fn new(boot: &'a Boot) -> Result<Self> {
        if !boot.uses_regex {
            return Ok(Self::Texts(&boot.completed));
        }
        let read = |text: &String| {
            regex_lite::Regex::new(text)
                .with_context(|| format!("`boot.completed`: `{text}` is not a regular expression"))
        };
        boot.completed.iter().map(read).collect::<Result<_>>().map(Self::Patterns)
    }

    fn is_in(&self, shown: &str) -> bool {
        match self {
            Self::Texts(texts) => texts.is_empty() || texts.iter().any(|text| shown.contains(text.as_str())),
            Self::Patterns(patterns) => patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_match(shown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_booted(completed: &[&str], uses_regex: bool, shown: &str) -> bool {
        let completed = completed.iter().map(|text| (*text).to_owned()).collect();
        let boot = Boot { timeout: Duration::ZERO, completed, uses_regex };
        Wanted::new(&boot).unwrap().is_in(shown)
    }

    #[test]
    fn a_node_is_booted_when_the_console_shows_the_text() {
        assert!(is_booted(&["never", "READY"], false, "...\r\nREADY\r\n"));
        assert!(!is_booted(&["READY."], false, "READY!"));
        assert!(is_booted(&["READY.$"], true, "READY!"));
    }
}
