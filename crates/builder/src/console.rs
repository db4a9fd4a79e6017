//! What the build machine reports on its console. CML keeps a log of the console: without
//! logging in to a node, nothing else tells what happens in it.
//!
//! `builder/prepare.sh` prints `cml-nodes-builder: BOOT STATUS`. BOOT tells one boot of the machine from another: the
//! log may still contain lines of an earlier boot.

use std::collections::BTreeSet;

use text::printable_line;

const PREFIX: &str = "cml-nodes-builder: ";

/// How far the preparation has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    Preparing,
    /// The step that runs now.
    Step(String),
    /// The step that failed.
    Failed(String),
    /// Everything is done; with the machine's own addresses.
    Ready(Vec<String>),
}

/// One boot, as far as the console shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    pub id: String,
    pub progress: Progress,
}

/// The boots in a log, each with its last report; the newest boot at the end.
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
    let (_, report) = line.split_once(PREFIX)?;
    let mut words = report.split_whitespace();
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

/// A step's name. The kernel may have written into the same line.
fn name(word: &str) -> String {
    printable_line(word).chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_boot_has_its_last_report() {
        let log = "login:\r\ncml-nodes-builder: one preparing\r\ncml-nodes-builder: one ready 192.0.2.7 x fe80::1 \r\n\
                   [  3.1] noisecml-nodes-builder: two step packages\r\nE: no network\n\
                   cml-nodes-builder: two failed packages\n";
        let one = Boot { id: "one".into(), progress: Progress::Ready(vec!["192.0.2.7".into(), "fe80::1".into()]) };
        let two = Boot { id: "two".into(), progress: Progress::Failed("packages".into()) };
        assert_eq!(boots(log), [one, two]);
        assert_eq!(ids(log).len(), 2);
        assert_eq!(boots("cml-nodes-builder: \ncml-nodes-builder: x\ncml-nodes-builder: x dance"), []);
    }
}
