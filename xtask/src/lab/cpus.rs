//! How much of the processors a node gets: `cpus` and `cpu_limit` become `--cpus`, as `ram` becomes `--memory`.
//! [docs/cml.md 5, inferred]

use definitions::container::Container;

/// Prints how many processors the engine's host has, and whether control groups (version 2 or 1) can limit their use.
/// An ordinary user's engine often cannot, and some refuse then to start a container that is to be limited.
/// [Linux: admin-guide/cgroup-v2, scheduler/sched-bwc]
///
/// Errors are left out: the engine may show them before what was printed first.
const SCRIPT: &str =
    "exec 2>/dev/null; nproc; cat /sys/fs/cgroup/cgroup.controllers; ls /sys/fs/cgroup/cpu/cpu.cfs_quota_us; true";

/// The command that shows it, for a container without limits.
pub(super) fn command() -> Vec<String> {
    ["sh", "-c", SCRIPT].map(str::to_owned).to_vec()
}

/// How many processors there are to share; nothing, if their use cannot be limited.
pub(super) fn judge(shown: &str) -> Option<u32> {
    let (count, rest) = shown.split_once('\n')?;
    let can_limit = rest.split_whitespace().any(|word| word == "cpu" || word.ends_with("/cpu.cfs_quota_us"));
    count.trim().parse().ok().filter(|count| *count > 0 && can_limit)
}

/// The argument of `create`. No more than the host has, which Docker would refuse.
pub(super) fn argument(container: &Container, host: Option<u32>) -> Option<String> {
    let arguments = container.config.docker.arguments();
    // Docker refuses two ways of limiting; the definition's own counts.
    let has_own = |text: &String| ["--cpus", "--cpu-quota", "--cpu-period"].iter().any(|flag| text.starts_with(flag));
    if arguments.iter().any(|(_, list)| list.iter().any(has_own)) {
        return None;
    }
    let percent = (container.cpus? * container.cpu_limit.unwrap_or(100)).min(host? * 100);
    Some(format!("--cpus={}.{:02}", percent / 100, percent % 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_limited_is_not() {
        assert_eq!(judge("4\ncpuset cpu io memory pids\n"), Some(4));
        assert_eq!(judge("4\nmemory pids\n"), None);
        assert_eq!(judge("2\n/sys/fs/cgroup/cpu/cpu.cfs_quota_us\n"), Some(2));
        assert_eq!(judge(""), None);
    }

    #[test]
    fn a_node_gets_its_share_but_no_more_than_there_is() {
        let with = |sim: &str, config: &str, host| {
            let text = format!(
                "{{id: t, boot: {{timeout: 1}},
                  sim: {{linux_native: {{libvirt_domain_driver: docker, driver: server, ram: 64{sim}}}}},
                  general: {{nature: server}}, ui: {{label: t, label_prefix: t-, icon: server, visible: true}},
                  device: {{interfaces: {{physical: [eth0], serial_ports: 2, has_loopback_zero: false}}}},
                  configuration: {{generator: {{driver: null}}, provisioning: {{volume_name: cfg, media_type: raw,
                    files: [{{name: config.json, editable: false, content: '{config}'}}]}}}}}}"
            );
            argument(&Container::read(&text, "t").unwrap(), host)
        };
        assert_eq!(with(", cpus: 2, cpu_limit: 75", "{}", Some(4)).as_deref(), Some("--cpus=1.50"));
        assert_eq!(with(", cpus: 128", "{}", Some(2)).as_deref(), Some("--cpus=2.00"));
        assert_eq!(with(", cpus: 1, cpu_limit: 20", "{}", Some(2)).as_deref(), Some("--cpus=0.20"));
        assert_eq!(with("", "{}", Some(2)), None);
        assert_eq!(with(", cpus: 1", "{}", None), None);
        assert_eq!(with(", cpus: 1", r#"{"docker": {"run_args": ["--cpu-quota=5000"]}}"#, Some(2)), None);
    }
}
