//! What the engine's refusals mean for a node definition. The engine's own message is quoted: it
//! is what the server's syslog shows. [docs/cml.md 5, seed]

use crate::engine::abilities::Make;
use definitions::container::Container;

/// The engine's message, and what it means for the definition.
fn explain(message: &str, make: Make, container: &Container) -> String {
    let meaning =
        meaning(message, container).unwrap_or_else(|| "the engine refuses what config.json asks for".to_owned());
    format!("{} does not start. {make} says: {}\n  {meaning}", container.id, quoted(message))
}

/// The engine's refusal to start a node.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    text: String,
    /// Whether no definition could make this image start.
    pub is_of_image: bool,
}

impl Refused {
    pub(super) fn new(message: &str, make: Make, container: &Container) -> Self {
        let is_of_image = find(&MEANINGS, message).is_none() && find(&OF_IMAGE, message).is_some();
        Self { text: explain(message, make, container), is_of_image }
    }
}

/// The first line, without the prefixes of the command line and the API.
fn quoted(message: &str) -> String {
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("nothing");
    let line = ["docker: ", "Error: "].iter().find_map(|head| line.strip_prefix(head)).unwrap_or(line);
    let answer = line.split_once("responded with status code ").and_then(|(_, answer)| answer.split_once(": "));
    text::printable(answer.map_or(line, |(_code, answer)| answer))
}

const NO_FILE: &str = "a mount names a file that is not in the node's folder";
const NO_CAPABILITY: &str = "`docker.caps` names a capability that does not exist: {caps}";
const NO_RIGHT: &str = "a `--sysctl` sets {sysctl}, which this engine may not set: a rootless engine can set only what \
     is separate for each network namespace";
const TOO_LITTLE: &str =
    "`sim.linux_native.ram` is a number of MiB, and this is less than any container needs to start";
/// What has nothing to do with the node: as it is configured, the engine cannot start any container.
const LIMITS: &str = "the engine gives containers higher limits than it has itself here; set lower ones in its \
     containers.conf, below [containers]: default_ulimits = [\"nofile=N:N\", \"nproc=M:M\"], with what `ulimit -Hn` \
     and `ulimit -Hu` print";

/// What a message means that has all these parts; the first that fits counts. Runtimes differ in capital letters and in
/// quotation marks: the parts are in small letters.
const MEANINGS: [(&[&str], &str); 13] = [
    (&["bind source path does not exist"], NO_FILE),
    (&["statfs ", "no such file or directory"], NO_FILE),
    (
        &["is already in use by"],
        "there is already a container with that name: choose another name with --name, or stop that container",
    ),
    (&["capability", "invalid"], NO_CAPABILITY),
    (&["capability", "unknown"], NO_CAPABILITY),
    (&["apply caps"], "`docker.caps` asks for a capability that the engine itself does not have here"),
    (&["minimum memory limit"], TOO_LITTLE),
    (&["unable to set memory limit"], TOO_LITTLE),
    (&["rlimit"], LIMITS),
    (&["/proc/sys/", "permission denied"], NO_RIGHT),
    (&["/proc/sys/", "operation not permitted"], NO_RIGHT),
    (&["/proc/sys/"], "a `--sysctl` sets {sysctl}, which the kernel of the engine's host does not have"),
    (
        &["sysctl"],
        "a `--sysctl` in config.json is wrong: only settings that are separate for each container can be set \
         (net.*, and a few of kernel.*)",
    ),
];

/// The same of what is wrong with the image, whatever the definition is.
const OF_IMAGE: [(&[&str], &str); 9] = [
    (&["unable to find user"], NO_USER),
    (&["unable to find group"], NO_USER),
    (&["no command specified"], NO_COMMAND),
    (&["no command or entrypoint"], NO_COMMAND),
    (&["cannot mkdir", "is not a directory"], NO_FOLDER),
    (&["lstat ", "/merged/", "not a directory"], NO_FOLDER),
    (&["workdir ", "does not exist"], NO_FOLDER),
    (
        &["exec", "no such file or directory"],
        "the image's entry point does not exist, or its interpreter (the first line of a script) does not",
    ),
    (&["exec", "permission denied"], "the image's entry point is not executable (chmod +x), or is on a mount"),
];
const NO_USER: &str = "the image's USER is a user or group that does not exist in it";
const NO_COMMAND: &str = "the image has neither ENTRYPOINT nor CMD: it does not say what to run";
const NO_FOLDER: &str = "the image's WORKDIR is not a folder in it";

type Meaning = (&'static [&'static str], &'static str);

fn find(meanings: &'static [Meaning], message: &str) -> Option<&'static str> {
    let lower = message.to_lowercase();
    meanings.iter().find(|(parts, _)| parts.iter().all(|part| lower.contains(part))).map(|(_, meaning)| *meaning)
}

fn meaning(message: &str, container: &Container) -> Option<String> {
    let lower = message.to_lowercase();
    if lower.contains("unknown flag") || lower.contains("unknown shorthand flag") {
        return Some(unknown_flag(message, container));
    }
    let meaning = find(&MEANINGS, message).or_else(|| find(&OF_IMAGE, message))?;
    let path = message.split("/proc/sys/").nth(1).unwrap_or_default();
    let sysctl = path.split([':', ' ', '"', '`', '\'']).next().unwrap_or_default().replace('/', ".");
    let caps = container.config.docker.caps.join(", ");
    Some(meaning.replace("{sysctl}", &sysctl).replace("{caps}", &caps))
}

/// Why a node cannot write to the definition's files, if that is what its output complains of; else nothing.
/// [docs/cml.md 5, iida]
pub fn unwritable(container: &Container, output: &str) -> String {
    const WHY: &str = "the definition's files belong to a user of CML's, not to root, and `docker.caps` does not grant \
         DAC_OVERRIDE: the node can read the files that are mounted, but not write to them. Add \"DAC_OVERRIDE\", or \
         let the node change a copy";
    let docker = &container.config.docker;
    let is_granted = |text: &String| {
        let text = text.to_ascii_uppercase();
        text.contains("DAC_OVERRIDE") || text == "ALL"
    };
    let arguments = docker.arguments();
    let mut granted = docker.caps.iter().chain(arguments.iter().flat_map(|(_, list)| list.iter()));
    let can_write = docker.caps.is_empty() || container.config.privileged || granted.any(is_granted);
    let is_meant = !can_write && !docker.mounts.is_empty() && output.to_lowercase().contains("permission denied");
    if is_meant { format!("\n{WHY}") } else { String::new() }
}

/// What keeps the engine from starting any container.
pub(super) fn engine_problem(message: &str) -> Option<&'static str> {
    message.to_lowercase().contains("rlimit").then_some(LIMITS)
}

/// The command line takes `"--flag value"` in one element for the name of a flag.
fn unknown_flag(message: &str, container: &Container) -> String {
    for (list, elements) in container.config.docker.arguments() {
        let one = elements.iter().find(|element| element.starts_with('-') && element.contains(char::is_whitespace));
        if let Some(element) = one {
            let (flag, value) = element.split_once(char::is_whitespace).unwrap_or((element, ""));
            let list_of_sysctls = match (list, flag) {
                ("misc_args", "--sysctl") => ", usually in `run_args`",
                _ => "",
            };
            return format!(
                "`{list}` has \"{}\" as one element. Each element is one argument: \
                 write \"{}\", \"{}\"{list_of_sysctls}",
                text::printable(element),
                text::printable(flag),
                text::printable(value.trim())
            );
        }
    }
    let flag = message.split("flag: ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    let holds = |elements: &Vec<String>| elements.iter().any(|element| element.starts_with(flag));
    let lists = container.config.docker.arguments();
    let list = lists.iter().find(|(_, elements)| !flag.is_empty() && holds(elements));
    format!(
        "`{}` has an argument that `docker create` does not know: {}",
        list.map_or("config.json", |(list, _)| list),
        text::printable(flag)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(config: &str) -> Container {
        let text = format!(
            "{{id: t, boot: {{timeout: 1}},
              sim: {{linux_native: {{libvirt_domain_driver: docker, driver: server, ram: 64}}}},
              general: {{nature: server}}, ui: {{label: t, label_prefix: t-, icon: server, visible: true}},
              device: {{interfaces: {{physical: [eth0], serial_ports: 2, has_loopback_zero: false}}}},
              configuration: {{generator: {{driver: null}}, provisioning: {{volume_name: cfg, media_type: raw, files: [
                {{name: config.json, editable: false, content: '{config}'}}]}}}}}}"
        );
        Container::read(&text, "t").unwrap()
    }

    #[test]
    fn a_flag_and_its_value_in_one_element_are_told_apart() {
        let node = node(r#"{"docker": {"misc_args": ["--sysctl net.ipv6.conf.all.forwarding=1"]}}"#);
        let message = explain(
            "unknown flag: --sysctl net.ipv6.conf.all.forwarding\nSee 'docker create --help'.",
            Make::Docker,
            &node,
        );
        assert!(message.contains("Docker says: unknown flag: --sysctl net.ipv6.conf.all.forwarding\n"), "{message}");
        assert!(
            message.contains(r#"write "--sysctl", "net.ipv6.conf.all.forwarding=1", usually in `run_args`"#),
            "{message}"
        );
    }

    #[test]
    fn an_argument_that_docker_does_not_know_is_found_in_its_list() {
        let node = node(r#"{"docker": {"extra_args": ["--frobnicate"]}}"#);
        let message = explain("Error: unknown flag: --frobnicate\nSee 'podman create --help'", Make::Podman, &node);
        assert!(message.contains("Podman says: unknown flag: --frobnicate\n"), "{message}");
        assert!(
            message.contains("`extra_args` has an argument that `docker create` does not know: --frobnicate"),
            "{message}"
        );
    }

    #[test]
    fn memory_in_which_nothing_starts_is_explained() {
        for message in [
            "Error response from daemon: Minimum memory limit allowed is 6MB",
            "runc: runc create failed: unable to start container process: error during container init: error setting \
             cgroup config for procHooks process: unable to set memory limit to 2097152 (current usage: 2658304)",
        ] {
            assert!(means(message).contains("`sim.linux_native.ram`"), "{message}");
        }
    }

    #[test]
    fn a_setting_that_is_missing_in_the_kernel_is_named() {
        let message = "OCI runtime create failed: write sysctl key net.vrf.strict_mode: \
                       open /proc/sys/net/vrf/strict_mode: no such file";
        assert!(means(message).contains("sets net.vrf.strict_mode, which the kernel"));
        let message = "runc: runc create failed: unable to start container process: error during container init: \
                       open /proc/sys/kernel/msgmax: permission denied: OCI permission denied";
        assert!(means(message).contains("sets kernel.msgmax, which this engine may not set"));
    }

    #[test]
    fn a_node_that_cannot_write_to_its_files_is_told_why() {
        let with = |caps: &str, mounts: &str| {
            let config = format!(r#"{{"docker": {{"caps": [{caps}], "mounts": [{mounts}]}}}}"#);
            unwritable(&node(&config), "sh: can't create /a: Permission denied")
        };
        let mount = r#""type=bind,source=cfg/config.json,target=/a""#;
        assert!(with(r#""KILL""#, mount).contains("Add \"DAC_OVERRIDE\""));
        for (caps, mounts) in [("", mount), (r#""CAP_DAC_OVERRIDE""#, mount), (r#""KILL""#, "")] {
            assert_eq!(with(caps, mounts), "", "{caps} {mounts}");
        }
        assert_eq!(unwritable(&node(r#"{"docker": {"caps": ["KILL"]}}"#), "not found"), "");
    }

    /// The messages of Docker and Podman.
    #[test]
    fn what_is_wrong_with_an_image_is_not_blamed_on_the_definition() {
        let refused = |message: &str| Refused::new(message, Make::Docker, &node("{}"));
        for (message, why) in [
            ("unable to find user nosuch: no matching entries in passwd file", "USER"),
            ("docker: Error response from daemon: No command specified", "neither ENTRYPOINT nor CMD"),
            ("Error: no command or entrypoint provided, and no CMD or ENTRYPOINT from image", "neither ENTRYPOINT"),
            ("Cannot mkdir: /x is not a directory", "WORKDIR"),
            ("lstat /var/lib/docker/overlay2/97/merged/x/y: not a directory", "WORKDIR"),
            ("workdir \"/x\" does not exist on container 1", "WORKDIR"),
            ("exec: \"/x\": stat /x: no such file or directory: unknown", "entry point"),
        ] {
            let refused = refused(message);
            assert!(refused.is_of_image && refused.to_string().contains(why), "{message}: {refused}");
        }
        for message in ["invalid mount config for type \"bind\": bind source path does not exist: /x", "new"] {
            assert!(!refused(message).is_of_image, "{message}");
        }
    }

    /// The messages of runc and crun, through Docker and Podman.
    #[test]
    fn an_entry_point_is_explained_whatever_the_runtime() {
        for message in [
            "Docker responded with status code 400: OCI runtime create failed: exec: \"/x\": stat /x: \
             no such file or directory: unknown",
            "Docker responded with status code 500: runc: runc create failed: unable to start container process: \
             exec: \"/x\": stat /x: no such file or directory: OCI runtime attempted to invoke a command that \
             was not found",
            "crun: executable file `/x` not found in $PATH: No such file or directory: OCI runtime attempted to \
             invoke a command that was not found",
        ] {
            assert!(means(message).contains("entry point does not exist"), "{message}");
            assert!(!means(message).contains("status code"), "{message}");
        }
        let message = "crun: open executable: Permission denied: OCI permission denied";
        assert!(means(message).contains("is not executable"));
    }

    #[test]
    fn a_problem_of_the_engine_is_not_blamed_on_the_definition() {
        let message = "runc: runc create failed: unable to start container process: error during container init: \
                       error setting rlimits for ready process: error setting rlimit type 7: \
                       operation not permitted: OCI permission denied";
        assert!(means(message).contains("default_ulimits"));
        assert!(means("something new").contains("refuses what config.json asks for"));
    }

    fn means(message: &str) -> String {
        explain(message, Make::Podman, &node("{}"))
    }
}
