//! The command with which CML's docker-shim creates a container. [docs/cml.md 5]

use std::collections::BTreeMap;

use anyhow::Result;

use crate::lab::cpus;
use definitions::container::Container;

/// What is not in the definition.
pub(super) struct Target<'a> {
    pub image: &'a str,
    /// The node's folder on the engine's host.
    pub folder: &'a str,
    /// The engine's volumes, one for each of the container's.
    pub volumes: &'a [String],
    /// The processors of the engine's host, if their use can be limited.
    pub cpus: Option<u32>,
    /// By which this program finds its containers.
    pub labels: &'a BTreeMap<String, String>,
    pub name: Option<&'a str>,
    /// Arguments that make this engine create the container as Docker does.
    pub as_docker: Vec<&'static str>,
    /// The capabilities that Docker grants by default, and this engine does not.
    pub missing_capabilities: &'static [&'static str],
}

/// Processes that a node may have, if its definition names no limit: a fork bomb ends here.
const PROCESS_LIMIT: &str = "--pids-limit=4096";

/// The arguments of `docker`, beginning with `create`.
pub(super) fn args(container: &Container, target: &Target<'_>) -> Result<Vec<String>> {
    let docker = &container.config.docker;
    let mut args = ["create", "--interactive", "--tty", "--network", "none"].map(str::to_owned).to_vec();
    let mut put = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
    for (key, value) in target.labels {
        put("--label", format!("{key}={value}"));
    }
    if let Some(name) = target.name {
        put("--name", name.to_owned());
    }
    if docker.caps.is_empty() {
        target.missing_capabilities.iter().for_each(|capability| put("--cap-add", (*capability).to_owned()));
    } else {
        put("--cap-drop", "ALL".to_owned());
    }
    for capability in capabilities(&docker.caps) {
        put("--cap-add", capability);
    }
    for variable in container.variables() {
        put("--env", variable);
    }
    for mount in container.mounts()? {
        put("--mount", mount.argument(target.folder));
    }
    for (volume, name) in container.volumes().iter().zip(target.volumes) {
        put("--mount", volume.argument(name));
    }
    if container.config.privileged {
        args.push("--privileged".to_owned());
    }
    // Before the definition's own, which therefore take precedence.
    args.extend(cpus::argument(container, target.cpus));
    if let Some(ram) = container.ram {
        args.push(format!("--memory={ram}m"));
    }
    args.push(PROCESS_LIMIT.to_owned());
    args.extend(target.as_docker.iter().map(|arg| (*arg).to_owned()));
    for (_, list) in docker.arguments() {
        args.extend(list.iter().cloned());
    }
    args.push(target.image.to_owned());
    Ok(args)
}

/// The definition's capabilities and NET_ADMIN, which the shim adds for `day0cmd` unless it is configured not to.
fn capabilities(caps: &[String]) -> Vec<String> {
    let is_net_admin = |cap: &String| cap.trim_start_matches("CAP_") == "NET_ADMIN";
    let mut all = caps.to_vec();
    if !all.iter().any(is_net_admin) {
        all.push("NET_ADMIN".to_owned());
    }
    all
}

/// The arguments as they could be typed.
pub(super) fn shown(args: &[String]) -> String {
    args.iter().map(|arg| shell_escape::unix::escape(arg.into())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(config: &str, environment: &str) -> String {
        created_by(Vec::new(), &[], config, environment)
    }

    fn created_by(
        as_docker: Vec<&'static str>,
        missing_capabilities: &'static [&'static str],
        config: &str,
        environment: &str,
    ) -> String {
        let text = format!(
            "{{id: t, boot: {{timeout: 1}},
              sim: {{linux_native: {{libvirt_domain_driver: docker, driver: server, ram: 64}}}},
              general: {{nature: server}}, ui: {{label: t, label_prefix: t-, icon: server, visible: true}},
              device: {{interfaces: {{physical: [eth0], serial_ports: 2, has_loopback_zero: false}}}},
              configuration: {{generator: {{driver: null}}, provisioning: {{volume_name: cfg, media_type: raw, files: [
                {{name: a, editable: true, content: x}},
                {{name: environment, editable: true, content: '{environment}'}},
                {{name: config.json, editable: false, content: '{config}'}}]}}}}}}"
        );
        let labels = BTreeMap::from([("l".to_owned(), "1".to_owned())]);
        let target = Target {
            image: "i:1",
            folder: "/f",
            volumes: &["v".to_owned()],
            cpus: Some(2),
            labels: &labels,
            name: Some("n"),
            as_docker,
            missing_capabilities,
        };
        shown(&args(&Container::read(&text, "t").unwrap(), &target).unwrap())
    }

    #[test]
    fn the_command_is_that_of_the_shim() {
        let line = created(
            r#"{"docker": {"caps": ["CAP_CHOWN"], "env": ["A=b c"], "mounts": ["type=bind,source=cfg/a,target=/a"],
               "misc_args": ["--shm-size=1m"], "run_args": ["--sysctl", "x=1"], "extra_args": ["-h", "y"]}}"#,
            "",
        );
        assert_eq!(
            line,
            "create --interactive --tty --network none --label l=1 --name n --cap-drop ALL --cap-add CAP_CHOWN \
             --cap-add NET_ADMIN --env 'A=b c' --mount type=bind,target=/a,source=/f/a --memory=64m \
             --pids-limit=4096 --shm-size=1m --sysctl x=1 -h y 'i:1'"
        );
    }

    #[test]
    fn without_a_list_of_capabilities_dockers_own_are_kept() {
        let line = created("{}", "");
        assert!(line.contains("--cap-add NET_ADMIN") && !line.contains("--cap-drop"), "{line}");
    }

    #[test]
    fn dockers_defaults_come_before_what_the_definition_asks_for() {
        let sysctl = r#"{"docker": {"run_args": ["--sysctl", "x=1"]}}"#;
        let line = created_by(vec!["--sysctl", "x=0"], &["MKNOD"], sysctl, "");
        assert!(
            line.contains(
                "--cap-add MKNOD --cap-add NET_ADMIN --memory=64m --pids-limit=4096 --sysctl x=0 --sysctl x=1 'i:1'"
            ),
            "{line}"
        );
        let line = created_by(Vec::new(), &["MKNOD"], r#"{"docker": {"caps": ["CAP_CHOWN"]}}"#, "");
        assert!(!line.contains("MKNOD"), "{line}");
    }

    #[test]
    fn a_volume_is_one_of_the_engines() {
        let line = created(r#"{"docker": {"mounts": ["type=volume,source=data,target=/a"]}}"#, "");
        assert!(line.contains("--mount type=volume,target=/a,source=v --memory"), "{line}");
    }

    #[test]
    fn the_file_environment_sets_variables() {
        assert!(created("{}", "A=1").contains("--env A=1"));
        assert!(!created("{}", "#A=1").contains("--env"));
    }
}
