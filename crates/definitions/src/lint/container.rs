//! Containers: what CML's docker-shim and `docker create` do with `config.json` and the files. [docs/cml.md 5]

use std::collections::BTreeSet;

use super::node;
use super::subject::{ImageFile, Surroundings};
use crate::config::{self, CONFIG_JSON, CONFIG_JSON_MISSING, ConfigFile, Reading, config_json, mount_field};
use crate::file_names::{FILE_NAME, wrong_names};
use crate::finding::Example::Node;
use crate::finding::{Finding, MOST_FINDINGS, Rule};
use crate::schema::NodeDefinition;
use crate::schema::node::ConfigurationFile;
use crate::shim_files::{self, SHIM_FILE_LINE, Volume, ignored_lines};
use crate::yaml::{Mark, quoted};

pub(super) static ALL: &[&Rule] = &[
    &CONFIG_JSON_MISSING, &CONFIG_JSON, &CONFIG_JSON_KEY, &ONE_ARGUMENT, &SYSCTL_PLACE, &IPV6_FORWARDING,
    &VRF_UNDECLARED, &SSHD_AUDIT_WRITE, &MOUNT_SOURCE, &MOUNT_TARGET, &FILE_NAME, &HOST_ACCESS, &UNMOUNTED_FILE,
    &SHIM_FILE_LINE,
];

/// The most files that are searched for a similar name.
const MOST_NAMED: usize = 50;

/// Files that the shim itself reads; the last two hold mounts and variables, one per line.
const READ_BY_THE_SHIM: [&str; 3] = [config::NAME, shim_files::MOUNTS, shim_files::ENVIRONMENT];

static CONFIG_JSON_KEY: Rule = Rule::warning(
    "config-json-key",
    "`config.json` has only keys that the docker-shim is known to read",
    "A misspelt key is silently ignored. Known keys are `docker`, `shell`, `day0cmd`, `busybox`, `device_name_map`, \
     `vnc` and `privileged`; below `docker`: `image`, `mounts`, `caps`, `env`, `misc_args`, `run_args`, `name_args` \
     and `extra_args`. These are the keys in published definitions; the shim itself is not published. `run` and \
     `verify` ignore unknown keys too, and say so.",
    Node(config_json!(r#"{"docker": {"image": "tiny:1.0", "cap": ["NET_ADMIN"]}}"#)),
    Node(config_json!(r#"{"docker": {"image": "tiny:1.0", "caps": ["NET_ADMIN"]}}"#)),
);

static ONE_ARGUMENT: Rule = Rule::error(
    "one-argument",
    "Every element of `run_args` and the like is one argument",
    "`docker create` gets each element of `misc_args`, `run_args`, `name_args` and `extra_args` as one argument. A \
     flag and its value in one element fail with `unknown flag`, and the node does not start.",
    Node(config_json!(r#"{"docker": {"run_args": ["--hostname tiny"]}}"#)),
    Node(config_json!(r#"{"docker": {"run_args": ["--hostname", "tiny"]}}"#)),
);

static SYSCTL_PLACE: Rule = Rule::error(
    "sysctl-place",
    "`--sysctl` is in `run_args`",
    "It has been seen to fail in `misc_args`; it works in `run_args`.",
    Node(config_json!(r#"{"docker": {"misc_args": ["--sysctl", "net.ipv4.ip_forward=1"]}}"#)),
    Node(config_json!(r#"{"docker": {"run_args": ["--sysctl", "net.ipv4.ip_forward=1"]}}"#)),
);

static IPV6_FORWARDING: Rule = Rule::warning(
    "ipv6-forwarding",
    "A router forwards IPv6",
    "In a container `/proc/sys` is read-only, so IPv6 forwarding can be enabled only when the container is created: \
     by `--sysctl net.ipv6.conf.all.forwarding=1` in `run_args`. Checked where `general.nature` is `router`. (A \
     router that forwards packets itself, without the kernel, does not need it; silence the rule there.)",
    Node("general:\n  nature: router\n"),
    Node(concat!(
        "general:\n  nature: router\n",
        config_json!(r#"{"docker": {"run_args": ["--sysctl", "net.ipv6.conf.all.forwarding=1"]}}"#)
    )),
);

static VRF_UNDECLARED: Rule = Rule::error(
    "vrf-undeclared",
    "A node that needs VRFs says so",
    "A container with a sysctl `net.vrf.…` does not start on a CML host that has not loaded the `vrf` kernel module, \
     and a stock CML has not. So the description that users see (`general.description` or `ui.description`) must \
     mention VRFs.",
    Node(config_json!(r#"{"docker": {"run_args": ["--sysctl", "net.vrf.strict_mode=1"]}}"#)),
    Node(concat!(
        "ui:\n  description: Tiny with VRFs; the CML host must have loaded the module vrf\n",
        config_json!(r#"{"docker": {"run_args": ["--sysctl", "net.vrf.strict_mode=1"]}}"#)
    )),
);

static SSHD_AUDIT_WRITE: Rule = Rule::error(
    "sshd-audit-write",
    "A container with sshd has the capability AUDIT_WRITE",
    "Without it sshd drops every login. If there is a list `caps`, every capability that is not in it is dropped. \
     The image is taken to contain sshd if a file `sshd_config`, `authorized_keys` or `ssh_host_…` is among the \
     definition's files or, for a node of this repository, in its `rootfs`, or if its Dockerfile contains the word \
     `openssh`. Any other sshd goes unnoticed.",
    Node(concat!(
        config_json!(r#"{"docker": {"caps": ["NET_ADMIN"]}}"#),
        "      - name: authorized_keys\n        editable: false\n"
    )),
    Node(concat!(
        config_json!(r#"{"docker": {"caps": ["AUDIT_WRITE", "NET_ADMIN"]}}"#),
        "      - name: authorized_keys\n        editable: false\n"
    )),
);

static MOUNT_SOURCE: Rule = Rule::error(
    "mount-source",
    "Every mount source is a file of the definition",
    "`type=bind,source=cfg/NAME,target=/path`: `cfg` is `volume_name`, NAME is one of `files`. The container does not \
     start if the file does not exist. Besides files, there may be volumes: `type=volume,source=NAME,target=/path`. \
     Absolute paths are on the host: see `host-access`.",
    Node(concat!(
        config_json!(r#"{"docker": {"mounts": ["type=bind,source=cfg/boot,target=/boot.sh"]}}"#),
        "      - name: boot.sh\n        editable: false\n"
    )),
    Node(concat!(
        config_json!(r#"{"docker": {"mounts": ["type=bind,source=cfg/boot.sh,target=/boot.sh"]}}"#),
        "      - name: boot.sh\n        editable: false\n"
    )),
);

static MOUNT_TARGET: Rule = Rule::error(
    "mount-target",
    "Every mount has an absolute target of its own",
    "`docker create` refuses a mount whose target is missing, relative or `/`, and two mounts at one place.",
    Node(concat!(
        config_json!(r#"{"docker": {"mounts": ["type=bind,source=cfg/boot.sh,target=boot.sh"]}}"#),
        "      - name: boot.sh\n        editable: false\n"
    )),
    Node(concat!(
        config_json!(r#"{"docker": {"mounts": ["type=bind,source=cfg/boot.sh,target=/boot.sh"]}}"#),
        "      - name: boot.sh\n        editable: false\n"
    )),
);

static HOST_ACCESS: Rule = Rule::error(
    "host-access",
    "The node cannot reach the host",
    "The arguments of `docker create` can give a container the host's processes, network, devices and files: on the \
     CML server, and on the machine that tries the node. So each is compared with a list of flags that cannot: \
     limits (`--memory…` up to 1 TiB, `--cpus`, `--pids-limit`, `--ulimit`, `--shm-size` up to 1 GiB, `--log-opt \
     max-size=…`; sizes have the suffix b, k, m, g or none), names and settings of the container's own \
     (`--hostname`, `--env NAME=VALUE`, `--label`, `--user`, `--entrypoint`, `--workdir`, `--dns…`, `--add-host`, \
     `--health-…`, `--stop-…`, `--init`, `--tty`), `--sysctl` of settings that each container has for itself \
     (`net.*`, `fs.mqueue.*`, `kernel.msg*`, `kernel.shm*`, `kernel.sem`), `--cap-drop`, `--read-only`, `--tmpfs` \
     (its size up to 1 GiB), `--network none`, `--security-opt no-new-privileges`, and volumes without a name or a \
     source, which go with the container (`-v /path`, `--mount type=volume,target=/path`). Everything else is an \
     error, also an argument that is not a flag, and a value that Podman would read as a list of several unless \
     each of them is accepted. `caps` and `--cap-add` may have the capabilities, one an element, that Docker grants \
     by default, and IPC_LOCK, IPC_OWNER, NET_ADMIN, NET_BROADCAST, SYS_ADMIN, SYS_NICE, SYS_PTRACE and \
     SYS_RESOURCE, which act on the container's own namespaces. (SYS_ADMIN is there because CML's own nodes need \
     it; what keeps it from the host is AppArmor, SELinux or a rootless engine, so use one of them to try the nodes \
     of strangers.) `mounts` may have files of the definition only, and `env` no name without a value, which would \
     copy a variable of the host. `run` and `verify` refuse such a node even if its manifest silences this rule, \
     except with `--allow-host-access`.",
    Node(config_json!(r#"{"docker": {"run_args": ["--pid", "host", "-v", "/srv:/host"]}}"#)),
    Node(config_json!(r#"{"docker": {"run_args": ["--pids-limit", "100", "-v", "/host"]}}"#)),
);

static UNMOUNTED_FILE: Rule = Rule::warning(
    "unmounted-file",
    "Every editable file is mounted",
    "What a user writes into a file that is not mounted never reaches the container. The shim itself reads \
     `config.json`, `mounts` and `environment`.",
    Node(concat!(
        config_json!(r#"{"docker": {"image": "tiny:1.0"}}"#),
        "      - name: boot.sh\n        editable: true\n"
    )),
    Node(concat!(
        config_json!(r#"{"docker": {"mounts": ["type=bind,source=cfg/boot.sh,target=/boot.sh"]}}"#),
        "      - name: boot.sh\n        editable: true\n"
    )),
);

pub(super) fn judge(definition: &NodeDefinition, around: &Surroundings, findings: &mut Vec<Finding>) {
    if definition.domain_driver() != Some("docker") {
        return;
    }
    findings.extend(wrong_names(definition));
    findings.extend(ignored_lines(definition));
    match ConfigFile::of(definition) {
        Reading::File(file) => {
            findings.extend(file.findings.iter().cloned());
            unknown_keys(&file, findings);
            arguments(&file, findings);
            sysctls(definition, &file, findings);
            sshd(definition, &file, around, findings);
            mounts(definition, &file, findings);
            mount_targets(&file, findings);
            host_access(&file, findings);
        }
        Reading::Wrong(finding) => findings.push(finding),
        Reading::Missing => missing(definition, findings),
        Reading::Undecided => {}
    }
}

fn missing(definition: &NodeDefinition, findings: &mut Vec<Finding>) {
    let path = "configuration.provisioning.files";
    // If a part of this is missing or wrong, that has been reported.
    if findings.iter().any(|finding| finding.is_error() && path.starts_with(&finding.path)) {
        return;
    }
    let at = definition.files().first().map_or(Mark::START, |file| file.at);
    let message = "none of the files is config.json, which tells CML how to create the container";
    findings.push(Finding::new(&CONFIG_JSON_MISSING, at, path, message));
}

fn unknown_keys(file: &ConfigFile, findings: &mut Vec<Finding>) {
    for (steps, known) in file.unknown_keys() {
        if findings.len() >= MOST_FINDINGS {
            return;
        }
        let key = steps.last().copied().unwrap_or_default();
        let message = format!("the docker-shim is not known to read the key {}: it is ignored", quoted(key));
        let finding = file.key_finding(&CONFIG_JSON_KEY, &steps, message);
        findings.push(finding.help(text::near(key, known.iter().copied())));
    }
}

fn arguments(file: &ConfigFile, findings: &mut Vec<Finding>) {
    for (list, elements) in file.config.docker.arguments() {
        for (index, text) in elements.iter().enumerate() {
            let Some((flag, value)) = text.split_once(char::is_whitespace) else { continue };
            if flag.starts_with('-') && !flag.contains('=') && findings.len() < MOST_FINDINGS {
                let message = format!("docker create gets {} as one argument and knows no such flag", quoted(text));
                let help = format!("write two elements: \"{flag}\", \"{}\"", value.trim());
                findings.push(element(file, &ONE_ARGUMENT, list, index, message).help(help));
            }
        }
    }
    for (index, text) in file.config.docker.misc_args.iter().enumerate() {
        let is_sysctl = text == "--sysctl" || text.starts_with("--sysctl=") || text.starts_with("--sysctl ");
        if is_sysctl && findings.len() < MOST_FINDINGS {
            let message = "`--sysctl` is in misc_args, where it has been seen to fail";
            let finding = element(file, &SYSCTL_PLACE, "misc_args", index, message);
            findings.push(finding.help("move it and its value to run_args"));
        }
    }
}

fn host_access(file: &ConfigFile, findings: &mut Vec<Finding>) {
    for access in file.config.host_access() {
        if findings.len() >= MOST_FINDINGS {
            return;
        }
        let steps: Vec<&str> = access.path.iter().map(String::as_str).collect();
        let message = format!("{} {}", quoted(&access.argument), access.reason);
        findings.push(file.finding(&HOST_ACCESS, &steps, message));
    }
}

fn element(file: &ConfigFile, rule: &'static Rule, list: &str, index: usize, message: impl Into<String>) -> Finding {
    file.finding(rule, &["docker", list, &index.to_string()], message)
}

fn sysctls(definition: &NodeDefinition, file: &ConfigFile, findings: &mut Vec<Finding>) {
    let sysctls = file.config.docker.sysctl_elements();
    let forwards = sysctls.iter().any(|sysctl| sysctl.setting.trim() == "net.ipv6.conf.all.forwarding=1");
    if node::nature(definition) == Some("router") && !forwards {
        let finding = file.finding(&IPV6_FORWARDING, &["docker"], "this router does not forward IPv6");
        findings.push(finding.help("add \"--sysctl\", \"net.ipv6.conf.all.forwarding=1\" to run_args"));
    }
    let declared = node::descriptions(definition).any(|text| text.to_lowercase().contains("vrf"));
    for sysctl in sysctls.iter().filter(|sysctl| sysctl.setting.starts_with("net.vrf.") && !declared) {
        if findings.len() < MOST_FINDINGS {
            let setting = quoted(sysctl.setting);
            let message = format!("{setting} needs a host with the module vrf; no description says so");
            let finding = element(file, &VRF_UNDECLARED, sysctl.list, sysctl.index, message);
            findings.push(finding.help("mention VRFs in ui.description"));
        }
    }
}

fn sshd(definition: &NodeDefinition, file: &ConfigFile, around: &Surroundings, findings: &mut Vec<Finding>) {
    let docker = &file.config.docker;
    let granted = docker.caps.iter().any(|cap| {
        let cap = cap.to_ascii_uppercase();
        matches!(cap.strip_prefix("CAP_").unwrap_or(&cap), "AUDIT_WRITE" | "ALL")
    });
    if granted || !file.json["docker"]["caps"].is_array() {
        return;
    }
    if let Some(evidence) = evidence_of_sshd(definition, &docker.mounts, around) {
        let message = format!("sshd is in the image ({evidence}), and drops every login without AUDIT_WRITE");
        findings.push(file.finding(&SSHD_AUDIT_WRITE, &["docker", "caps"], message).help("add \"AUDIT_WRITE\""));
    }
}

fn evidence_of_sshd(definition: &NodeDefinition, mounts: &[String], around: &Surroundings) -> Option<String> {
    let is_of_sshd = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        matches!(name, "sshd" | "sshd_config" | "authorized_keys") || name.starts_with("ssh_host_")
    };
    let names = definition.files().iter().filter_map(|file| Some(file.name.as_ref()?.value.as_str()));
    let targets = mounts.iter().filter_map(|mount| mount_field(mount, &["target", "dst", "destination"]));
    if let Some(name) = names.chain(targets).find(|name| is_of_sshd(name)) {
        return Some(format!("the file {name}"));
    }
    let in_image = |file: &&ImageFile| {
        let is_dockerfile = file.path.starts_with("Dockerfile");
        is_of_sshd(&file.path) || (is_dockerfile && String::from_utf8_lossy(&file.content).contains("openssh"))
    };
    around.image_files.iter().flatten().find(in_image).map(|file| file.path.clone())
}

fn mounts(definition: &NodeDefinition, file: &ConfigFile, findings: &mut Vec<Finding>) {
    let volume = definition.provisioning().and_then(|provisioning| provisioning.volume_name.as_ref());
    let volume = volume.map_or("", |volume| volume.value.as_str());
    let files = definition.files();
    let names: BTreeSet<&str> = files.iter().filter_map(|file| Some(file.name.as_ref()?.value.as_str())).collect();
    // Searching very many names for the nearest takes long and helps nobody.
    let near = |name: &str| text::near(name, names.iter().copied().take(MOST_NAMED));
    let mut mounted = BTreeSet::new();
    for (index, mount) in file.config.docker.mounts.iter().enumerate() {
        let is_checked = |source: &&str| !source.starts_with('/') && !source.contains("{{");
        let kind = mount_field(mount, &["type"]).unwrap_or_default();
        if kind != "bind" && !mount.contains("{{") && findings.len() < MOST_FINDINGS {
            if let Err(why) = Volume::read(mount) {
                let message = format!("{} is neither a file of this definition nor a volume: {why}", quoted(mount));
                findings.push(element(file, &MOUNT_SOURCE, "mounts", index, message));
            }
            continue;
        }
        if findings.len() >= MOST_FINDINGS {
            return;
        }
        let Some(source) = mount_field(mount, &["source", "src"]) else {
            if !mount.contains("{{") {
                let message = format!("the mount {} has no source", quoted(mount));
                findings.push(element(file, &MOUNT_SOURCE, "mounts", index, message));
            }
            continue;
        };
        if !is_checked(&source) {
            continue;
        }
        let name = source.strip_prefix(volume).and_then(|rest| rest.strip_prefix('/'));
        if let Some(name) = name.filter(|name| names.contains(name)) {
            mounted.insert(name);
            continue;
        }
        let message = match name {
            Some(_) => format!("mount source {} is not a file in this definition", quoted(source)),
            None if volume.is_empty() => {
                format!("mount source {} is in no volume: there is no volume_name", quoted(source))
            }
            None => format!("mount source {} is not in the volume {}", quoted(source), quoted(volume)),
        };
        let help = name.map_or_else(|| format!("the definition's files are {volume}/NAME"), near);
        findings.push(element(file, &MOUNT_SOURCE, "mounts", index, message).help(help));
    }
    unmounted(files, volume, &mounted, findings);
}

fn mount_targets(file: &ConfigFile, findings: &mut Vec<Finding>) {
    let mut known = BTreeSet::new();
    for (index, mount) in file.config.docker.mounts.iter().enumerate() {
        // Others are refused as a whole.
        let is_judged = mount_field(mount, &["type"]) == Some("bind") || Volume::read(mount).is_ok();
        if !is_judged || mount.contains("{{") || findings.len() >= MOST_FINDINGS {
            continue;
        }
        let target = mount_field(mount, &["target", "dst", "destination"]);
        let parts: Vec<&str> =
            target.unwrap_or_default().split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let message = match target {
            None => format!("the mount {} has no target", quoted(mount)),
            Some(target) if !target.starts_with('/') => format!("the target {} is not absolute", quoted(target)),
            Some(_) if parts.is_empty() => "the target `/` is the container's whole file system".to_owned(),
            Some(target) if !known.insert(parts) => format!("another mount has the target {}, too", quoted(target)),
            Some(_) => continue,
        };
        findings.push(element(file, &MOUNT_TARGET, "mounts", index, message));
    }
}

fn unmounted(files: &[ConfigurationFile], volume: &str, mounted: &BTreeSet<&str>, findings: &mut Vec<Finding>) {
    for (index, file) in files.iter().enumerate() {
        let (Some(name), Some(editable)) = (&file.name, &file.editable) else { continue };
        let (name, at) = (name.value.as_str(), name.at);
        let reaches_the_container = mounted.contains(name) || READ_BY_THE_SHIM.contains(&name);
        if editable.value && !reaches_the_container && findings.len() < MOST_FINDINGS {
            let message = format!("{} is editable, but not mounted", quoted(name));
            let help = format!("add \"type=bind,source={volume}/{name},target=/PATH\" to docker.mounts");
            let path = format!("configuration.provisioning.files[{index}].name");
            findings.push(Finding::new(&UNMOUNTED_FILE, at, path, message).help(help));
        }
    }
}
