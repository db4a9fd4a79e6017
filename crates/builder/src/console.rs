//! What the build machine says about itself on its console. CML keeps a log of that, and it is the only thing that can be
//! known of a node without logging in to it.
//!
//! `builder/prepare.sh` prints `cml-nodes-builder: BOOT what`, where BOOT tells one boot of the machine from another: a
//! log may still hold what an earlier boot said.

use std::collections::BTreeSet;

use text::printable;

const PREFIX: &str = "cml-nodes-builder: ";

/// How far a boot of the machine has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Preparing,
    /// It works on this.
    Step(String),
    /// It gave up at this.
    Failed(String),
    /// All is done; the addresses it has, as it says.
    Ready(Vec<String>),
}

/// One boot, as far as the console tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    pub id: String,
    pub progress: Progress,
}

/// The boots in a log, each with the last that it said; the newest at the end.
pub fn boots(log: &str) -> Vec<Boot> {
    let mut boots: Vec<Boot> = Vec::new();
    for boot in log.split(['\r', '\n']).filter_map(read) {
        boots.retain(|known| known.id != boot.id);
        boots.push(boot);
    }
    boots
}

/// The ids of the boots in a log.
pub fn ids(log: &str) -> BTreeSet<String> {
    boots(log).into_iter().map(|boot| boot.id).collect()
}

fn read(line: &str) -> Option<Boot> {
    let (_, said) = line.split_once(PREFIX)?;
    let mut words = said.split_whitespace();
    let id = words.next()?.to_owned();
    let progress = match words.next()? {
        "preparing" => Progress::Preparing,
        "step" => Progress::Step(name(words.next()?)),
        "failed" => Progress::Failed(name(words.next()?)),
        "ready" => {
            Progress::Ready(words.filter(|word| word.parse::<std::net::IpAddr>().is_ok()).map(str::to_owned).collect())
        }
        _ => return None,
    };
    Some(Boot { id, progress })
}

/// It may be mixed up with what the kernel said at the same time.
fn name(word: &str) -> String {
    printable(word).chars().take(40).collect()
}

/// The last lines of a log, fit for a terminal.
pub fn tail(log: &str, lines: usize) -> Vec<String> {
    let said: Vec<String> = log
        .split(['\r', '\n'])
        .map(without_escapes)
        .map(|line| printable(&line).trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    said[said.len().saturating_sub(lines)..].to_vec()
}

/// A line without the sequences by which a terminal is coloured.
fn without_escapes(line: &str) -> String {
    let mut plain = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter != '\u{1b}' {
            plain.push(letter);
        } else if letters.next() == Some('[') {
            // To its end, which is a letter.
            letters.by_ref().find(char::is_ascii_alphabetic);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_boot_is_known_by_the_last_that_it_said() {
        let log = "login:\r\ncml-nodes-builder: one preparing\r\ncml-nodes-builder: one ready 192.0.2.7 x fe80::1 \r\n\
                   [  3.1] noisecml-nodes-builder: two step packages\r\nE: no network\ncml-nodes-builder: two failed packages\n";
        let one = Boot { id: "one".into(), progress: Progress::Ready(vec!["192.0.2.7".into(), "fe80::1".into()]) };
        let two = Boot { id: "two".into(), progress: Progress::Failed("packages".into()) };
        assert_eq!(boots(log), [one, two]);
        assert_eq!(ids(log).len(), 2);
        assert_eq!(boots("cml-nodes-builder: \ncml-nodes-builder: x\ncml-nodes-builder: x dance"), []);
    }

    #[test]
    fn the_end_of_a_log_does_not_move_the_readers_cursor() {
        let log = "\u{1b}[2Jone\r\n\r\n[\u{1b}[0;32m  OK  \u{1b}[0m] two\u{7}\n";
        assert_eq!(tail(log, 5), ["one", "[  OK  ] two\u{fffd}"]);
        assert_eq!(tail(log, 1).len(), 1);
        assert_eq!(tail("", 3).len(), 0);
    }
}
