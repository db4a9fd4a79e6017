//! What a node sees of its kernel: as its own `cat` reads it, or, if its image has none, as the link helper reads it
//! from outside.

use anyhow::Result;

use crate::engine::containers::exec::Output;
use crate::lab::{Lab, Node};

/// The exit codes of a program that could not be started.
const NOT_STARTED: [i64; 2] = [126, 127];

impl Lab<'_> {
    /// The content of files of the kernel in a running node, one after the other. The exit code is that of `cat`.
    pub async fn cat(&self, node: &Node, paths: &[&str]) -> Result<Output> {
        let args: Vec<String> = ["cat"].iter().chain(paths).map(|&arg| arg.to_owned()).collect();
        let read = self.exec(node, &args).await;
        if read.as_ref().is_ok_and(|output| !NOT_STARTED.contains(&output.code)) {
            return read;
        }
        let Ok(process) = self.engine.process_of(&node.id).await? else { return read };
        let Some(outside) = paths.iter().map(|path| from_outside(path, process)).collect::<Option<Vec<_>>>() else {
            return read;
        };
        let outside: Vec<String> = std::iter::once("cat".to_owned()).chain(outside).collect();
        self.in_helper(&outside).await
    }
}

/// Where the helper finds a file of a process's kernel view, below `/proc/PID`, where nothing is the node's to choose:
/// in `/proc/PID/root`, a link of the node's could lead the helper to the host's files. The settings of its network
/// cannot be had at all, since a reader always sees its own. [proc(5)]
fn from_outside(path: &str, process: i64) -> Option<String> {
    path.strip_prefix("/proc/net/").map(|rest| format!("/proc/{process}/net/{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_kernel_alone_decides_is_read_from_outside() {
        assert_eq!(from_outside("/proc/net/dev", 7).unwrap(), "/proc/7/net/dev");
        for path in ["/proc/sys/net/ipv4/ip_forward", "/sys/fs/cgroup/memory.max", "/etc/passwd"] {
            assert_eq!(from_outside(path, 7), None, "{path}");
        }
    }
}
