//! A container node, as CML's docker-shim starts it: the values of a node definition that decide that. [docs/cml.md 5]
//!
//! Definitions of any origin come in. Names that lead outside the node's folder are refused here, and whatever cannot
//! be started.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::boot::refused_patterns;
use crate::config::{Config, ConfigFile, Reading, is_interface_name, mount_field};
use crate::document::Document;
use crate::file_names::{is_inner, wrong_names};
use crate::finding::Finding;
use crate::schema::At;
use crate::schema::node::{self, ConfigurationFile, NodeDefinition};
use crate::shim_files::{self, Volume};
use crate::yaml::quoted;

/// The most interfaces that a CML node can have. [docs/cml.md 4: `min_count`, `default_count`]
pub const MOST_INTERFACES: usize = 64;

/// The most things that are named of one kind that is not applied.
const MOST_NAMED: usize = 20;

#[derive(Clone, Debug)]
pub struct Container {
    pub id: String,
    pub boot: Boot,
    /// Mebibytes of memory that CML gives it. [docs/cml.md 4: `ram`]
    pub ram: Option<u32>,
    /// Its processors, and how many percent of them it may use. [docs/cml.md 4: `cpus`, `cpu_limit`]
    pub cpus: Option<u32>,
    pub cpu_limit: Option<u32>,
    /// The names inside the container, in order: `eth0`, `eth1` …
    pub interfaces: Vec<String>,
    /// How many of them a node has when it is put on the canvas.
    pub default_interfaces: usize,
    /// The name of the folder on the server that mounts are relative to.
    pub volume: String,
    /// Content by name.
    pub files: BTreeMap<String, String>,
    pub config: Config,
    /// Keys of `config.json` that nobody is known to read; for a person.
    ignored_keys: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Boot {
    pub timeout: Duration,
    pub completed: Vec<String>,
    pub uses_regex: bool,
}

impl Boot {
    fn of(boot: &node::Boot) -> Self {
        let texts = boot.completed.iter().flatten();
        // CML's schema allows a negative number.
        let seconds = value(&boot.timeout).and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
        Self {
            timeout: Duration::from_secs(seconds),
            completed: texts.map(|text| text.value.clone()).collect(),
            uses_regex: value(&boot.uses_regex).unwrap_or(false),
        }
    }
}

impl Container {
    /// The container that a node definition describes. `file` names the definition in messages. Fails with `lint`'s
    /// words if CML would refuse the definition; and if it is not one of a container, or one that must not be started.
    pub fn read(text: &str, file: impl Display) -> Result<Self> {
        Self::of_document(&Document::read(text.as_bytes()), file)
    }

    /// The same for a file, in any encoding that CML reads.
    pub fn open(path: &Path) -> Result<Self> {
        Self::of_document(&Document::open(path)?, path.display())
    }

    fn of_document(document: &Document, file: impl Display) -> Result<Self> {
        document.refuse_errors(&file)?;
        let Some(definition) = document.as_node() else {
            bail!("{file}: expected a node definition, found an image definition");
        };
        let driver = definition.domain_driver().unwrap_or("none");
        anyhow::ensure!(driver == "docker", "{file}: only containers can run here, not nodes of the driver `{driver}`");
        if let [refused, ..] = [wrong_names(definition), refused_patterns(definition)].concat().as_slice() {
            bail!("{}", refused.line(&file));
        }
        let config = readable_config(definition, &file)?;
        Self::of(definition, &config).with_context(|| file.to_string())
    }

    fn of(definition: &NodeDefinition, read: &ConfigFile) -> Result<Self> {
        let volume = definition.provisioning().and_then(|it| value(&it.volume_name)).unwrap_or_default();
        let config = read.config.clone().filled_in()?;
        let (boot, interfaces) = (definition.boot.as_ref(), definition.interfaces());
        let sim = definition.linux_native();
        let labels = interfaces.and_then(|interfaces| interfaces.physical.as_deref()).unwrap_or_default();
        let names = linux_names(labels, &config.device_name_map)?;
        let default = interfaces.and_then(|interfaces| value(&interfaces.default_count)).unwrap_or(1);
        let container = Self {
            id: value(&definition.id).unwrap_or_default(),
            boot: boot.map(Boot::of).unwrap_or_default(),
            ram: number(sim.and_then(|sim| sim.ram.as_ref())),
            cpus: number(sim.and_then(|sim| sim.cpus.as_ref())),
            cpu_limit: number(sim.and_then(|sim| sim.cpu_limit.as_ref())),
            default_interfaces: usize::try_from(default).unwrap_or(0).min(names.len()),
            interfaces: names,
            volume,
            files: files(definition.files()),
            config,
            ignored_keys: ignored_keys(read),
        };
        container.mounts()?;
        Ok(container)
    }

    /// Replaces the content of a file. Fails if the definition has no such file.
    pub fn set_file(&mut self, name: &str, content: String) -> Result<()> {
        let near = text::near(name, self.files.keys().map(String::as_str));
        *self.files.get_mut(name).with_context(|| format!("{} has no file `{name}`: {near}", self.id))? = content;
        Ok(())
    }

    /// The files that the container sees. Fails if a mount leaves the node's folder, or names a file that is not there.
    pub fn mounts(&self) -> Result<Vec<Mount>> {
        let mounts = self.config.docker.mounts.iter().filter(|text| Volume::read(text).is_err());
        mounts.map(|text| Mount::read(text, &self.volume, &self.files)).collect()
    }

    /// The volumes that it gets, by `config.json` and by the file `mounts`.
    pub fn volumes(&self) -> Vec<Volume> {
        let mounts = self.config.docker.mounts.iter().filter_map(|text| Volume::read(text).ok());
        mounts.chain(shim_files::volumes(self.text_of(shim_files::MOUNTS)).0).collect()
    }

    /// Its variables, `NAME=VALUE`, by `config.json` and by the file `environment`.
    pub fn variables(&self) -> Vec<String> {
        let of_file = shim_files::variables(self.text_of(shim_files::ENVIRONMENT)).0;
        self.config.docker.env.iter().cloned().chain(of_file).collect()
    }

    /// What it asks for in vain here, each with the reason, for a person.
    pub fn not_applied(&self) -> Vec<String> {
        let mounts = shim_files::volumes(self.text_of(shim_files::MOUNTS)).1;
        let variables = shim_files::variables(self.text_of(shim_files::ENVIRONMENT)).1;
        let lines = mounts.into_iter().take(MOST_NAMED).chain(variables.into_iter().take(MOST_NAMED));
        self.ignored_keys.iter().cloned().chain(lines.map(|ignored| ignored.message)).collect()
    }

    fn text_of(&self, file: &str) -> &str {
        self.files.get(file).map_or("", String::as_str)
    }
}

/// A file of the node's folder that the container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// A name among the definition's files.
    pub file: String,
    /// The mount's other fields, unchanged; `target` is among them.
    fields: Vec<String>,
}

impl Mount {
    /// `type=bind,source=cfg/NAME,target=/path`, as the shim reads it.
    fn read(text: &str, volume: &str, files: &BTreeMap<String, String>) -> Result<Self> {
        const SOURCE: &[&str] = &["source", "src"];
        let source = mount_field(text, SOURCE).ok_or_else(|| anyhow!("the mount `{text}` has no source"))?;
        let file = source.strip_prefix(volume).and_then(|rest| rest.strip_prefix('/'));
        let Some(file) = file.filter(|file| is_inner(file)) else {
            bail!("the mount `{text}` is refused: its source must be a file of the node's folder, `{volume}/NAME`")
        };
        anyhow::ensure!(
            files.contains_key(file),
            "mount source `{source}` is not a file in this definition: {}",
            text::near(file, files.keys().map(String::as_str))
        );
        anyhow::ensure!(text.split(',').any(|field| field == "type=bind"), "the mount `{text}` is not of `type=bind`");
        let is_source = |field: &&str| field.split_once('=').is_some_and(|(key, _)| SOURCE.contains(&key));
        let fields = text.split(',').filter(|field| !is_source(field)).map(str::to_owned).collect();
        Ok(Self { file: file.to_owned(), fields })
    }

    /// The argument of `--mount`, with the node's folder being at `folder` on the engine's host.
    pub fn argument(&self, folder: &str) -> String {
        let mut fields = self.fields.clone();
        fields.push(format!("source={folder}/{}", self.file));
        fields.join(",")
    }
}

fn readable_config(definition: &NodeDefinition, file: &impl Display) -> Result<Box<ConfigFile>> {
    let explained = |finding: &Finding| match &finding.help {
        Some(help) => format!("{}\n  {help}", finding.line(file)),
        None => finding.line(file),
    };
    match ConfigFile::of(definition) {
        Reading::File(read) if !read.findings.is_empty() => {
            let shown: Vec<String> = read.findings.iter().take(MOST_NAMED).map(explained).collect();
            let more = read.findings.len() - shown.len();
            let rest = if more > 0 { format!("\nand {more} more") } else { String::new() };
            bail!("{}{rest}", shown.join("\n"))
        }
        Reading::File(read) if !read.is_template => Ok(read),
        Reading::File(_) | Reading::Undecided => {
            bail!("{file}: config.json is a template that only CML can fill in, so this node cannot run here")
        }
        Reading::Missing => bail!("{file}: there is no file config.json, which tells CML how to create the container"),
        Reading::Wrong(finding) => bail!("{}", explained(&finding)),
    }
}

fn ignored_keys(read: &ConfigFile) -> Vec<String> {
    let ignored = read.unknown_keys().into_iter().take(MOST_NAMED).map(|(steps, _)| {
        format!("config.json: the docker-shim is not known to read the key {}: it is ignored", quoted(&steps.join(".")))
    });
    ignored.collect()
}

fn files(definition: &[ConfigurationFile]) -> BTreeMap<String, String> {
    definition.iter().map(|file| (value(&file.name).unwrap_or_default(), file.text().into_owned())).collect()
}

fn number(field: Option<&At<i64>>) -> Option<u32> {
    field.and_then(|field| u32::try_from(field.value).ok())
}

fn value<T: Clone>(field: &Option<At<T>>) -> Option<T> {
    field.as_ref().map(|field| field.value.clone())
}

/// CML names interfaces as it likes; in the container they are `eth0` … unless a map says otherwise.
fn linux_names(labels: &[At<String>], map: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let name = |(index, label): (usize, &At<String>)| {
        let name = map.get(&label.value).cloned().unwrap_or_else(|| format!("eth{index}"));
        anyhow::ensure!(
            is_interface_name(&name),
            "`{}` is not a valid name of an interface",
            text::excerpt(&name, 100)
        );
        Ok(name)
    };
    labels.iter().enumerate().take(MOST_INTERFACES).map(name).collect()
}

impl Config {
    /// Fills in the one kind of Go template action that is known: the name of a device. [docs/cml.md 5]
    fn filled_in(mut self) -> Result<Self> {
        let docker = &mut self.docker;
        let lists = [
            ("mounts", &mut docker.mounts),
            ("env", &mut docker.env),
            ("misc_args", &mut docker.misc_args),
            ("run_args", &mut docker.run_args),
            ("name_args", &mut docker.name_args),
            ("extra_args", &mut docker.extra_args),
            ("day0cmd", &mut self.day0cmd),
        ];
        for (name, list) in lists {
            for text in list {
                *text = fill_in(text).with_context(|| format!("config.json, `{name}`"))?;
            }
        }
        Ok(self)
    }
}

/// `{{ dev (index .Devices 2).DeviceName }}` → `eth2`
fn fill_in(text: &str) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, action)) = rest.split_once("{{") {
        let (action, after) =
            action.split_once("}}").with_context(|| format!("`{text}`: a template action has no end"))?;
        let inner = action.trim().strip_prefix("dev (index .Devices ");
        let index = inner.and_then(|inner| inner.strip_suffix(").DeviceName")?.trim().parse::<u16>().ok());
        let Some(index) = index else { bail!("only CML can fill in `{{{{{action}}}}}`, so this node cannot run here") };
        filled += &format!("{before}eth{index}");
        rest = after;
    }
    Ok(filled + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITION: &str = r#"
id: tiny
boot: {timeout: 30, completed: [READY]}
general: {nature: server}
ui: {label: Tiny, label_prefix: tiny-, icon: server, visible: true}
sim: {linux_native: {libvirt_domain_driver: docker, driver: server, ram: 64}}
device: {interfaces: {physical: [eth0, eth1], default_count: 1, serial_ports: 2, has_loopback_zero: false}}
configuration:
  generator: {driver: null}
  provisioning:
    volume_name: cfg
    media_type: raw
    files:
      - {name: boot.sh, editable: true, content: 'exit 0'}
      - name: config.json
        editable: false
        content: |
          {"docker": {"image": "tiny:1", "mounts": ["type=bind,source=cfg/boot.sh,target=/boot.sh"],
            "env": ["IF={{ dev (index .Devices 1).DeviceName }}"],
            "run_args": ["--sysctl", "net.ipv4.ip_forward=1", "--sysctl=net.ipv6.conf.all.forwarding=1"]},
           "shell": "/bin/sh", "day0cmd": ["/bin/sh", "/boot.sh"], "busybox": true, "vnc": {"width": 1}}
"#;

    fn complaint(from: &str, to: &str) -> String {
        assert!(DEFINITION.contains(from), "{from}");
        let read = Container::read(&DEFINITION.replace(from, to), "tiny.yaml");
        format!("{:#}", read.and_then(|node| node.mounts()).unwrap_err())
    }

    /// As `lint` does.
    #[test]
    fn each_error_of_config_json_is_named() {
        let said = complaint(r#""shell": "/bin/sh""#, r#""shell": 1, "privileged": "yes""#);
        assert!(said.contains("expected a string") && said.contains("expected true or false"), "{said}");
    }

    #[test]
    fn a_definition_says_how_the_container_is_started() {
        let node = Container::read(DEFINITION, "tiny.yaml").unwrap();
        assert_eq!(node.interfaces, ["eth0", "eth1"]);
        assert_eq!(node.config.docker.env, ["IF=eth1"]);
        assert_eq!(node.config.docker.sysctls().len(), 2);
        let mounts = node.mounts().unwrap();
        assert_eq!(mounts[0].argument("/srv/v"), "type=bind,target=/boot.sh,source=/srv/v/boot.sh");
    }

    /// Go takes them, and this program must not read them otherwise.
    #[test]
    fn a_key_that_is_there_twice_or_spelt_in_capitals_is_refused() {
        let twice = complaint("\"shell\":", "\"privileged\": false, \"privileged\": true, \"shell\":");
        assert!(
            twice.contains("error[duplicate-key]: ") && twice.contains("config.json has the key `privileged` twice"),
            "{twice}"
        );
        let capitals = complaint("\"shell\":", "\"Privileged\": true, \"shell\":");
        assert!(capitals.contains("CML reads the key `Privileged` as `privileged`"), "{capitals}");
        assert!(complaint("\"docker\":", "\"DOCKER\":").contains("`DOCKER` as `docker`"));
    }

    /// As Go's encoding/json takes values into typed fields.
    #[test]
    fn values_have_the_types_that_go_takes() {
        for (from, to) in [
            ("\"env\":", "\"caps\": null, \"env\":"),
            ("\"busybox\": true", "\"busybox\": null, \"privileged\": null, \"device_name_map\": null"),
        ] {
            assert!(Container::read(&DEFINITION.replace(from, to), "tiny.yaml").is_ok(), "{to}");
        }
        for (from, to, said) in [
            (
                "[\"/bin/sh\", \"/boot.sh\"]",
                "\"x\"",
                "day0cmd: expected a list of strings, found a string\n  put it in",
            ),
            ("\"busybox\": true", "\"busybox\": 1", "busybox: expected true or false, found a number\n  write true"),
            ("\"shell\": \"/bin/sh\"", "\"shell\": 1", "shell: expected a string, found a number\n  put it in quotes"),
            ("\"run_args\": [", "\"run_args\": [7, ", "run_args[0]: expected a string, found a number"),
            ("\"busybox\": true", "\"device_name_map\": {\"eth0\": 1}", "device_name_map.eth0: expected a string"),
            ("\"tiny:1\"", "[]", "docker.image: expected a string, found a list"),
        ] {
            let complaint = complaint(from, to);
            assert!(complaint.contains("error[config-json]") && complaint.contains(said), "{complaint}");
        }
    }

    #[test]
    fn keys_that_are_ignored_are_named() {
        let text = DEFINITION.replace("\"env\":", "\"cap\": [\"KILL\"], \"env\":");
        let node = Container::read(&text, "tiny.yaml").unwrap();
        let named = "config.json: the docker-shim is not known to read the key `docker.cap`: it is ignored";
        assert_eq!(node.not_applied(), [named]);
    }

    #[test]
    fn an_expression_that_python_refuses_is_refused() {
        let regex = |text: &str| format!("completed: ['{text}'], uses_regex: true}}");
        let said = complaint("completed: [READY]}", &regex("(?<name>R1)"));
        assert!(
            said.contains("tiny.yaml:3:") && said.contains("error[boot-regex]: boot.completed[0]: Python"),
            "{said}"
        );
        let good = DEFINITION.replace("completed: [READY]}", &regex("(?P<name>R1)(?=#)"));
        assert!(Container::read(&good, "tiny.yaml").unwrap().boot.uses_regex);
    }

    #[test]
    fn an_argument_goes_with_the_flag_before_it() {
        let mut node = Container::read(DEFINITION, "tiny.yaml").unwrap();
        node.config.docker.remove_argument("net.ipv4.ip_forward=1").unwrap();
        assert_eq!(node.config.docker.run_args, ["--sysctl=net.ipv6.conf.all.forwarding=1"]);
        assert!(node.config.docker.remove_argument("net.ipv4.ip_forward=1").is_err());
    }

    #[test]
    fn a_sysctl_is_removed_in_either_spelling() {
        let mut docker = Container::read(DEFINITION, "tiny.yaml").unwrap().config.docker;
        docker.remove_sysctl("net.ipv6.conf.all");
        assert_eq!(docker.sysctls().len(), 2);
        docker.remove_sysctl("net.ipv6.conf.all.forwarding");
        assert_eq!(docker.run_args, ["--sysctl", "net.ipv4.ip_forward=1"]);
        docker.remove_sysctl("net.ipv4.ip_forward");
        assert!(docker.run_args.is_empty(), "{:?}", docker.run_args);
    }

    #[test]
    fn mounts_stay_in_the_nodes_folder() {
        for outside in ["/etc/shadow", "cfg/../../etc/shadow", "cfg/sub/../boot.sh", "cfg/", "other/boot.sh"] {
            let said = complaint("source=cfg/boot.sh", &format!("source={outside}"));
            assert!(said.contains("must be a file of the node's folder, `cfg/NAME`"), "{outside}: {said}");
        }
        assert!(complaint("source=cfg/boot.sh", "source=cfg/bot.sh").contains("did you mean `boot.sh`?"));
        assert!(complaint("type=bind,source", "type=tmpfs,source").contains("not of `type=bind`"));
    }

    #[test]
    fn volumes_and_variables_are_those_of_config_json_and_of_the_files() {
        let files = "- {name: mounts, editable: true, content: 'type=volume,target=/b'}\n      \
                     - {name: environment, editable: true, content: 'X=1'}\n      - {name: boot.sh";
        let text = DEFINITION.replace("- {name: boot.sh", files);
        let text = text.replace("\"mounts\": [", "\"mounts\": [\"type=volume,source=a,target=/a\", ");
        let node = Container::read(&text, "tiny.yaml").unwrap();
        let volumes: Vec<String> = node.volumes().iter().map(|volume| volume.argument("v")).collect();
        assert_eq!(volumes, ["type=volume,target=/a,source=v", "type=volume,target=/b,source=v"]);
        assert_eq!((node.mounts().unwrap().len(), node.variables()), (1, vec!["IF=eth1".into(), "X=1".into()]));
        assert!(node.not_applied().is_empty());
        for source in ["/etc", "cfg/boot.sh", "../x"] {
            let said = complaint("\"mounts\": [", &format!("\"mounts\": [\"type=volume,source={source},target=/a\", "));
            assert!(said.contains("is refused") || said.contains("is not of `type=bind`"), "{said}");
        }
    }

    #[test]
    fn files_may_be_in_folders() {
        let text = DEFINITION.replace("name: boot.sh", "name: a/b/boot.sh").replace("cfg/boot.sh", "cfg/a/b/boot.sh");
        let mounts = Container::read(&text, "tiny.yaml").unwrap().mounts().unwrap();
        assert_eq!(mounts[0].argument("/srv/v"), "type=bind,target=/boot.sh,source=/srv/v/a/b/boot.sh");
        let other = |name: &str| format!("- {{name: {name}, editable: true}}\n      - {{name: boot.sh");
        for (name, said) in
            [("boot.sh", "the name of another file"), ("boot.sh/x", "both a file and a folder"), ("x/", "not the path")]
        {
            assert!(complaint("- {name: boot.sh", &other(name)).contains(said), "{name}");
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        assert!(complaint("{name: boot.sh", "{name: ../boot.sh").contains("is not the path of a file"));
        assert!(complaint("{name: boot.sh", "{name: 'a,b'").contains("is not the path of a file"));
        assert!(complaint("volume_name: cfg", "volume_name: ../..").contains("volume_name"));
    }

    #[test]
    fn definitions_that_cannot_be_started_are_refused() {
        assert!(complaint("driver: docker", "driver: iol").contains("driver `iol`"));
        assert!(complaint("name: config.json", "name: other.json").contains("no file config.json"));
        assert!(complaint("\"shell\":", "shell:").contains("tiny.yaml:21:12: error[config-json]: "));
        let said = complaint("dev (index .Devices 1).DeviceName", "range .Devices");
        assert!(said.contains("only CML can fill in"), "{said}");
    }

    #[test]
    fn ten_thousand_interfaces_are_no_more_than_a_node_can_have() {
        let many: Vec<String> = (0..10_000).map(|n| format!("e{n}")).collect();
        let text =
            DEFINITION.replace("[eth0, eth1], default_count: 1", &format!("[{}], default_count: 64", many.join(",")));
        let node = Container::read(&text, "tiny.yaml").unwrap();
        assert_eq!((node.interfaces.len(), node.default_interfaces), (64, 64));
    }
}
