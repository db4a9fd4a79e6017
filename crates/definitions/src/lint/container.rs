//! Containers: what CML's docker-shim and `docker create` make of `config.json` and the files. [docs/cml.md 5]

use std::collections::BTreeSet;

use super::config::{self, Config, Reading};
use super::{Surroundings, node};
use crate::finding::{Example, Finding, MOST_FINDINGS, Rule, Severity};
use crate::schema::NodeDefinition;
use crate::schema::node::Provisioning;
use crate::yaml::{Node, quoted};

pub(super) static ALL: &[&Rule] = &[
    &CONFIG_JSON_MISSING,
    &CONFIG_JSON,
    &CONFIG_JSON_KEY,
    &ONE_ARGUMENT,
    &SYSCTL_PLACE,
    &IPV6_FORWARDING,
    &VRF_UNDECLARED,
    &SSHD_AUDIT_WRITE,
    &MOUNT_SOURCE,
    &UNMOUNTED_FILE,
];

/// The lists whose elements go to `docker create` as they stand.
const ARGUMENTS: [&str; 4] = ["misc_args", "run_args", "name_args", "extra_args"];

const CONFIG_KEYS: &[&str] = &["docker", "shell", "day0cmd", "busybox", "device_name_map", "vnc", "privileged"];

const DOCKER_KEYS: &[&str] = &["image", "mounts", "caps", "env", "misc_args", "run_args", "name_args", "extra_args"];

/// The most files that are listed in a message, or searched for a similar name.
const MOST_NAMED: usize = 50;

/// Files that the shim reads itself: further mounts and variables, one a line.
const READ_BY_THE_SHIM: [&str; 3] = [config::NAME, "mounts", "environment"];

static CONFIG_JSON_MISSING: Rule = Rule {
    id: "config-json-missing",
    severity: Severity::Error,
    title: "A container's definition has a file `config.json`",
    why: "CML's docker-shim creates the container by what stands in `config.json`, one of the files under `configuration.provisioning.files`.",
    failing: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: notes.txt\n        editable: false\n        content: hello\n",
    ),
    mended: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"image\": \"tiny:1.0\"}}\n",
    ),
};

static CONFIG_JSON: Rule = Rule {
    id: "config-json",
    severity: Severity::Error,
    title: "`config.json` is JSON",
    why: "The docker-shim refuses what is not JSON, and the node does not start. Go template actions such as `{{ dev (index .Devices 0).DeviceName }}` \
          are allowed; where they decide what is written at all (`range`, `if`), the result can't be known and nothing is said.",
    failing: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"image\": \"tiny:1.0\",}}\n",
    ),
    mended: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"image\": \"tiny:1.0\"}}\n",
    ),
};

static CONFIG_JSON_KEY: Rule = Rule {
    id: "config-json-key",
    severity: Severity::Warning,
    title: "`config.json` has only keys that the docker-shim is known to read",
    why: "A misspelt key does nothing, silently. Known are `docker`, `shell`, `day0cmd`, `busybox`, `device_name_map`, `vnc` and `privileged`; below `docker` \
          are `image`, `mounts`, `caps`, `env`, `misc_args`, `run_args`, `name_args` and `extra_args`. They are those that published \
          definitions use; the shim itself is not published.",
    failing: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"image\": \"tiny:1.0\", \"cap\": [\"NET_ADMIN\"]}}\n",
    ),
    mended: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"image\": \"tiny:1.0\", \"caps\": [\"NET_ADMIN\"]}}\n",
    ),
};

static ONE_ARGUMENT: Rule = Rule {
    id: "one-argument",
    severity: Severity::Error,
    title: "Every element of `run_args` and its like is one argument",
    why: "`docker create` gets each element of `misc_args`, `run_args`, `name_args` and `extra_args` as one argument. A flag and its value in one \
          element fail with `unknown flag`, and the node does not start.",
    failing: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"run_args\": [\"--hostname tiny\"]}}\n",
    ),
    mended: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"run_args\": [\"--hostname\", \"tiny\"]}}\n",
    ),
};

static SYSCTL_PLACE: Rule = Rule {
    id: "sysctl-place",
    severity: Severity::Error,
    title: "`--sysctl` stands in `run_args`",
    why: "In `misc_args` it has been seen to fail; in `run_args` it works.",
    failing: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"misc_args\": [\"--sysctl\", \"net.ipv4.ip_forward=1\"]}}\n",
    ),
    mended: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"run_args\": [\"--sysctl\", \"net.ipv4.ip_forward=1\"]}}\n",
    ),
};

static IPV6_FORWARDING: Rule = Rule {
    id: "ipv6-forwarding",
    severity: Severity::Warning,
    title: "A router forwards IPv6",
    why: "In a container `/proc/sys` is read-only, so that IPv6 forwarding can be switched on only when the container is created: by \
          `--sysctl net.ipv6.conf.all.forwarding=1` in `run_args`. Looked at where `general.nature` is `router`. (A router that forwards by \
          itself, not by the kernel, needs none; silence the rule there.)",
    failing: Example::Node("general:\n  nature: router\n"),
    mended: Example::Node(
        "general:\n  nature: router\nconfiguration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"run_args\": [\"--sysctl\", \"net.ipv6.conf.all.forwarding=1\"]}}\n",
    ),
};

static VRF_UNDECLARED: Rule = Rule {
    id: "vrf-undeclared",
    severity: Severity::Error,
    title: "A node that needs VRFs says so",
    why: "A container with a sysctl `net.vrf.…` does not start on a CML host that has not loaded the `vrf` kernel module, and a stock CML has not. So \
          the description that people see (`general.description` or `ui.description`) must speak of VRFs.",
    failing: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"run_args\": [\"--sysctl\", \"net.vrf.strict_mode=1\"]}}\n",
    ),
    mended: Example::Node(
        "ui:\n  description: Tiny with VRFs; the CML host must have loaded the module vrf\nconfiguration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"run_args\": [\"--sysctl\", \"net.vrf.strict_mode=1\"]}}\n",
    ),
};

static SSHD_AUDIT_WRITE: Rule = Rule {
    id: "sshd-audit-write",
    severity: Severity::Error,
    title: "A container with sshd has the capability AUDIT_WRITE",
    why: "Without it sshd drops every login. What is not in `caps` is dropped, if there is such a list. That sshd is in the image is taken from a file \
          `sshd_config`, `authorized_keys` or `ssh_host_…` among the definition's files or, for a node of this repository, from its \
          `rootfs` or the word `openssh` in its Dockerfile. An image that hides its sshd better is not noticed.",
    failing: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"caps\": [\"NET_ADMIN\"],\n            \"mounts\": [\"type=bind,source=cfg/authorized_keys,target=/root/.ssh/authorized_keys\"]}}\n      - name: authorized_keys\n        editable: true\n",
    ),
    mended: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"caps\": [\"AUDIT_WRITE\", \"NET_ADMIN\"],\n            \"mounts\": [\"type=bind,source=cfg/authorized_keys,target=/root/.ssh/authorized_keys\"]}}\n      - name: authorized_keys\n        editable: true\n",
    ),
};

static MOUNT_SOURCE: Rule = Rule {
    id: "mount-source",
    severity: Severity::Error,
    title: "Every mount's source is a file of the definition",
    why: "`source=cfg/NAME`: `cfg` is `volume_name`, NAME is one of `files`. The container does not start if the file is not there. Sources with an absolute \
          path are the host's, and are not looked at.",
    failing: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"mounts\": [\"type=bind,source=cfg/boot,target=/boot.sh\"]}}\n      - name: boot.sh\n        editable: false\n",
    ),
    mended: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"mounts\": [\"type=bind,source=cfg/boot.sh,target=/boot.sh\"]}}\n      - name: boot.sh\n        editable: false\n",
    ),
};

static UNMOUNTED_FILE: Rule = Rule {
    id: "unmounted-file",
    severity: Severity::Warning,
    title: "Every file that people edit is mounted",
    why: "What people write into a file that nothing mounts never reaches the container. The shim itself reads `config.json`, `mounts` and `environment`.",
    failing: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"image\": \"tiny:1.0\"}}\n      - name: boot.sh\n        editable: true\n",
    ),
    mended: Example::Node(
        "configuration:\n  provisioning:\n    files:\n      - name: config.json\n        editable: false\n        content: |\n          {\"docker\": {\"mounts\": [\"type=bind,source=cfg/boot.sh,target=/boot.sh\"]}}\n      - name: boot.sh\n        editable: true\n",
    ),
};

pub(super) fn judge(definition: &NodeDefinition, around: &Surroundings, findings: &mut Vec<Finding>) {
    if definition.domain_driver() != Some("docker") {
        return;
    }
    let config = match Config::of(definition) {
        Reading::Config(config) => config,
        Reading::Undecided => return,
        Reading::Missing => {
            // A list that is missing or wrong has been reported.
            if let Some(files) = provisioning(definition).and_then(|provisioning| provisioning.files.as_deref()) {
                let at = files.first().map_or(crate::yaml::Mark::START, |file| file.at);
                findings.push(Finding::new(
                    &CONFIG_JSON_MISSING,
                    at,
                    "configuration.provisioning.files",
                    "none of the files is config.json, which tells CML how to create the container",
                ));
            }
            return;
        }
        Reading::Wrong { at, path, message } => {
            findings.push(Finding::new(&CONFIG_JSON, at, path, format!("this is not JSON: {message}")));
            return;
        }
    };
    keys(&config, findings);
    arguments(&config, findings);
    sysctls(definition, &config, findings);
    sshd(definition, &config, around, findings);
    if let Some(provisioning) = provisioning(definition) {
        mounts(provisioning, &config, findings);
    }
}

fn provisioning(definition: &NodeDefinition) -> Option<&Provisioning> {
    definition.configuration.as_ref()?.provisioning.as_ref()
}

fn keys(config: &Config, findings: &mut Vec<Finding>) {
    unknown_keys(config, &config.root, "", CONFIG_KEYS, findings);
    if let Some(docker) = config.root.get("docker") {
        unknown_keys(config, docker, "docker.", DOCKER_KEYS, findings);
    }
}

fn unknown_keys(config: &Config, node: &Node, path: &str, known: &[&str], findings: &mut Vec<Finding>) {
    for entry in node.map().into_iter().flat_map(|map| map.entries()) {
        let Some(key) = entry.key.text().filter(|key| !known.contains(key)) else { continue };
        if findings.len() >= MOST_FINDINGS {
            return;
        }
        let said = format!("the docker-shim is not known to read the key {}", quoted(key));
        findings.push(
            config
                .finding(&CONFIG_JSON_KEY, &entry.key, &format!("{path}{key}"), said)
                .help(text::near(key, known.iter().copied())),
        );
    }
}

fn arguments(config: &Config, findings: &mut Vec<Finding>) {
    for key in ARGUMENTS {
        for (path, node, text) in config.list(key) {
            let Some((flag, value)) = text.split_once(char::is_whitespace) else { continue };
            if flag.starts_with('-') && !flag.contains('=') && findings.len() < MOST_FINDINGS {
                let said = format!("{} is one argument to docker create, which knows no such flag", quoted(text));
                let help = format!("write two elements: \"{flag}\", \"{}\"", value.trim());
                findings.push(config.finding(&ONE_ARGUMENT, node, &path, said).help(help));
            }
        }
        if key != "misc_args" {
            continue;
        }
        for (path, node, text) in config.list(key) {
            let is_sysctl = text == "--sysctl" || text.starts_with("--sysctl=") || text.starts_with("--sysctl ");
            if is_sysctl && findings.len() < MOST_FINDINGS {
                let said = "`--sysctl` stands in misc_args, where it has been seen to fail";
                findings
                    .push(config.finding(&SYSCTL_PLACE, node, &path, said).help("move it and its value to run_args"));
            }
        }
    }
}

/// What `--sysctl` sets, wherever and however it stands: key, value and where.
fn settings(config: &Config) -> Vec<(String, &Node, &str)> {
    let mut settings = Vec::new();
    for key in ARGUMENTS {
        let mut expected = false;
        for (path, node, text) in config.list(key) {
            let after = text.strip_prefix("--sysctl").and_then(|rest| rest.strip_prefix(['=', ' ']));
            if let Some(setting) = after.or(expected.then_some(text)) {
                settings.push((path, node, setting));
            }
            expected = text == "--sysctl";
        }
    }
    settings
}

fn sysctls(definition: &NodeDefinition, config: &Config, findings: &mut Vec<Finding>) {
    let settings = settings(config);
    let is_router = node::nature(definition) == Some("router");
    let forwards = settings.iter().any(|(_, _, setting)| setting.trim() == "net.ipv6.conf.all.forwarding=1");
    if is_router && !forwards {
        let docker = config.root.get("docker").unwrap_or(&config.root);
        let said = "this router does not forward IPv6";
        let help = "add \"--sysctl\", \"net.ipv6.conf.all.forwarding=1\" to run_args";
        findings.push(config.finding(&IPV6_FORWARDING, docker, "docker", said).help(help));
    }
    let declared = node::descriptions(definition).any(|text| text.to_lowercase().contains("vrf"));
    for (path, node, setting) in settings {
        if setting.starts_with("net.vrf.") && !declared && findings.len() < MOST_FINDINGS {
            let said = format!("{} needs a host with the module vrf, and no description says so", quoted(setting));
            findings.push(config.finding(&VRF_UNDECLARED, node, &path, said).help("speak of VRFs in ui.description"));
        }
    }
}

fn sshd(definition: &NodeDefinition, config: &Config, around: &Surroundings, findings: &mut Vec<Finding>) {
    let Some(caps) = config.root.get("docker").and_then(|docker| docker.get("caps")) else { return };
    let granted = config.list("caps").iter().any(|(_, _, cap)| {
        let cap = cap.to_ascii_uppercase();
        matches!(cap.strip_prefix("CAP_").unwrap_or(&cap), "AUDIT_WRITE" | "ALL")
    });
    if granted {
        return;
    }
    if let Some(evidence) = evidence_of_sshd(definition, config, around) {
        let said = format!("sshd is in the image ({evidence}), and drops every login without AUDIT_WRITE");
        findings.push(config.finding(&SSHD_AUDIT_WRITE, caps, "docker.caps", said).help("add \"AUDIT_WRITE\""));
    }
}

fn evidence_of_sshd(definition: &NodeDefinition, config: &Config, around: &Surroundings) -> Option<String> {
    let is_of_sshd = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        matches!(name, "sshd" | "sshd_config" | "authorized_keys") || name.starts_with("ssh_host_")
    };
    let files = provisioning(definition).and_then(|provisioning| provisioning.files.as_deref()).unwrap_or_default();
    let names = files.iter().filter_map(|file| Some(file.name.as_ref()?.value.clone()));
    let targets = config
        .list("mounts")
        .into_iter()
        .filter_map(|(_, _, mount)| Some(part(mount, &["target", "dst", "destination"])?.to_owned()));
    if let Some(name) = names.chain(targets).find(|name| is_of_sshd(name)) {
        return Some(format!("the file {name}"));
    }
    let in_image = |file: &&super::ImageFile| {
        let is_dockerfile = file.path.starts_with("Dockerfile");
        is_of_sshd(&file.path) || (is_dockerfile && String::from_utf8_lossy(&file.content).contains("openssh"))
    };
    around.image_files.iter().flatten().find(in_image).map(|file| file.path.clone())
}

/// The value of one of these keys in `type=bind,source=…,target=…`.
fn part<'a>(mount: &'a str, keys: &[&str]) -> Option<&'a str> {
    let parts = mount.split(',').filter_map(|part| part.split_once('='));
    parts.filter(|(key, _)| keys.contains(key)).map(|(_, value)| value).next()
}

fn mounts(provisioning: &Provisioning, config: &Config, findings: &mut Vec<Finding>) {
    let (Some(files), Some(volume)) = (&provisioning.files, &provisioning.volume_name) else { return };
    let names: BTreeSet<&str> = files.iter().filter_map(|file| Some(file.name.as_ref()?.value.as_str())).collect();
    // Among very many, a search for the nearest takes long and helps nobody.
    let near = |name: &str| text::near(name, names.iter().copied().take(MOST_NAMED));
    let mut mounted = BTreeSet::new();
    for (path, node, mount) in config.list("mounts") {
        let Some(source) =
            part(mount, &["source", "src"]).filter(|source| !source.starts_with('/') && !source.contains("{{"))
        else {
            continue;
        };
        if findings.len() >= MOST_FINDINGS {
            return;
        }
        let name = source.strip_prefix(&volume.value).and_then(|rest| rest.strip_prefix('/'));
        match name {
            Some(name) if names.contains(&name) => drop(mounted.insert(name)),
            Some(name) => {
                let said = format!("the source {} is no file of this definition", quoted(source));
                findings.push(config.finding(&MOUNT_SOURCE, node, &path, said).help(near(name)));
            }
            None => {
                let said = format!("the source {} is not in the volume {}", quoted(source), quoted(&volume.value));
                let help = format!("the definition's files are {}/NAME", volume.value);
                findings.push(config.finding(&MOUNT_SOURCE, node, &path, said).help(help));
            }
        }
    }
    for (index, file) in files.iter().enumerate() {
        let (Some(name), Some(editable)) = (&file.name, &file.editable) else { continue };
        let reaches_the_container =
            mounted.contains(name.value.as_str()) || READ_BY_THE_SHIM.contains(&name.value.as_str());
        if editable.value && !reaches_the_container && findings.len() < MOST_FINDINGS {
            let said = format!("people can edit {}, but nothing mounts it", quoted(&name.value));
            let help =
                format!("add \"type=bind,source={}/{},target=/PATH\" to docker.mounts", volume.value, name.value);
            let path = format!("configuration.provisioning.files[{index}].name");
            findings.push(Finding::new(&UNMOUNTED_FILE, name.at, path, said).help(help));
        }
    }
}
