//! The line by which CML's docker-shim creates a container. [docs/cml.md 5]

use std::collections::BTreeMap;

use anyhow::Result;

use definitions::container::Container;

/// What is not in the definition.
pub(super) struct Here<'a> {
    pub image: &'a str,
    /// The node's folder on the engine's host.
    pub folder: &'a str,
    /// By which this program knows its containers again.
    pub labels: &'a BTreeMap<String, String>,
    pub name: Option<&'a str>,
    /// What this engine must be told, so that the container is as Docker makes it.
    pub as_docker: Vec<&'static str>,
    /// The capabilities that this engine does not give unasked, and Docker does.
    pub withheld: &'static [&'static str],
}

/// The arguments of `docker`, `create` being the first.
///
/// # Errors
/// If a mount is not of a file of the definition.
pub(super) fn words(container: &Container, here: &Here<'_>) -> Result<Vec<String>> {
    let docker = &container.config.docker;
    let mut words = ["create", "--interactive", "--tty", "--network", "none"].map(str::to_owned).to_vec();
    let mut put = |flag: &str, value: String| words.extend([flag.to_owned(), value]);
    for (key, value) in here.labels {
        put("--label", format!("{key}={value}"));
    }
    if let Some(name) = here.name {
        put("--name", name.to_owned());
    }
    if docker.caps.is_empty() {
        here.withheld.iter().for_each(|capability| put("--cap-add", (*capability).to_owned()));
    } else {
        put("--cap-drop", "ALL".to_owned());
    }
    for capability in capabilities(&docker.caps) {
        put("--cap-add", capability);
    }
    for variable in docker.env.iter().cloned().chain(environment(container)) {
        put("--env", variable);
    }
    for mount in container.mounts()? {
        put("--mount", mount.argument(here.folder));
    }
    // Before the definition's own, which so have the last word.
    words.extend(here.as_docker.iter().map(|word| (*word).to_owned()));
    for (_, list) in docker.arguments() {
        words.extend(list.iter().cloned());
    }
    words.push(here.image.to_owned());
    Ok(words)
}

/// The definition's, and NET_ADMIN: the shim adds that for `day0cmd` unless it is told not to.
fn capabilities(caps: &[String]) -> Vec<String> {
    let is_net_admin = |cap: &String| cap.trim_start_matches("CAP_") == "NET_ADMIN";
    let mut all = caps.to_vec();
    if !all.iter().any(is_net_admin) {
        all.push("NET_ADMIN".to_owned());
    }
    all
}

/// A file called `environment` sets variables; Cisco's own nodes use it so, without mounting it.
/// [docs/cml.md 5, cisco]
fn environment(container: &Container) -> Vec<String> {
    let text = container.files.get("environment").map(String::as_str).unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#') && line.contains('='));
    lines.map(str::to_owned).collect()
}

/// For people: as it could be typed.
pub(super) fn shown(words: &[String]) -> String {
    let plain = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=./:,@+".contains(&b));
    let quoted = |word: &String| match word.as_str() {
        word if !word.is_empty() && plain(word) => word.to_owned(),
        word => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(config: &str, environment: &str) -> String {
        created_by(Vec::new(), &[], config, environment)
    }

    fn created_by(
        as_docker: Vec<&'static str>,
        withheld: &'static [&'static str],
        config: &str,
        environment: &str,
    ) -> String {
        let text = format!(
            "{{id: t, boot: {{timeout: 1}}, sim: {{linux_native: {{libvirt_domain_driver: docker}}}},
              device: {{interfaces: {{physical: [eth0]}}}},
              configuration: {{provisioning: {{volume_name: cfg, files: [
                {{name: a, content: x}}, {{name: environment, content: '{environment}'}}, {{name: config.json, content: '{config}'}}]}}}}}}"
        );
        let labels = BTreeMap::from([("l".to_owned(), "1".to_owned())]);
        let here = Here { image: "i:1", folder: "/f", labels: &labels, name: Some("n"), as_docker, withheld };
        shown(&words(&Container::read(&text).unwrap(), &here).unwrap())
    }

    #[test]
    fn the_line_is_the_one_that_the_shim_would_give() {
        let line = created(
            r#"{"docker": {"caps": ["CAP_CHOWN"], "env": ["A=b c"], "mounts": ["type=bind,source=cfg/a,target=/a"],
               "misc_args": ["--shm-size=1m"], "run_args": ["--sysctl", "x=1"], "extra_args": ["-h", "y"]}}"#,
            "",
        );
        assert_eq!(
            line,
            "create --interactive --tty --network none --label l=1 --name n --cap-drop ALL --cap-add CAP_CHOWN --cap-add NET_ADMIN \
             --env 'A=b c' --mount type=bind,target=/a,source=/f/a --shm-size=1m --sysctl x=1 -h y i:1"
        );
    }

    #[test]
    fn without_a_list_of_capabilities_dockers_own_are_kept() {
        let line = created("{}", "");
        assert!(line.contains("--cap-add NET_ADMIN") && !line.contains("--cap-drop"), "{line}");
    }

    #[test]
    fn an_engine_is_told_what_docker_does_unasked_before_what_the_definition_wants() {
        let sysctl = r#"{"docker": {"run_args": ["--sysctl", "x=1"]}}"#;
        let line = created_by(vec!["--sysctl", "x=0"], &["MKNOD"], sysctl, "");
        assert!(line.contains("--cap-add MKNOD --cap-add NET_ADMIN --sysctl x=0 --sysctl x=1 i:1"), "{line}");
        let line = created_by(Vec::new(), &["MKNOD"], r#"{"docker": {"caps": ["CAP_CHOWN"]}}"#, "");
        assert!(!line.contains("MKNOD"), "{line}");
    }

    #[test]
    fn the_file_environment_sets_variables() {
        assert!(created("{}", "A=1").contains("--env A=1"));
        assert!(!created("{}", "#A=1").contains("--env"));
    }
}
