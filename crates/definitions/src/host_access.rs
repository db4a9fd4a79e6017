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

/// Capabilities whose power ends at the container's own namespaces: those that Docker grants by default, and those
/// with which CML's own nodes and routers run. SYS_ADMIN is one of them (VRFs, network namespaces and host names need
/// it), although it is confined only together with AppArmor, SELinux or a user namespace.
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

impl HostAccess {
    fn new(path: &[&str], argument: impl Into<String>, reason: impl Into<String>) -> Self {
        let path = path.iter().map(|step| (*step).to_owned()).collect();
        Self { path, argument: argument.into(), reason: reason.into() }
    }
}

impl Config {
    /// Everything with which the container could reach the host, key by key.
    pub fn host_access(&self) -> Vec<HostAccess> {
        let mut found = Vec::new();
        if self.privileged {
            found.push(HostAccess::new(&["privileged"], "privileged: true", "gives the node every device of the host"));
        }
        self.docker.host_access(&mut found);
        found
    }
}

impl Docker {
    fn host_access(&self, found: &mut Vec<HostAccess>) {
        let mut judge_all = |key: &str, elements: &[String], judge: fn(&str) -> Result<(), String>| {
            for (index, element) in elements.iter().enumerate() {
                if let Err(reason) = judge(element) {
                    found.push(HostAccess::new(&["docker", key, &index.to_string()], element, reason));
                }
            }
        };
        judge_all("mounts", &self.mounts, bind_mount);
        judge_all("caps", &self.caps, capability);
        judge_all("env", &self.env, assignment);
        for (list, elements) in self.arguments() {
            for Refused { index, argument, reason } in refused(elements) {
                found.push(HostAccess::new(&["docker", list, &index.to_string()], argument, reason));
            }
        }
    }
}

/// How the value of a flag is judged: what would be accepted, or what the value could reach.
type Judge = fn(&str) -> Result<(), String>;

/// What a flag takes.
#[derive(Clone, Copy)]
enum Takes {
    /// Nothing, or `=true` and `=false`.
    Nothing,
    /// Any value.
    Anything,
    Judged(Judge),
}
use Takes::{Anything, Judged, Nothing};

/// The flags of `docker create` that cannot reach the host. [docker-create(1), podman-create(1)]
const FLAGS: &[(&str, Option<u8>, Takes)] = &[
    ("add-host", None, Anything),
    ("attach", Some(b'a'), Anything),
    ("blkio-weight", None, Anything),
    ("cap-add", None, Judged(capability)),
    ("cap-drop", None, Anything),
    ("cgroupns", None, Judged(private)),
    ("cpu-period", None, Anything),
    ("cpu-quota", None, Anything),
    ("cpu-shares", Some(b'c'), Anything),
    ("cpus", None, Anything),
    ("cpuset-cpus", None, Anything),
    ("cpuset-mems", None, Anything),
    ("dns", None, Anything),
    ("dns-opt", None, Anything),
    ("dns-option", None, Anything),
    ("dns-search", None, Anything),
    ("domainname", None, Anything),
    ("entrypoint", None, Anything),
    ("env", Some(b'e'), Judged(assignment)),
    ("health-cmd", None, Anything),
    ("health-interval", None, Anything),
    ("health-retries", None, Anything),
    ("health-start-period", None, Anything),
    ("health-timeout", None, Anything),
    ("hostname", Some(b'h'), Anything),
    ("init", None, Nothing),
    ("interactive", Some(b'i'), Nothing),
    ("ipc", None, Judged(private)),
    ("label", Some(b'l'), Judged(label)),
    ("log-opt", None, Judged(log_option)),
    ("memory", Some(b'm'), Anything),
    ("memory-reservation", None, Anything),
    ("memory-swap", None, Anything),
    ("memory-swappiness", None, Anything),
    ("mount", None, Judged(mount)),
    ("name", None, Anything),
    ("network", None, Judged(no_network)),
    ("no-healthcheck", None, Nothing),
    ("pids-limit", None, Judged(process_limit)),
    ("read-only", None, Nothing),
    ("security-opt", None, Judged(security_option)),
    ("shm-size", None, Anything),
    ("stop-signal", None, Anything),
    ("stop-timeout", None, Anything),
    ("sysctl", None, Judged(sysctl)),
    ("tmpfs", None, Anything),
    ("tty", Some(b't'), Nothing),
    ("ulimit", None, Anything),
    ("user", Some(b'u'), Anything),
    ("volume", Some(b'v'), Judged(volume)),
    ("workdir", Some(b'w'), Anything),
];

/// An argument that is not certain to keep away from the host.
struct Refused {
    /// Of the element that has the flag.
    index: usize,
    argument: String,
    reason: String,
}

const UNLISTED: &str = "is not among the flags that are known to keep away from the host";

/// Splits a list of arguments into flags and values, and judges each.
fn refused(elements: &[String]) -> Vec<Refused> {
    let mut refused = Vec::new();
    let mut at = 0;
    while let Some(element) = elements.get(at) {
        let next = elements.get(at + 1).map(String::as_str);
        let (mut took_next, problem) = if let Some(long) = element.strip_prefix("--") {
            judge_long(long, next)
        } else if let Some(short) = element.strip_prefix('-').filter(|short| !short.is_empty()) {
            judge_short(short.as_bytes(), next)
        } else {
            (false, Some("is not a flag: `docker create` would take it for the image".to_owned()))
        };
        if let Some(reason) = problem {
            // Whether an unlisted flag takes the next element is unknown. Either way that is not accepted.
            took_next |= next.is_some_and(|next| !next.starts_with('-'));
            let value = next.filter(|_| took_next).map_or_else(String::new, |value| format!(" {value}"));
            refused.push(Refused { index: at, argument: format!("{element}{value}"), reason });
        }
        at += 1 + usize::from(took_next);
    }
    refused
}

/// Whether a flag takes the next element as its value, and what is wrong with it.
type Judgement = (bool, Option<String>);

fn judge_long(text: &str, next: Option<&str>) -> Judgement {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    // No flag is called like this, so Docker refuses it: the rule `one-argument` explains that.
    if name.contains(char::is_whitespace) {
        return (false, None);
    }
    match FLAGS.iter().find(|(long, ..)| *long == name) {
        None => (false, Some(UNLISTED.to_owned())),
        Some((_, _, Nothing)) => (false, None),
        Some((_, _, takes)) => judge_value(*takes, value, next),
    }
}

/// `-it`, `-vVALUE`, `-v=VALUE`, `-itv VALUE`.
fn judge_short(mut letters: &[u8], next: Option<&str>) -> Judgement {
    while let Some((letter, rest)) = letters.split_first() {
        match FLAGS.iter().find(|(_, short, _)| *short == Some(*letter)) {
            None => return (false, Some(UNLISTED.to_owned())),
            // `-t=false`
            Some((_, _, Nothing)) if rest.len() > 1 && rest[0] == b'=' => return (false, None),
            Some((_, _, Nothing)) => letters = rest,
            Some((_, _, takes)) => {
                let value = if rest.len() > 1 { rest.strip_prefix(b"=").unwrap_or(rest) } else { rest };
                let value = String::from_utf8_lossy(value);
                return judge_value(*takes, Some(&*value).filter(|value| !value.is_empty()), next);
            }
        }
    }
    (false, None)
}

fn judge_value(takes: Takes, own: Option<&str>, next: Option<&str>) -> Judgement {
    let Some(value) = own.or(next) else {
        return (false, Some("has no value in its list: it would take whatever follows".to_owned()));
    };
    let problem = if let Judged(judge) = takes { judge(value).err() } else { None };
    (own.is_none(), problem)
}

fn accept(is_accepted: bool, reason: &str) -> Result<(), String> {
    if is_accepted { Ok(()) } else { Err(reason.to_owned()) }
}

fn capability(name: &str) -> Result<(), String> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    // The kernel has no such capability: the engine refuses it, with a message of its own.
    let exists = KERNEL_CAPABILITIES.contains(&bare) || bare == "ALL";
    accept(
        CAPABILITIES.contains(&bare) || !exists,
        "is not among the capabilities whose power ends at the container's own namespaces",
    )
}

/// Those that are not in [`CAPABILITIES`]. [capabilities(7)]
const KERNEL_CAPABILITIES: [&str; 19] = [
    "AUDIT_CONTROL", "AUDIT_READ", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "DAC_READ_SEARCH", "LEASE",
    "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "PERFMON", "SYSLOG", "SYS_BOOT", "SYS_MODULE", "SYS_PACCT",
    "SYS_RAWIO", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
];

/// A variable without a value is copied from the environment of the program that calls `docker create`.
fn assignment(text: &str) -> Result<(), String> {
    accept(text.contains('='), "has no value: it would hand the host's variable to the node. Write NAME=VALUE")
}

fn label(text: &str) -> Result<(), String> {
    accept(!text.starts_with("cml-nodes."), "is one of the labels by which `cargo xtask` knows its own containers")
}

fn private(value: &str) -> Result<(), String> {
    accept(value == "private", "shares a namespace; accepted is `private`")
}

fn no_network(value: &str) -> Result<(), String> {
    accept(value == "none", "connects the node to a network that is not its lab's; accepted is `none`")
}

fn security_option(value: &str) -> Result<(), String> {
    let is_stricter = matches!(value, "no-new-privileges" | "no-new-privileges=true" | "no-new-privileges:true");
    accept(is_stricter, "may weaken what confines the container; accepted is `no-new-privileges`")
}

fn process_limit(value: &str) -> Result<(), String> {
    let is_bounded = value.parse().is_ok_and(|limit: u32| (1..=MOST_PROCESSES).contains(&limit));
    if is_bounded { Ok(()) } else { Err(format!("is not a limit; accepted are 1 to {MOST_PROCESSES} processes")) }
}

fn log_option(value: &str) -> Result<(), String> {
    let at_most = |text: &str, most: u32| text.parse().is_ok_and(|number: u32| (1..=most).contains(&number));
    let is_bounded = match value.split_once('=') {
        Some(("max-file", count)) => at_most(count, MOST_LOGS),
        Some(("max-size", size)) => match size.strip_suffix('m') {
            Some(megabytes) => at_most(megabytes, LARGEST_LOG),
            None => size.strip_suffix('k').is_some_and(|kilobytes| at_most(kilobytes, LARGEST_LOG * 1000)),
        },
        _ => false,
    };
    let accepted = format!("accepted are max-size up to {LARGEST_LOG}m and max-file up to {MOST_LOGS}");
    if is_bounded { Ok(()) } else { Err(format!("may fill the host's disk or write elsewhere; {accepted}")) }
}

fn sysctl(setting: &str) -> Result<(), String> {
    let name = setting.split('=').next().unwrap_or_default();
    let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    let is_own = name.starts_with("net.") || name.starts_with("fs.mqueue.") || SYSCTLS.contains(&name);
    accept(
        is_plain && is_own,
        "is not a setting that each container has for itself (net.*, fs.mqueue.*, a few of kernel.*)",
    )
}

/// A volume of its own, which goes with the container. A name would give it a volume of somebody else's.
fn volume(value: &str) -> Result<(), String> {
    accept(
        value.starts_with('/') && !value.contains(':'),
        "mounts a folder or a volume of the host; accepted is a path in the container alone",
    )
}

fn fields_are_among(value: &str, is_accepted: impl Fn(&str, Option<&str>) -> bool) -> bool {
    // Docker reads the fields as a line of CSV.
    !value.contains(['"', '\n', '\r'])
        && value.split(',').all(|field| match field.split_once('=') {
            Some((key, value)) => is_accepted(key, Some(value)),
            None => is_accepted(field, None),
        })
}

/// `--mount`: memory, or a volume of its own.
fn mount(value: &str) -> Result<(), String> {
    let is_accepted = |key: &str, value: Option<&str>| match key {
        "type" => matches!(value, Some("tmpfs" | "volume")),
        "target" | "dst" | "destination" | "readonly" | "ro" | "tmpfs-size" | "tmpfs-mode" => true,
        _ => false,
    };
    accept(
        fields_are_among(value, is_accepted),
        "may mount a folder or a volume of the host; accepted are `type=tmpfs` and `type=volume` without a source",
    )
}

/// An element of `mounts`. Its source is a file of the definition: that is checked where it is read.
fn bind_mount(value: &str) -> Result<(), String> {
    let (mut types, mut sources) = (0, 0);
    let absolute = |value: Option<&str>| value.is_some_and(|value| value.starts_with('/') || value.contains(".."));
    for field in value.split(',') {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        types += usize::from(key == "type");
        sources += usize::from(matches!(key, "source" | "src"));
        if matches!(key, "source" | "src") && absolute(value) {
            return Err("mounts a file or folder of the host; accepted are files of the definition".to_owned());
        }
    }
    let is_accepted = |key: &str, value: Option<&str>| match key {
        "type" => true,
        "source" | "src" | "target" | "dst" | "destination" | "readonly" | "ro" | "consistency" => true,
        "bind-propagation" => matches!(value, Some("private" | "rprivate")),
        _ => false,
    };
    accept(
        fields_are_among(value, is_accepted) && types <= 1 && sources <= 1,
        "has fields that may mount something of the host; accepted are type, source, target and readonly, once each",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(arguments: &[&str]) -> Vec<String> {
        let elements: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        refused(&elements).into_iter().map(|refused| refused.argument).collect()
    }

    #[test]
    fn what_stays_in_the_container_is_accepted() {
        for arguments in [
            &["--sysctl", "net.ipv6.conf.all.forwarding=1", "--sysctl=kernel.shmmax=1", "--sysctl=fs.mqueue.msg_max=9"]
                [..],
            &["--shm-size=1m", "--memory-swap=2g", "-m", "64m", "-m64m", "--cpus", "1", "--pids-limit=200"],
            &["--ulimit", "nofile=1024", "--tmpfs", "/run:size=1m", "-it", "-ti", "-ith", "r1", "-hr1", "-h=r1"],
            &["-eA=1", "-e", "A=-v", "--env=A=/a:/b", "-l", "a=b", "--read-only", "--tty=false", "-t=false"],
            &["--cap-drop=ALL", "--cap-add", "NET_RAW", "--cap-add=CAP_SYS_ADMIN", "--security-opt=no-new-privileges"],
            &["--network", "none", "-v", "/data", "--mount", "type=tmpfs,target=/t", "--mount=type=volume,dst=/v"],
            &["--log-opt", "max-size=10m", "--log-opt=max-file=2", "--hostname", "--privileged", "--ipc=private"],
        ] {
            assert_eq!(problems(arguments), [""; 0], "{arguments:?}");
        }
    }

    /// Each is refused as a whole.
    const REFUSED: &[&[&str]] = &[
        &["--privileged"],
        &["--privileged=true"],
        &["--pid=host"],
        &["--pid", "host"],
        &["--network", "host"],
        &["--network=host"],
        &["--net=host"],
        &["--net=none"],
        &["--uts=host"],
        &["--ipc", "host"],
        &["--userns=host"],
        &["--cgroupns=host"],
        &["--device=/dev/mem"],
        &["--device-cgroup-rule=a"],
        &["--gpus=all"],
        &["--runtime=other"],
        &["--volumes-from=db"],
        &["--volume=/:/host"],
        &["--volume", "/:/host"],
        &["--volume", "database:/d"],
        &["-v", "/:/host"],
        &["-v=/:/host"],
        &["-v/:/host"],
        &["-itv", "/:/host"],
        &["-itv=/:/host"],
        &["-tiv/:/host"],
        &["-v /:/host"],
        &["--mount", "type=bind,source=/,target=/host"],
        &["--mount=type=volume,source=database,target=/d"],
        &["--mount=type=volume,target=/d,volume-opt=device=/,volume-opt=o=bind"],
        &["--mount=type=volume,target=/d,\"volume-opt=device=/\""],
        &["--mount=TYPE=bind,SRC=/,target=/host"],
        &["--cap-add=ALL"],
        &["--cap-add", "SYS_MODULE"],
        &["--cap-add", "cap_dac_read_search"],
        &["--security-opt", "seccomp=unconfined"],
        &["--security-opt=apparmor=unconfined"],
        &["--security-opt=no-new-privileges=false"],
        &["--sysctl=kernel.core_pattern=|/x"],
        &["--sysctl", "vm.overcommit_memory=1"],
        &["--sysctl", "net./kernel.core_pattern=|/x"],
        &["--env", "VIRL2_PASS"],
        &["-eVIRL2_PASS"],
        &["--env-file=/root/.virlrc"],
        &["--label", "cml-nodes.lab=other"],
        &["--label-file=/etc/shadow"],
        &["--cidfile=/etc/cron.d/x"],
        &["--log-driver=syslog"],
        &["--log-opt=path=/etc/x"],
        &["--log-opt", "max-size=-1"],
        &["--log-opt", "max-size=100g"],
        &["--pids-limit=-1"],
        &["--pids-limit", "0"],
        &["--publish=22:22"],
        &["-p22:22"],
        &["-P"],
        &["--link=db"],
        &["--restart=always"],
        &["--cgroup-parent=/"],
        &["--oom-score-adj=-1000"],
        &["--group-add=keep-groups"],
        &["alpine:latest"],
        &["-"],
        &["--"],
        &["--=x"],
        &["---privileged"],
        &["-é"],
        &["--hostname"],
        &["-v"],
    ];

    #[test]
    fn whatever_could_reach_the_host_is_refused_in_every_spelling() {
        for arguments in REFUSED {
            assert_eq!(problems(arguments), [arguments.join(" ")], "{arguments:?}");
        }
    }

    #[test]
    fn a_value_hides_no_flag() {
        // `--tty` takes no value, so `-v` is a flag; `--hostname` takes one.
        assert_eq!(problems(&["--tty", "-v", "/:/h"]), ["-v /:/h"]);
        assert_eq!(problems(&["--hostname", "-v", "/:/h"]), ["/:/h"]);
        assert_eq!(problems(&["--privileged", "-v", "/:/h"]), ["--privileged", "-v /:/h"]);
        assert_eq!(problems(&["--hostname", "r1", "debian", "--tty"]), ["debian"]);
        // Docker itself refuses both flags and values in one element.
        assert_eq!(problems(&["--hostname r1", "--sysctl net.ipv4.ip_forward=1"]), [""; 0]);
    }

    #[test]
    fn a_flag_of_one_list_takes_no_value_from_the_next() {
        let docker = Docker {
            misc_args: vec!["--hostname".to_owned()],
            run_args: vec!["-v".to_owned(), "/:/host".to_owned()],
            ..Docker::default()
        };
        let found = Config { docker, ..Config::default() }.host_access();
        let arguments: Vec<&str> = found.iter().map(|access| access.argument.as_str()).collect();
        assert_eq!(arguments, ["--hostname", "-v /:/host"]);
        assert_eq!(found[1].path, ["docker", "run_args", "0"]);
    }

    #[test]
    fn the_other_keys_are_judged_too() {
        let config = Config {
            privileged: true,
            docker: Docker {
                mounts: [
                    "type=bind,source=cfg/a,target=/a",
                    "type=bind,source=/etc,target=/e",
                    "type=bind,source=cfg/a,target=/a,SOURCE=/etc",
                    "type=bind,source=cfg/a,\"source=/etc\"",
                    "type=bind,source=cfg/a,target=/a,bind-propagation=shared",
                ]
                .map(str::to_owned)
                .to_vec(),
                caps: ["CAP_NET_RAW", "SYS_RAWIO", "NO_SUCH"].map(str::to_owned).to_vec(),
                env: ["A=1", "VIRL2_PASS"].map(str::to_owned).to_vec(),
                ..Docker::default()
            },
            ..Config::default()
        };
        let paths: Vec<String> = config.host_access().iter().map(|access| access.path.join(".")).collect();
        assert_eq!(
            paths,
            [
                "privileged", "docker.mounts.1", "docker.mounts.2", "docker.mounts.3", "docker.mounts.4",
                "docker.caps.1", "docker.env.1"
            ]
        );
    }
}
