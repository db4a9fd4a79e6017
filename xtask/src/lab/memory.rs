//! Whether a node needs more memory than its definition gives it: `ram` is a limit in CML, and it is one here.

use anyhow::Result;

use crate::lab::{Lab, Node};

/// What a container sees of its own control group, in version 2 and in version 1: the limit in bytes, and how often the
/// kernel has killed a process because of it. [Linux: admin-guide/cgroup-v2, cgroup-v1/memory]
const COUNTERS: [&str; 4] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory.events",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/fs/cgroup/memory/memory.oom_control",
];

const MIB: u64 = 1 << 20;

/// Whether the memory of a running node was enough so far.
pub enum MemoryUse {
    Enough,
    /// Processes were killed; the text says it.
    Outgrown(String),
    /// The node cannot say: it has no `cat`, or the engine could not set the limit.
    Unknown,
}

impl Lab<'_> {
    /// What the control group of a running node says.
    pub async fn memory_use(&self, node: &Node) -> Result<MemoryUse> {
        let Some(ram) = node.container.ram else { return Ok(MemoryUse::Unknown) };
        let args = ["cat"].into_iter().chain(COUNTERS).map(str::to_owned).collect::<Vec<_>>();
        // The files of the other version are missing, which is no failure.
        let shown = self.exec(node, &args).await?.text;
        Ok(match kills(&shown, u64::from(ram) * MIB) {
            None => MemoryUse::Unknown,
            Some(0) => MemoryUse::Enough,
            Some(kills) => MemoryUse::Outgrown(format!("processes were killed ({kills}), because {}", used_up(ram))),
        })
    }

    /// Why a node has ended, if that was because of its memory.
    pub(super) async fn ended_outgrown(&self, node: &Node) -> Option<String> {
        let is_out_of_memory = self.engine.ended_out_of_memory(&node.id).await.unwrap_or(false);
        node.container.ram.filter(|_| is_out_of_memory).map(used_up)
    }
}

fn used_up(ram: u32) -> String {
    format!("the node used all of its memory, {ram} MiB (`sim.linux_native.ram`)")
}

/// How often the kernel has killed a process, if this limit is in force.
fn kills(shown: &str, limit: u64) -> Option<u64> {
    let is_in_force = shown.lines().any(|line| line.trim().parse() == Ok(limit));
    let count = || shown.lines().find_map(|line| line.trim().strip_prefix("oom_kill ")?.parse().ok());
    if is_in_force { count() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_are_counted_in_both_versions_of_control_groups() {
        let second = "67108864\nlow 0\nhigh 0\nmax 31\noom 2\noom_kill 2\ncat: can't open '/sys/fs/cgroup/memory'\n";
        assert_eq!(kills(second, 64 * MIB), Some(2));
        let first = "cat: /x: No such file\n67108864\noom_kill_disable 0\nunder_oom 0\noom_kill 0\n";
        assert_eq!(kills(first, 64 * MIB), Some(0));
    }

    #[test]
    fn counters_of_a_group_without_the_limit_are_of_other_processes() {
        let host = "9223372036854771712\noom_kill_disable 0\nunder_oom 0\noom_kill 7\n";
        assert_eq!(kills(host, 64 * MIB), None);
    }
}
