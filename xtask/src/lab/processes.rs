//! What runs in a node, as the link helper sees it among the processes of the engine's host. Each engine lists
//! processes differently, and not all can count memory.

use anyhow::Result;

use crate::lab::{Lab, Node};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// As the engine's host counts.
    pub id: u32,
    /// `ps`'s letter: `Z` is a zombie.
    pub state: String,
    pub command: String,
    /// Bytes of anonymous memory, with its share of what it has in common with others; a zombie has none.
    pub memory: Option<u64>,
}

/// Prints a line for each process in the PID namespace of the process `$1`: number, state, KiB or `-`, name. It uses
/// shell builtins only: a program for each process of a large host would take seconds. [proc(5): status, smaps_rollup]
const SCRIPT: &str = r#"
for process in /proc/[0-9]*; do
  [ "$process/ns/pid" -ef "/proc/$1/ns/pid" ] || continue
  name= state= memory=-
  while read -r key value rest; do
    case $key in Name:) name=$value ;; State:) state=$value ;; esac
  done < "$process/status"
  while read -r key value rest; do case $key in Pss_Anon:) memory=$value ;; esac; done < "$process/smaps_rollup"
  [ -z "$state" ] || echo "${process##*/} $state $memory $name"
done 2> /dev/null
true"#;

impl Lab<'_> {
    /// The processes of a running node, without those in a PID namespace of their own. Nothing, if the helper cannot
    /// see them.
    pub async fn processes(&self, node: &Node) -> Result<Option<Vec<Process>>> {
        let process = self.engine.process_of(&node.id).await?;
        let process = process.map_err(|code| anyhow::anyhow!("{} has ended, with exit code {code}", node.name))?;
        let args = ["sh", "-c", SCRIPT, "sh", &process.to_string()].map(str::to_owned);
        let seen: Vec<Process> = self.in_helper(&args).await?.text.lines().filter_map(read).collect();
        Ok((!seen.is_empty()).then_some(seen))
    }
}

/// The memory of all of them, if it is known of each.
pub fn memory(processes: &[Process]) -> Option<u64> {
    processes.iter().filter(|process| process.state != "Z").map(|process| process.memory).sum()
}

fn read(line: &str) -> Option<Process> {
    let mut words = line.splitn(4, ' ');
    let (id, state, memory, command) = (words.next()?.parse().ok()?, words.next()?, words.next()?, words.next()?);
    let memory = memory.parse::<u64>().ok().map(|kib| kib * 1024);
    Some(Process { id, state: state.to_owned(), command: command.to_owned(), memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the script prints of this test's own PID namespace.
    fn here() -> Vec<Process> {
        let args = ["-c", SCRIPT, "sh", "self"];
        let printed = duct::cmd("sh", args).read().unwrap();
        printed.lines().filter_map(read).collect()
    }

    #[test]
    fn processes_are_found_with_state_name_and_memory() {
        let child = duct::cmd!("sleep", "30").start().unwrap();
        let found = here();
        let sleep = found.iter().find(|process| process.command == "sleep" && process.memory.is_some());
        child.kill().unwrap();
        let sleep = sleep.unwrap_or_else(|| panic!("no sleep in {found:?}"));
        assert!(["S", "R", "D"].contains(&sleep.state.as_str()), "{sleep:?}");
        assert!(sleep.memory.unwrap() > 0, "{sleep:?}");
    }

    #[test]
    fn a_zombie_counts_as_a_process_without_memory() {
        // Dropped without being waited for until its parent is.
        let parent = duct::cmd!("sh", "-c", "sleep 0 & exec sleep 30").start().unwrap();
        let zombie = || here().into_iter().find(|process| process.state == "Z" && process.command == "sleep");
        let found = (0..200).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            zombie()
        });
        parent.kill().unwrap();
        assert_eq!(found.expect("a zombie").memory, None);
    }

    #[test]
    fn memory_is_a_sum_unless_one_is_unknown() {
        let process = |state: &str, memory| Process { id: 1, state: state.to_owned(), command: String::new(), memory };
        assert_eq!(memory(&[process("S", Some(1)), process("Z", None), process("R", Some(2))]), Some(3));
        assert_eq!(memory(&[process("S", Some(1)), process("S", None)]), None);
    }
}
