//! Whether a node needs more memory than its definition gives it: `ram` is a limit in CML, and it is one here.

/// What a container sees of its own control group, in version 2 and in version 1: the limit in bytes, and how often the
/// kernel has killed a process because of it. Those of the other version are missing.
/// [Linux: admin-guide/cgroup-v2, cgroup-v1/memory]
pub(super) const COUNTERS: [&str; 4] = [
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
    /// It cannot be read, or the engine could not set the limit.
    Unknown,
}

/// What the files say of a node that gets so many MiB.
pub(super) fn judge(shown: &str, ram: u32) -> MemoryUse {
    match kills(shown, u64::from(ram) * MIB) {
        None => MemoryUse::Unknown,
        Some(0) => MemoryUse::Enough,
        Some(kills) => MemoryUse::Outgrown(format!("processes were killed ({kills}), because {}", used_up(ram))),
    }
}

/// What is wrong with a node of which the engine says that the kernel killed processes.
pub(super) fn outgrown(ram: u32) -> String {
    format!("processes were killed, because {}", used_up(ram))
}

pub(super) fn used_up(ram: u32) -> String {
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
