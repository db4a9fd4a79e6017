//! What the display of a build can do, and what the steps of a build print.

use std::collections::VecDeque;
use std::time::Duration;

use bollard::models::BuildInfo;

/// After how long without news the display mentions outside of a terminal that the build goes on.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// How many lines are kept in case the step fails.
const KEPT_LINES: usize = 30;
/// The most columns of a step's name outside of a terminal.
const WIDTH: usize = 100;

/// Shows the steps of one build.
pub trait Progress {
    /// Shows what one message of the engine reports.
    fn show(&mut self, message: BuildInfo);

    /// To be called every few seconds. Outside of a terminal, says now and then that a long step is still running.
    fn heartbeat(&mut self);

    /// The step that failed with this error of the engine.
    fn failed(&mut self, error: &str) -> Option<FailedStep>;
}

/// The step that made a build fail.
#[derive(Debug, PartialEq, Eq)]
pub struct FailedStep {
    /// As the engine shows it.
    pub name: String,
    /// The name of its stage, or its number counted from 1, if the engine reports it.
    pub stage: Option<String>,
    /// As the Dockerfile has it.
    pub instruction: String,
    /// The end of its output.
    pub log: Vec<String>,
    /// Whether the log may hold lines of steps that ran at the same time.
    pub is_log_shared: bool,
}

/// The last lines of output.
#[derive(Default)]
pub struct Log {
    lines: VecDeque<String>,
    partial: Vec<u8>,
}

impl Log {
    /// Adds output. Returns the lines that it completes.
    pub fn add(&mut self, bytes: &[u8]) -> Vec<String> {
        self.partial.extend_from_slice(bytes);
        let mut lines = Vec::new();
        while let Some(end) = self.partial.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            lines.push(printable(&String::from_utf8_lossy(&line)));
        }
        lines.iter().for_each(|line| self.keep(line.clone()));
        lines
    }

    fn keep(&mut self, line: String) {
        self.lines.push_back(line);
        if self.lines.len() > KEPT_LINES {
            self.lines.pop_front();
        }
    }

    /// The last line, clipped for one line of output; empty if there is none.
    pub fn last(&self) -> String {
        clip(self.lines.iter().rfind(|line| !line.is_empty()).map_or("", String::as_str))
    }

    /// All that is kept, with a last line that was not ended.
    pub fn take(&mut self) -> Vec<String> {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.keep(printable(&String::from_utf8_lossy(&rest)));
        }
        self.lines.drain(..).collect()
    }
}

/// Output of a build is untrusted: no escape sequence of it reaches the terminal. Of a line that was overwritten, the
/// end counts.
fn printable(text: &str) -> String {
    let last = text.trim_end().rsplit('\r').next().unwrap_or_default();
    text::printable(last)
}

/// A step's name on one line.
pub fn one_line(text: &str) -> String {
    printable(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// No wider than a line outside of a terminal should be.
pub fn clip(text: &str) -> String {
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    text.chars().take(WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_of_a_build_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b]0;title\x07b\n"), "a\u{fffd}]0;title\u{fffd}b");
        assert_eq!(printable("10%\r20%\r\n"), "20%");
    }

    #[test]
    fn output_is_kept_line_by_line_with_the_last_part() {
        let mut log = Log::default();
        assert_eq!(log.add(b"one\ntw"), ["one"]);
        assert_eq!(log.add(b"o\n\nrest"), ["two", ""]);
        assert_eq!(log.last(), "two");
        assert_eq!(log.take(), ["one", "two", "", "rest"]);
    }

    #[test]
    fn long_steps_are_clipped_to_a_line() {
        assert_eq!(clip(&"x".repeat(500)).chars().count(), WIDTH);
        assert_eq!(one_line("RUN a &&     b"), "RUN a && b");
    }
}
