//! Watches a node's console for the texts that its definition expects of a booted node.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bollard::container::AttachContainerResults;
use futures_util::StreamExt;

use crate::engine::containers::exec::Output;
use definitions::container::Boot;
use definitions::python_regex::Regex;

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
}

/// Why the console is no longer watched.
pub(super) enum WatchEnd {
    Booted,
    /// The container exited.
    Exited,
    TimedOut,
}

/// Reads the console until it shows one of `boot.completed`. Without any, CML takes the node as booted after
/// `boot.timeout`; a node that has exited until then is none.
pub(super) async fn watch(mut console: AttachContainerResults, boot: &Boot) -> Result<(WatchEnd, String)> {
    let is_booted = is_booted(boot)?;
    let (mut shown, end) = (String::new(), Instant::now() + boot.timeout);
    while !is_booted(&shown)? {
        if shown.len() > 2 * KEPT {
            let cut = shown.len() - KEPT;
            let cut = (cut..shown.len()).find(|at| shown.is_char_boundary(*at)).unwrap_or(shown.len());
            shown.drain(..cut);
        }
        let left = end.saturating_duration_since(Instant::now());
        let piece = match tokio::time::timeout(left, console.output.next()).await {
            Err(_) if boot.completed.is_empty() => return Ok((WatchEnd::Booted, shown)),
            Err(_) => return Ok((WatchEnd::TimedOut, shown)),
            Ok(None) => return Ok((WatchEnd::Exited, shown)),
            Ok(Some(piece)) => piece.context("reading the console")?,
        };
        shown.push_str(&String::from_utf8_lossy(&piece.into_bytes()));
    }
    Ok((WatchEnd::Booted, shown))
}

/// Whether the console has shown that the node is booted: never, if `boot.completed` is empty. Fails if only CML's
/// Python can tell.
fn is_booted(boot: &Boot) -> Result<impl Fn(&str) -> Result<bool>> {
    let read = |text: &String| {
        let pattern = Regex::new(text).map_err(|why| anyhow!("`boot.completed`: Python refuses `{text}`: {why}"))?;
        anyhow::Ok((text.clone(), pattern))
    };
    let texts = boot.completed.as_slice();
    let patterns = texts.iter().filter(|_| boot.uses_regex).map(read).collect::<Result<Vec<_>>>()?;
    Ok(move |shown: &str| {
        if patterns.is_empty() {
            return Ok(texts.iter().any(|text| shown.contains(text.as_str())));
        }
        let matches = |(text, pattern): &(String, Regex)| {
            pattern.is_match(shown).with_context(|| {
                format!("`boot.completed`: whether `{text}` matches the console is unknown here, CML may know it")
            })
        };
        // One that matches is enough, whatever the others are.
        let (matched, unknown): (Vec<_>, Vec<_>) = patterns.iter().map(matches).partition(Result::is_ok);
        let is_matched = matched.into_iter().flatten().any(|is_match| is_match);
        if is_matched { Ok(true) } else { unknown.into_iter().next().unwrap_or(Ok(false)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boots(completed: &[&str], uses_regex: bool, shown: &str) -> bool {
        let completed = completed.iter().map(|text| (*text).to_owned()).collect();
        let boot = Boot { timeout: Duration::ZERO, completed, uses_regex };
        is_booted(&boot).unwrap()(shown).unwrap()
    }

    #[test]
    fn a_node_is_booted_when_the_console_shows_the_text() {
        assert!(!boots(&[], false, "READY"), "that takes its time");
        assert!(boots(&["never", "READY"], false, "...\r\nREADY\r\n"));
        assert!(!boots(&["READY."], false, "READY!"));
        assert!(boots(&["READY.$"], true, "READY!"));
        assert!(boots(&["never", r"(?P<name>\w+)(?=# $)"], true, "router# "));
        assert!(boots(&[r"\N{DIGIT ONE}", "READY"], true, "READY"));
    }

    #[test]
    fn what_only_python_can_tell_is_not_guessed() {
        let completed = vec![r"\N{DIGIT ONE}".to_owned()];
        let boot = Boot { timeout: Duration::ZERO, completed, uses_regex: true };
        let error = format!("{:#}", is_booted(&boot).unwrap()("1").unwrap_err());
        assert!(error.contains("is unknown here") && error.contains("only Python has the names"), "{error}");
    }
}
