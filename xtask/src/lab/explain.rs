//! What the engine's refusals mean for a node definition. The engine's own words are quoted: they
//! are what stands in the server's syslog. [cml-facts 5, seed]

use definitions::container::Container;

/// The engine's words, and what they mean for the definition.
pub fn explain(said: &str, container: &Container) -> String {
    let quoted = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("nothing");
    let quoted = ui::printable(quoted.strip_prefix("docker: ").unwrap_or(quoted));
    let meaning = meaning(said, container).unwrap_or_else(|| "the engine refuses what config.json asks for".to_owned());
    format!("{} does not start. Docker says: {quoted}\n  {meaning}", container.id)
}

fn meaning(said: &str, container: &Container) -> Option<String> {
    let docker = &container.config.docker;
    if said.contains("unknown flag") || said.contains("unknown shorthand flag") {
        return Some(of_a_flag(said, container));
    }
    if said.contains("bind source path does not exist") {
        return Some("a mount names a file that is not in the node's folder".to_owned());
    }
    if said.contains("is already in use by container") {
        return Some(
            "a container of that name is there already: choose another with --name, or stop that one".to_owned(),
        );
    }
    if said.contains("capability") && (said.contains("nvalid") || said.contains("nknown")) {
        return Some(format!("`docker.caps` names a capability that does not exist: {}", docker.caps.join(", ")));
    }
    if said.contains("unable to apply caps") || said.contains("apply caps") {
        return Some("`docker.caps` asks for a capability that the engine itself does not have here".to_owned());
    }
    if let Some(path) = said.split("/proc/sys/").nth(1) {
        let name = path.split([':', ' ', '"']).next().unwrap_or_default().replace('/', ".");
        return Some(format!("a `--sysctl` sets {name}, which the kernel of the engine's host does not have"));
    }
    if said.contains("sysctl") {
        return Some("a `--sysctl` in config.json is wrong: only settings that a container has for itself can be set (net.*, and a few of kernel.*)".to_owned());
    }
    if said.contains("no such file or directory") && said.contains("exec") {
        return Some(
            "the image's entry point is not there, or what interprets it (the first line of a script) is not"
                .to_owned(),
        );
    }
    said.contains("permission denied")
        .then(|| "the image's entry point is not executable (chmod +x), or lies on a mount".to_owned())
}

/// Docker reads `"--flag value"` in one element as one flag of that whole name.
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
                ui::printable(element),
                ui::printable(flag),
                ui::printable(value.trim())
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
        ui::printable(flag)
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
        let said = explain("unknown flag: --sysctl net.ipv6.conf.all.forwarding\nSee 'docker create --help'.", &node);
        assert!(said.contains("Docker says: unknown flag: --sysctl net.ipv6.conf.all.forwarding\n"), "{said}");
        assert!(
            said.contains(r#"write "--sysctl", "net.ipv6.conf.all.forwarding=1", and by custom in `run_args`"#),
            "{said}"
        );
    }

    #[test]
    fn an_argument_that_docker_does_not_know_is_found_in_its_list() {
        let node = node(r#"{"docker": {"extra_args": ["--frobnicate"]}}"#);
        let said = explain("unknown flag: --frobnicate", &node);
        assert!(
            said.contains("`extra_args` holds an argument that `docker create` does not know: --frobnicate"),
            "{said}"
        );
    }

    #[test]
    fn a_setting_that_the_kernel_lacks_is_named() {
        let said = "OCI runtime create failed: write sysctl key net.vrf.strict_mode: open /proc/sys/net/vrf/strict_mode: no such file";
        assert!(explain(said, &node("{}")).contains("sets net.vrf.strict_mode, which the kernel"));
    }
}
