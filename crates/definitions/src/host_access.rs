//! What a definition asks of `docker create` that could reach the host. Judged by a list of what cannot: a flag that is
//! not on it is reported, so that a new flag of an engine is refused until somebody has thought about it.
//!
//! Arguments are split as Docker's command line does it. [spf13/pflag, `parseLongArg`, `parseSingleShortArg`] Each list
//! is split by itself: what CML's docker-shim writes between two lists is unknown.

use crate::config::{Config, Docker};

/// The most processes that a definition may ask for with `--pids-limit`.
const MOST_PROCESSES: u32 = 16384;

/// The largest log that a definition may ask for with `--log-opt max-size=…`, in megabytes, and how many of them.
const LARGEST_LOG: u32 = 100;
const MOST_LOGS: u32 = 10;

/// The most memory that a definition may ask for, in bytes: as much as the `ram` of a node can be in CML. The largest
/// file system in memory is smaller: where the engine cannot limit memory, a host is lost whose memory such a file
/// system fills, since the kernel cannot free it. [Linux: filesystems/tmpfs] (Cisco's own nodes ask for 512 MiB.)
const MOST_MEMORY: u64 = 1 << 40;
const LARGEST_TMPFS: u64 = 1 << 30;

/// Capabilities whose power ends at the container's own namespaces. [capabilities(7)] SYS_ADMIN is one of them, because
/// CML's own nodes need it (for VRFs, network namespaces and host names), although it is confined only together with
/// AppArmor, SELinux or a user namespace.
const CAPABILITIES: [&str; 22] = [
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "MKNOD", "NET_ADMIN",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN",
    "SYS_CHROOT", "SYS_NICE", "SYS_PTRACE", "SYS_RESOURCE",
];

/// Settings of the kernel that each container has for itself, apart from `net.*`. [docker-run(1), --sysctl]
const SYSCTLS: [&str; 8] = [
    "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shm_rmid_forced", "kernel.shmall",
    "kernel.shmmax", "kernel.shmmni",
];

/// The flags of `docker create` that cannot reach the host with any value, nor with any list of values where Podman
/// reads one; [`check_of`] has the others. [docker-create(1), podman-create(1)]
const HARMLESS: [&str; 29] = [
    "add-host", "attach", "blkio-weight", "cap-drop", "cpu-period", "cpu-quota", "cpu-shares", "cpus", "cpuset-cpus",
    "cpuset-mems", "dns", "dns-opt", "dns-option", "dns-search", "domainname", "entrypoint", "health-cmd",
    "health-interval", "health-retries", "health-start-period", "health-timeout", "hostname", "memory-swappiness",
    "name", "stop-signal", "stop-timeout", "ulimit", "user", "workdir",
];

/// Those that have no value, except `=true` and `=false`.
const WITHOUT_VALUE: [&str; 5] = ["init", "interactive", "no-healthcheck", "read-only", "tty"];

/// Those that can also be given by their first letter.
const WITH_LETTER: [&str; 11] =
    ["attach", "cpu-shares", "env", "hostname", "interactive", "label", "memory", "tty", "user", "volume", "workdir"];

const UNLISTED: &str = "is not among the flags that are known to keep away from the host";

/// Something in `config.json` that could reach the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAccess {
    /// The keys and indices that lead to it.
    pub path: Vec<String>,
    /// The argument, as it could be typed.
    pub argument: String,
    /// What it could reach, or what would be accepted.
    pub reason: String,
}

impl Config {
    /// Everything with which the container could reach the host, key by key.
    pub fn host_access(&self) -> Vec<HostAccess> {
        let privileged = self.privileged.then(|| HostAccess {
            path: vec!["privileged".to_owned()],
            argument: "privileged: true".to_owned(),
            reason: "gives the node every device of the host".to_owned(),
        });
        privileged.into_iter().chain(self.docker.host_access()).collect()
    }
}

impl Docker {
    fn host_access(&self) -> impl Iterator<Item = HostAccess> {
        let judged = |elements: &[String], check: ValueCheck| {
            let judge = |(index, element): (usize, &String)| Some(refusal(index, element, check(element).err()?));
            elements.iter().enumerate().filter_map(judge).collect()
        };
        let others = [
            ("mounts", judged(&self.mounts, bind_mount)),
            ("caps", judged(&self.caps, capability)),
            ("env", judged(&self.env, assignment)),
        ];
        let lists = self.arguments().map(|(list, elements)| (list, refused(elements)));
        others.into_iter().chain(lists).flat_map(|(key, found)| {
            found.into_iter().map(move |mut access| {
                access.path.splice(0..0, ["docker", key].map(str::to_owned));
                access
            })
        })
    }
}

/// An element of a list that is refused. Its path begins in the list.
fn refusal(index: usize, argument: impl Into<String>, reason: String) -> HostAccess {
    HostAccess { path: vec![index.to_string()], argument: argument.into(), reason }
}

/// Splits a list of arguments into flags and values, and judges each. The paths begin in the list.
fn refused(elements: &[String]) -> Vec<HostAccess> {
    let mut refused = Vec::new();
    let mut at = 0;
    while let Some(element) = elements.get(at) {
        let next = elements.get(at + 1).map(String::as_str);
        let (mut took_next, problem) = if let Some(long) = element.strip_prefix("--") {
            judge_long(long, next)
        } else if let Some(short) = element.strip_prefix('-').filter(|short| !short.is_empty()) {
            judge_short(short, next)
        } else {
            (false, Some("is not a flag: `docker create` would take it for the image".to_owned()))
        };
        if let Some(reason) = problem {
            // Whether an unlisted flag takes the next element is unknown. Either way that is not accepted.
            took_next |= next.is_some_and(|next| !next.starts_with('-'));
            let value = next.filter(|_| took_next).map_or_else(String::new, |value| format!(" {value}"));
            refused.push(refusal(at, format!("{element}{value}"), reason));
        }
        at += 1 + usize::from(took_next);
    }
    refused
}

/// Whether a flag takes the next element as its value, and what is wrong with it.
type Judgement = (bool, Option<String>);

fn judge_long(text: &str, next: Option<&str>) -> Judgement {
    match text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value))) {
        // No flag is called like this, so Docker refuses it: the rule `one-argument` explains that.
        (name, _) if name.contains(char::is_whitespace) => (false, None),
        (name, _) if WITHOUT_VALUE.contains(&name) => (false, None),
        (name, value) => judge_value(name, value, next),
    }
}

/// `-it`, `-vVALUE`, `-v=VALUE`, `-itv VALUE`.
fn judge_short(letters: &str, next: Option<&str>) -> Judgement {
    let mut letters = letters.chars();
    while let Some(letter) = letters.next() {
        let rest = letters.as_str();
        let value = rest.strip_prefix('=').filter(|value| !value.is_empty());
        match WITH_LETTER.iter().find(|name| name.starts_with(letter)) {
            None => return (false, Some(UNLISTED.to_owned())),
            Some(name) if !WITHOUT_VALUE.contains(name) => {
                return judge_value(name, value.or(Some(rest)).filter(|value| !value.is_empty()), next);
            }
            // `-t=false`
            Some(_) if value.is_some() => break,
            Some(_) => {}
        }
    }
    (false, None)
}

fn judge_value(flag: &str, own: Option<&str>, next: Option<&str>) -> Judgement {
    match (check_of(flag), own.or(next)) {
        (None, _) => (false, Some(UNLISTED.to_owned())),
        (_, None) => (false, Some("has no value in its list: it would take whatever follows".to_owned())),
        (Some(check), Some(value)) => (own.is_none(), check(value).err()),
    }
}

/// Checks the value of a flag. The error says what would be accepted, or what the value could reach.
type ValueCheck = fn(&str) -> Result<(), String>;

fn check_of(flag: &str) -> Option<ValueCheck> {
    Some(match flag {
        "cap-add" => capability,
        "cgroupns" | "ipc" => |value| accept(value == "private", "shares a namespace; accepted is `private`"),
        "env" => assignment,
        "label" => label,
        "log-opt" => log_option,
        "memory" | "memory-reservation" | "memory-swap" => memory,
        "mount" => mount,
        "network" => no_network,
        "pids-limit" => process_limit,
        "security-opt" => security_option,
        "shm-size" => shared_memory,
        "sysctl" => sysctls,
        "tmpfs" => tmpfs,
        "volume" => volume,
        _ if HARMLESS.contains(&flag) => |_| Ok(()),
        _ => return None,
    })
}

fn accept(is_accepted: bool, reason: impl Into<String>) -> Result<(), String> {
    if is_accepted { Ok(()) } else { Err(reason.into()) }
}

/// Only what is spelled in ASCII: engines take `ſ` for S, and Podman splits at commas and strips quotes.
fn capability(name: &str) -> Result<(), String> {
    let prefix = name.get(..4).filter(|prefix| prefix.eq_ignore_ascii_case("CAP_")).unwrap_or_default();
    let name = name[prefix.len()..].to_ascii_uppercase();
    if CAPABILITIES.contains(&name.as_str()) {
        return Ok(());
    }
    let reason = "is not one of the capabilities whose power ends at the container's own namespaces";
    // More than a typo is another capability: SYS_TIME is not meant to be SYS_NICE.
    let is_typo =
        |known: &&&str| known.len().abs_diff(name.len()) <= 1 && strsim::damerau_levenshtein(known, &name) == 1;
    Err(match CAPABILITIES.iter().find(is_typo) {
        Some(meant) => format!("{reason}: did you mean `{meant}`?"),
        None => reason.to_owned(),
    })
}

/// A variable without a value is copied from the environment of the program that calls `docker create`.
fn assignment(text: &str) -> Result<(), String> {
    accept(text.contains('='), "has no value: it would hand the host's variable to the node. Write NAME=VALUE")
}

fn label(text: &str) -> Result<(), String> {
    accept(
        !text.trim_start().starts_with("cml-nodes."),
        "is one of the labels by which `cargo xtask` knows its own containers",
    )
}

fn no_network(value: &str) -> Result<(), String> {
    accept(value == "none", "connects the node to a network that is not its lab's; accepted is `none`")
}

fn security_option(value: &str) -> Result<(), String> {
    let is_stricter = matches!(value, "no-new-privileges" | "no-new-privileges=true" | "no-new-privileges:true");
    accept(is_stricter, "may weaken what confines the container; accepted is `no-new-privileges`")
}

fn is_within(text: &str, most: u32) -> bool {
    text.parse().is_ok_and(|number: u32| (1..=most).contains(&number))
}

fn process_limit(value: &str) -> Result<(), String> {
    let reason = format!("is not a limit; accepted are 1 to {MOST_PROCESSES} processes");
    accept(is_within(value, MOST_PROCESSES), reason)
}

/// Whether this is a number of bytes as engines read it: with the suffix b, k, m or g, or none.
fn is_size(text: &str, most: u64) -> bool {
    let digits = text.strip_suffix(|unit: char| unit.is_ascii_alphabetic()).unwrap_or(text);
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => return false,
    };
    let size = digits.parse().ok().and_then(|number: u64| number.checked_mul(unit));
    size.is_some_and(|size| (1..=most).contains(&size))
}

fn memory(value: &str) -> Result<(), String> {
    accept(is_size(value, MOST_MEMORY), "is not a limit; accepted are 1b to 1024g (with b, k, m, g or no suffix)")
}

fn shared_memory(value: &str) -> Result<(), String> {
    accept(is_size(value, LARGEST_TMPFS), "may fill the host's memory; accepted are 1b to 1g")
}

/// `PATH:OPTIONS`. What it holds counts as the node's memory. Without a size, the kernel's own limit remains even where
/// the engine cannot limit that: half of the host's memory.
fn tmpfs(value: &str) -> Result<(), String> {
    let options = value.split_once(':').map_or("", |(_, options)| options);
    let is_accepted = |option: &str| match option.split_once('=') {
        Some(("size", size)) => is_size(size, LARGEST_TMPFS),
        Some(("mode" | "uid" | "gid", number)) => number.bytes().all(|b| b.is_ascii_digit()),
        Some(_) => false,
        None => matches!(option, "" | "rw" | "ro" | "exec" | "noexec" | "suid" | "nosuid" | "dev" | "nodev"),
    };
    accept(
        options.split(',').all(is_accepted),
        "may fill the host's memory; accepted are size (1b to 1g), mode, uid, gid, ro, rw, \
         and exec, suid and dev with and without no",
    )
}

fn log_option(value: &str) -> Result<(), String> {
    let has = |size: &str, unit, most| size.strip_suffix(unit).is_some_and(|number| is_within(number, most));
    let is_bounded = match value.split_once('=') {
        Some(("max-file", count)) => is_within(count, MOST_LOGS),
        Some(("max-size", size)) => has(size, 'm', LARGEST_LOG) || has(size, 'k', LARGEST_LOG * 1000),
        _ => false,
    };
    let accepted = format!("accepted are max-size up to {LARGEST_LOG}m and max-file up to {MOST_LOGS}");
    accept(is_bounded, format!("may fill the host's disk or write elsewhere; {accepted}"))
}

/// Docker reads one setting, Podman a list of them as a line of CSV.
fn sysctls(value: &str) -> Result<(), String> {
    accept(is_plain(value), "has a quote or a line break, which engines read differently")?;
    value.split(',').try_for_each(sysctl)
}

fn sysctl(setting: &str) -> Result<(), String> {
    let name = setting.split('=').next().unwrap_or_default();
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    let is_own = name.starts_with("net.") || name.starts_with("fs.mqueue.") || SYSCTLS.contains(&name);
    let reason = "is not a setting that each container has for itself (net.*, fs.mqueue.*, a few of kernel.*)";
    accept(is_plain && is_own, reason)
}

/// A volume of its own, which goes with the container. A name would give it a volume of somebody else's.
fn volume(value: &str) -> Result<(), String> {
    let is_own = value.starts_with('/') && !value.contains(':');
    accept(is_own, "mounts a folder or a volume of the host; accepted is a path in the container alone")
}

fn fields(mount: &str) -> impl Iterator<Item = (&str, &str)> {
    mount.split(',').map(|field| field.split_once('=').unwrap_or((field, "")))
}

/// Whether splitting at commas shows what an engine sees that reads this as a line of CSV.
fn is_plain(text: &str) -> bool {
    !text.contains(['"', '\n', '\r'])
}

/// `--mount`: memory, or a volume of its own.
fn mount(value: &str) -> Result<(), String> {
    let is_accepted = fields(value).all(|(key, value)| match key {
        "type" => matches!(value, "tmpfs" | "volume"),
        "tmpfs-size" => is_size(value, LARGEST_TMPFS),
        _ => matches!(key, "target" | "dst" | "destination" | "readonly" | "ro" | "tmpfs-mode"),
    });
    accept(
        is_plain(value) && is_accepted,
        "may mount a folder or a volume of the host, or fill its memory; accepted are `type=tmpfs` and `type=volume` \
         without a source, and a tmpfs-size of 1b to 1g",
    )
}

/// An element of `mounts`. Its source is a file of the definition: that is checked where it is read.
fn bind_mount(value: &str) -> Result<(), String> {
    let is_source = |key: &str| matches!(key, "source" | "src");
    if fields(value).any(|(key, value)| is_source(key) && (value.starts_with('/') || value.contains(".."))) {
        return Err("mounts a file or folder of the host; accepted are files of the definition".to_owned());
    }
    let is_accepted = fields(value).all(|(key, value)| match key {
        "bind-propagation" => matches!(value, "private" | "rprivate"),
        "type" | "target" | "dst" | "destination" | "readonly" | "ro" | "consistency" => true,
        _ => is_source(key),
    });
    let is_once = |is_meant: fn(&str) -> bool| fields(value).filter(|(key, _)| is_meant(key)).count() <= 1;
    accept(
        is_plain(value) && is_accepted && is_once(|key| key == "type") && is_once(is_source),
        "has fields that may mount something of the host; accepted are type, source, target and readonly, once each",
    )
}

#[cfg(test)]
mod tests;
