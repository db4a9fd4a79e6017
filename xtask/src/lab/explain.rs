//! What the engine's refusals mean for a node definition. The engine's own words are quoted: they
//! are what stands in the server's syslog. [docs/cml.md 5, seed]

use crate::engine::abilities::Make;
use definitions::container::Container;

/// The engine's words, and what they mean for the definition.
pub(super) fn explain(said: &str, make: Make, container: &Container) -> String {
    let meaning = meaning(said, container).unwrap_or_else(|| "the engine refuses what config.json asks for".to_owned());
    format!("{} does not start. {make} says: {}\n  {meaning}", container.id, quoted(said))
}

/// The first line, without what the command line or the API put before it.
fn quoted(said: &str) -> String {
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("nothing");
    let line = ["docker: ", "Error: "].iter().find_map(|head| line.strip_prefix(head)).unwrap_or(line);
    let answer = line.split_once("responded with status code ").and_then(|(_, answer)| answer.split_once(": "));
    text::printable(answer.map_or(line, |(_code, answer)| answer))
}

/// Runtimes differ in capital letters and in quotation marks.
fn meaning(said: &str, container: &Container) -> Option<String> {
    let docker = &container.config.docker;
    let lower = said.to_lowercase();
    let says = |words: &str| lower.contains(words);
    if says("unknown flag") || says("unknown shorthand flag") {
        return Some(of_a_flag(said, container));
    }
    if says("bind source path does not exist") || (says("statfs ") && says("no such file or directory")) {
        return Some("a mount names a file that is not in the node's folder".to_owned());
    }
    if says("is already in use by") {
        return Some(
            "a container of that name is there already: choose another with --name, or stop that one".to_owned(),
        );
    }
    if says("capability") && (says("invalid") || says("unknown")) {
        return Some(format!("`docker.caps` names a capability that does not exist: {}", docker.caps.join(", ")));
    }
    if says("apply caps") {
        return Some("`docker.caps` asks for a capability that the engine itself does not have here".to_owned());
    }
    if let Some(fault) = of_the_engine(said) {
        return Some(fault.to_owned());
    }
    if let Some(path) = said.split("/proc/sys/").nth(1) {
        let name = path.split([':', ' ', '"', '`', '\'']).next().unwrap_or_default().replace('/', ".");
        return Some(if says("permission denied") || says("operation not permitted") {
            format!(
                "a `--sysctl` sets {name}, which this engine may not: one that runs without root sets only what a network has for itself"
            )
        } else {
            format!("a `--sysctl` sets {name}, which the kernel of the engine's host does not have")
        });
    }
    if says("sysctl") {
        return Some("a `--sysctl` in config.json is wrong: only settings that a container has for itself can be set (net.*, and a few of kernel.*)".to_owned());
    }
    if !says("exec") {
        return None;
    }
    if says("no such file or directory") {
        return Some(
            "the image's entry point is not there, or what interprets it (the first line of a script) is not"
                .to_owned(),
        );
    }
    says("permission denied")
        .then(|| "the image's entry point is not executable (chmod +x), or lies on a mount".to_owned())
}

/// What is no fault of the node's: the engine can't start any container as it is set up.
pub(super) fn of_the_engine(said: &str) -> Option<&'static str> {
    said.to_lowercase().contains("rlimit").then_some(
        "the engine gives containers higher limits than it may have itself here; say lower ones in its containers.conf, below \
         [containers]: default_ulimits = [\"nofile=N:N\", \"nproc=M:M\"], with what `ulimit -Hn` and `ulimit -Hu` print",
    )
}

/// The command line reads `"--flag value"` in one element as one flag of that whole name.
fn of_a_flag(said: &str, container: &Container) -> String {
    for (list, elements) in container.config.docker.arguments() {
        let one = elements.iter().find(|element| element.starts_with('-') && element.contains(char::is_whitespace));
        if let Some(element) = one {
            let (flag, value) = element.split_once(char::is_whitespace).unwrap_or((element, ""));
            let list_of_sysctls = match (list, flag) {
                ("misc_args", "--sysctl") => ", and by custom in `run_args`",
                _ => "",
            };
            return format!(
                "`{list}` holds \"{}\" as one element. Each element is one argument: write \"{}\", \"{}\"{list_of_sysctls}",
                text::printable(element),
                text::printable(flag),
                text::printable(value.trim())
            );
        }
    }
    let flag = said.split("flag: ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    let holds = |elements: &Vec<String>| elements.iter().any(|element| element.starts_with(flag));
    let lists = container.config.docker.arguments();
    let list = lists.iter().find(|(_, elements)| !flag.is_empty() && holds(elements));
    format!(
        "`{}` holds an argument that `docker create` does not know: {}",
        list.map_or("config.json", |(list, _)| list),
        text::printable(flag)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(config: &str) -> Container {
        let text = format!(
            "{{id: t, boot: {{timeout: 1}}, sim: {{linux_native: {{libvirt_domain_driver: docker}}}},
              device: {{interfaces: {{physical: [eth0]}}}},
              configuration: {{provisioning: {{files: [{{name: config.json, content: '{config}'}}]}}}}}}"
        );
        Container::read(&text).unwrap()
    }

    #[test]
    fn a_flag_and_its_value_in_one_element_are_told_apart() {
        let node = node(r#"{"docker": {"misc_args": ["--sysctl net.ipv6.conf.all.forwarding=1"]}}"#);
        let said = explain(
            "unknown flag: --sysctl net.ipv6.conf.all.forwarding\nSee 'docker create --help'.",
            Make::Docker,
            &node,
        );
        assert!(said.contains("Docker says: unknown flag: --sysctl net.ipv6.conf.all.forwarding\n"), "{said}");
        assert!(
            said.contains(r#"write "--sysctl", "net.ipv6.conf.all.forwarding=1", and by custom in `run_args`"#),
            "{said}"
        );
    }

    #[test]
    fn an_argument_that_docker_does_not_know_is_found_in_its_list() {
        let node = node(r#"{"docker": {"extra_args": ["--frobnicate"]}}"#);
        let said = explain("Error: unknown flag: --frobnicate\nSee 'podman create --help'", Make::Podman, &node);
        assert!(said.contains("Podman says: unknown flag: --frobnicate\n"), "{said}");
        assert!(
            said.contains("`extra_args` holds an argument that `docker create` does not know: --frobnicate"),
            "{said}"
        );
    }

    #[test]
    fn a_setting_that_the_kernel_lacks_is_named() {
        let said = "OCI runtime create failed: write sysctl key net.vrf.strict_mode: open /proc/sys/net/vrf/strict_mode: no such file";
        assert!(means(said).contains("sets net.vrf.strict_mode, which the kernel"));
        let said = "runc: runc create failed: unable to start container process: error during container init: open \
                    /proc/sys/kernel/msgmax: permission denied: OCI permission denied";
        assert!(means(said).contains("sets kernel.msgmax, which this engine may not"));
    }

    /// What runc and crun say of it through Docker and Podman.
    #[test]
    fn an_entry_point_is_explained_whatever_the_runtime() {
        for said in [
            "Docker responded with status code 400: OCI runtime create failed: exec: \"/x\": stat /x: no such file or directory: unknown",
            "Docker responded with status code 500: runc: runc create failed: unable to start container process: exec: \"/x\": \
             stat /x: no such file or directory: OCI runtime attempted to invoke a command that was not found",
            "crun: executable file `/x` not found in $PATH: No such file or directory: OCI runtime attempted to invoke a command that was not found",
        ] {
            assert!(means(said).contains("entry point is not there"), "{said}");
            assert!(!means(said).contains("status code"), "{said}");
        }
        let said = "crun: open executable: Permission denied: OCI permission denied";
        assert!(means(said).contains("is not executable"));
    }

    #[test]
    fn what_is_the_engines_own_fault_is_not_laid_on_the_definition() {
        let said = "runc: runc create failed: unable to start container process: error during container init: error setting rlimits \
                    for ready process: error setting rlimit type 7: operation not permitted: OCI permission denied";
        assert!(means(said).contains("default_ulimits"));
        assert!(means("something new").contains("refuses what config.json asks for"));
    }

    fn means(said: &str) -> String {
        explain(said, Make::Podman, &node("{}"))
    }
}
