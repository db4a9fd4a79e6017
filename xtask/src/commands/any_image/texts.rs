//! The files of a node whose image is taken as it is, as text; and the definition for the trial run.
//!
//! Every value is written as a JSON string, which YAML reads as it stands, and Tera too: of the escapes, only those of
//! `"` and `\` can occur in a printable line.

use serde_json::json;

use crate::commands::any_image::proposal::{CAPABILITIES_OF_ROOT, Proposal};
use digests::Digest;

/// The memory of the trial run, in MiB.
const TRIAL_RAM: u32 = 4096;

/// The processes and processors of the trial run: of an image of which nothing is known, it could be a fork bomb.
const TRIAL_PROCESSES: &str = "--pids-limit=512";
const TRIAL_CPUS: u32 = 1;

/// IPv6 is off in a container without it.
const SYSCTLS: [&str; 2] = ["net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.default.disable_ipv6=0"];

/// Where the image can be had, as a key of `prebuilt` with its value; nothing if it is on the engine alone.
pub type Place = Option<(&'static str, String)>;

/// The manifest, `docker/NODE/node.yaml`.
pub fn manifest(node: &str, proposal: &Proposal, image_id: &Digest, place: &Place) -> String {
    let Proposal { title, description, version, label, stop_seconds, .. } = proposal;
    let place = match place {
        Some((key, value)) => format!("      {key}: {}\n", quoted(value)),
        None => {
            "      # It is on the engine where it was made, and nowhere else: set `archive` or `registry`.\n".into()
        }
    };
    let limits = stop_seconds.map_or_else(String::new, |seconds| {
        format!(
            "\n# It does not end on SIGTERM, so the engine kills it after 10 s.\nlimits:\n  stop_seconds: {seconds}\n"
        )
    });
    format!(
        "# docs/manifest.md explains every key.\nnode: {node}\ntitle: {}\ndescription: {}\n\
         image: \"{node}:{{{{ version }}}}{{{{ suffix }}}}\"\nid: \"{node}-{{{{ version_id }}}}{{{{ suffix }}}}\"\n\
         label: {}\n\nvariants:\n  - name: image\n    summary: {}\n    version: {}\n    \
         # The image as it is. Another one is refused.\n    prebuilt:\n      image_id: sha256:{image_id}\n\
         {place}{limits}",
        quoted(title),
        quoted(description),
        quoted(label),
        quoted(&format!("{title}, as its makers publish it")),
        quoted(version),
    )
}

/// The template of the node definition, `node-definitions/NODE.yaml`.
pub fn template(node: &str, proposal: &Proposal) -> String {
    let mut text = format!(
        "{{# CML's node definition, as `cargo xtask new` proposed it for this image. partials/ has what all container \
         nodes share;\n   each partial says which variables it uses. -#}}\n\
         {{% set nature = \"server\" -%}}\n{{% set label_prefix = \"{node}-\" -%}}\n\
         {{% set about = title ~ \" \" ~ version -%}}\n"
    );
    let mut set = |name: &str, value: String| text += &format!("{{% set {name} = {value} -%}}\n");
    set(
        "capabilities",
        match proposal.capabilities.as_slice() {
            [] => quoted(CAPABILITIES_OF_ROOT),
            list => listed(list),
        },
    );
    set("sysctls", listed(&SYSCTLS));
    if !proposal.env.is_empty() {
        set("env", listed(&proposal.env));
    }
    set("completed", listed(&proposal.completed));
    set("boot_timeout", proposal.timeout.to_string());
    set("ram", proposal.ram.to_string());
    set("physical", proposal.interfaces.to_string());
    set("default_count", proposal.interfaces.to_string());
    set("min_count", "1".to_owned());
    set("consoles", if proposal.console.is_some() { "2" } else { "1" }.to_owned());
    set("shell", quoted(proposal.console.unwrap_or_default()));
    if let Some(shell) = proposal.day0_shell {
        set("mounts", listed(&["boot.sh"]));
        set("day0_shell", quoted(shell));
        set("day0", quoted("/config/boot.sh"));
    }
    for partial in ["general", "boot", "container", "inherited", "interfaces"] {
        text += &format!("{{% include \"partials/{partial}.yaml\" -%}}\n");
    }
    text += "{% include \"partials/configuration.yaml\" %}\n";
    text + &boot_script(proposal)
}

fn boot_script(proposal: &Proposal) -> String {
    if proposal.day0_shell.is_none() {
        return String::new();
    }
    let mut text = "      - name: boot.sh\n        editable: true\n        content: |\n          \
                    # Commands that run inside the node after it has started, for example, if it has `ip`:\n          \
                    # ip address add 192.0.2.1/24 dev eth0\n          # ip link set eth0 up\n"
        .to_owned();
    if proposal.says_ready {
        text += "          # CML considers the node booted when it sees this on the console.\n          \
                 echo READY > /dev/console\n";
    }
    text + "          exit 0\n"
}

/// A node definition for the trial run, which waits for nothing.
pub fn trial(node: &str, proposal: &Proposal) -> String {
    let interfaces: Vec<String> = (0..proposal.interfaces).map(|number| format!("eth{number}")).collect();
    let sysctls = SYSCTLS.iter().flat_map(|&sysctl| ["--sysctl", sysctl]);
    let run_args: Vec<&str> = sysctls.chain([TRIAL_PROCESSES]).collect();
    let config = json!({"docker": {
        "image": "trial:1", "caps": proposal.capabilities, "env": proposal.env, "run_args": run_args
    }});
    json!({
        "id": node,
        // Without a text, so long the node would be waited for; here it is looked at afterwards.
        "boot": {"timeout": 0},
        "sim": {"linux_native": {
            "libvirt_domain_driver": "docker", "driver": "server", "ram": TRIAL_RAM, "cpus": TRIAL_CPUS
        }},
        "general": {"nature": "server"},
        "ui": {"label": node, "label_prefix": "t-", "icon": "server", "visible": true},
        "device": {"interfaces": {"physical": interfaces, "serial_ports": 1, "has_loopback_zero": false}},
        "configuration": {"generator": {"driver": null}, "provisioning": {
            "volume_name": "cfg", "media_type": "raw",
            "files": [{"name": "config.json", "editable": false, "content": config.to_string()}]
        }},
    })
    .to_string()
}

/// Refuses a text that could not be written into a template as it is.
pub fn check_line(text: &str, most: usize) -> Result<(), String> {
    if text::printable_line(text) == text && (1..=most).contains(&text.chars().count()) {
        return Ok(());
    }
    Err(format!("it is not one line of 1 to {most} printable characters"))
}

/// A string of JSON, which is one of YAML and, for a printable line, of Tera.
fn quoted(text: &str) -> String {
    json!(text::printable_line(text)).to_string()
}

fn listed(texts: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use definitions::container::Container;

    #[test]
    fn strings_are_the_same_to_json_yaml_and_tera() {
        for text in ["plain", r#"a "quoted" \ text"#, "{{ id }} {% raw %} #} 'x' `y`", "#", "ü: - x"] {
            let yaml: String = serde_yaml::from_str(&quoted(text)).unwrap();
            assert_eq!(yaml, text);
            let mut tera = tera::Tera::new();
            tera.add_raw_template("t", &format!("{{% set x = {} -%}}{{{{ x }}}}", quoted(text))).unwrap();
            assert_eq!(tera.render("t", &tera::Context::new()).unwrap(), text);
        }
    }

    #[test]
    fn control_characters_are_never_written() {
        assert_eq!(quoted("a\n\u{1b}b"), "\"a\u{fffd}\u{fffd}b\"");
        assert!(check_line("a\nb", 128).is_err());
        assert!(check_line("", 128).is_err());
        assert!(check_line(&"x".repeat(129), 128).is_err());
        assert!(check_line("{{ x }} \"", 128).is_ok());
    }

    #[test]
    fn the_definition_of_the_trial_run_is_one_that_cml_accepts() {
        let proposal = Proposal { interfaces: 2, env: vec!["A=\"b\"".to_owned()], ..Proposal::default() };
        let container = Container::read(&trial("web", &proposal), "trial");
        let container = container.unwrap();
        assert_eq!(container.interfaces, ["eth0", "eth1"]);
        assert!(container.boot.completed.is_empty());
        assert_eq!((container.ram, container.cpus), (Some(4096), Some(1)));
        assert!(container.config.docker.run_args.iter().any(|arg| arg == "--pids-limit=512"));
    }
}
