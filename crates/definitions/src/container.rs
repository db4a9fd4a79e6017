//! What CML's docker-shim reads of a node definition in order to start a container.
//! [docs/cml.md 5]
//!
//! Reads definitions of any origin. Names that would reach outside the node's folder, and anything
//! that can't be started, are refused here; whether CML accepts the rest of the definition is not
//! asked.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

/// The largest definition that is read: real ones have some ten kilobytes.
const LARGEST: usize = 4 << 20;

/// The most interfaces that a CML node can have. [docs/cml.md 4: `min_count`, `default_count`]
pub const MOST_INTERFACES: usize = 64;

/// A container node, as its definition describes it.
#[derive(Clone, Debug)]
pub struct Container {
    pub id: String,
    pub boot: Boot,
    /// The names inside the container, in order: `eth0`, `eth1` …
    pub interfaces: Vec<String>,
    /// How many a node has when it is placed on the canvas.
    pub default_interfaces: usize,
    /// The folder's name on the server, to which mounts are relative.
    pub volume: String,
    /// Content by name.
    pub files: BTreeMap<String, String>,
    pub config: Config,
}

/// When the node counts as booted.
#[derive(Clone, Debug)]
pub struct Boot {
    pub timeout: Duration,
    /// One of these on the console.
    pub completed: Vec<String>,
    pub uses_regex: bool,
}

/// `config.json`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    pub docker: Docker,
    /// What the second console runs.
    pub shell: Option<String>,
    pub day0cmd: Vec<String>,
    pub busybox: bool,
    /// From CML's interface labels to Linux interface names.
    device_name_map: BTreeMap<String, String>,
}

/// Its part about `docker create`. The four lists of arguments go there as they stand.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Docker {
    pub image: Option<String>,
    pub mounts: Vec<String>,
    pub caps: Vec<String>,
    pub env: Vec<String>,
    pub misc_args: Vec<String>,
    pub run_args: Vec<String>,
    pub name_args: Vec<String>,
    pub extra_args: Vec<String>,
}

impl Docker {
    /// The four lists, with their names.
    pub fn arguments(&self) -> [(&'static str, &Vec<String>); 4] {
        [
            ("misc_args", &self.misc_args),
            ("run_args", &self.run_args),
            ("name_args", &self.name_args),
            ("extra_args", &self.extra_args),
        ]
    }

    /// Takes `argument` out of whichever list has it, with the flag before it.
    ///
    /// # Errors
    /// If none has it.
    pub fn remove_argument(&mut self, argument: &str) -> Result<()> {
        for list in [&mut self.misc_args, &mut self.run_args, &mut self.name_args, &mut self.extra_args] {
            if let Some(at) = list.iter().position(|element| element == argument) {
                let first = if at > 0 && list[at - 1].starts_with("--") { at - 1 } else { at };
                list.drain(first..=at);
                return Ok(());
            }
        }
        bail!("the definition has no argument `{argument}`")
    }

    /// Takes every `--sysctl` of this name out, in both of docker's spellings.
    pub fn remove_sysctl(&mut self, name: &str) {
        let is_meant = |setting: &str| setting.split_once('=').is_some_and(|(one, _)| one == name);
        for list in [&mut self.misc_args, &mut self.run_args, &mut self.name_args, &mut self.extra_args] {
            let mut at = 0;
            while let Some(element) = list.get(at) {
                let (count, setting) = match element.strip_prefix("--sysctl=") {
                    Some(setting) => (1, Some(setting)),
                    None if element == "--sysctl" => (2, list.get(at + 1).map(String::as_str)),
                    None => (1, None),
                };
                if setting.is_some_and(is_meant) {
                    list.drain(at..at + count);
                } else {
                    at += count;
                }
            }
        }
    }

    /// The values of every `--sysctl`, in both of docker's spellings.
    pub fn sysctls(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (_, list) in self.arguments() {
            for (index, element) in list.iter().enumerate() {
                let setting = match element.strip_prefix("--sysctl=") {
                    Some(setting) => Some(setting),
                    None if element == "--sysctl" => list.get(index + 1).map(String::as_str),
                    None => None,
                };
                if let Some((name, value)) = setting.and_then(|setting| setting.split_once('=')) {
                    found.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        found
    }
}

impl Container {
    /// Reads a rendered node definition.
    ///
    /// # Errors
    /// If it is no definition of a container, or one that must not be started.
    pub fn read(text: &str) -> Result<Self> {
        anyhow::ensure!(text.len() <= LARGEST, "the node definition has more than {LARGEST} bytes");
        let raw: Definition = serde_yaml::from_str(text).context("the node definition can't be used")?;
        let driver = &raw.sim.linux_native.libvirt_domain_driver;
        anyhow::ensure!(
            driver == "docker",
            "this is a node of the driver `{driver}`; only containers (`docker`) can be run"
        );
        let volume = raw.configuration.provisioning.volume_name.unwrap_or_else(|| "cfg".to_owned());
        is_plain_name(&volume).with_context(|| "`volume_name`")?;
        let files = files(raw.configuration.provisioning.files)?;
        let config = config(files.get("config.json").map(String::as_str))?;
        let interfaces = linux_names(&raw.device.interfaces.physical, &config.device_name_map)?;
        let container = Self {
            id: raw.id,
            boot: Boot {
                timeout: Duration::from_secs(raw.boot.timeout),
                completed: raw.boot.completed,
                uses_regex: raw.boot.uses_regex,
            },
            default_interfaces: raw
                .device
                .interfaces
                .default_count
                .unwrap_or(1)
                .min(interfaces.len())
                .min(MOST_INTERFACES),
            interfaces,
            volume,
            files,
            config: config.filled_in()?,
        };
        container.mounts()?;
        Ok(container)
    }

    /// Gives a file of the definition other content.
    ///
    /// # Errors
    /// If the definition has no such file.
    pub fn set_file(&mut self, name: &str, content: String) -> Result<()> {
        let known = self.files.keys().cloned().collect::<Vec<_>>();
        let Some(file) = self.files.get_mut(name) else {
            bail!("{} has no file `{name}`: {}", self.id, text::near(name, known.iter().map(String::as_str)))
        };
        *file = content;
        Ok(())
    }

    /// Where the definition mounts this file, inside the container.
    pub fn mounts(&self) -> Result<Vec<Mount>> {
        self.config.docker.mounts.iter().map(|text| Mount::read(text, &self.volume, &self.files)).collect()
    }
}

/// A file of the node's folder that the container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// A name among the definition's files.
    pub file: String,
    /// The mount's other fields as they stand, `target` among them.
    fields: Vec<String>,
}

impl Mount {
    /// `type=bind,source=cfg/NAME,target=/path`, as the shim has it.
    fn read(text: &str, volume: &str, files: &BTreeMap<String, String>) -> Result<Self> {
        let mut fields: Vec<String> = text.split(',').map(str::to_owned).collect();
        let is_source = |field: &String| field.starts_with("source=") || field.starts_with("src=");
        let at = fields.iter().position(is_source).ok_or_else(|| anyhow!("the mount `{text}` has no source"))?;
        let source = fields.remove(at);
        let source = source.split_once('=').map(|(_, path)| path).unwrap_or_default();
        let file = source.strip_prefix(volume).and_then(|rest| rest.strip_prefix('/'));
        let Some(file) = file.filter(|file| is_plain_name(file).is_ok()) else {
            bail!("the mount `{text}` is refused: its source must be a file of the node's folder, `{volume}/NAME`")
        };
        anyhow::ensure!(
            files.contains_key(file),
            "the mount `{text}` names a file that the definition does not have: {}",
            text::near(file, files.keys().map(String::as_str))
        );
        anyhow::ensure!(fields.iter().any(|field| field == "type=bind"), "the mount `{text}` is not of `type=bind`");
        Ok(Self { file: file.to_owned(), fields })
    }

    /// The argument of `--mount`, with the node's folder being at `folder` on the engine's host.
    pub fn argument(&self, folder: &str) -> String {
        let mut fields = self.fields.clone();
        fields.push(format!("source={folder}/{}", self.file));
        fields.join(",")
    }
}

/// A file name without any path in it, and without what would end a field of a mount.
fn is_plain_name(name: &str) -> Result<()> {
    let plain = !name.is_empty()
        && name.len() <= 64
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\', ',', '=', '"'])
        && !name.chars().any(char::is_control);
    anyhow::ensure!(plain, "`{}` is not a plain file name", text::printable(name));
    Ok(())
}

fn files(raw: Vec<RawFile>) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for file in raw {
        is_plain_name(&file.name).context("a name under `provisioning.files`")?;
        let name = file.name.clone();
        let again = files.insert(file.name, file.content.unwrap_or_default()).is_some();
        anyhow::ensure!(!again, "`provisioning.files` has two files `{name}`");
    }
    Ok(files)
}

fn config(text: Option<&str>) -> Result<Config> {
    let text =
        text.context("the node definition has no file config.json, which tells CML how to start the container")?;
    serde_json::from_str(text).map_err(|error| {
        let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default().trim();
        anyhow!("config.json can't be used, at `{}`: {error}", text::printable(line))
    })
}

/// CML names interfaces as it likes; in the container they are `eth0` … unless a map says otherwise.
fn linux_names(labels: &[String], map: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let name = |(index, label): (usize, &String)| {
        let name = map.get(label).cloned().unwrap_or_else(|| format!("eth{index}"));
        let plain = (1..=15).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && !matches!(name.as_str(), "." | ".." | "lo");
        anyhow::ensure!(plain, "`{}` can't be the name of an interface", text::printable(&name));
        Ok(name)
    };
    labels.iter().enumerate().take(MOST_INTERFACES).map(name).collect()
}

impl Config {
    /// Fills in the one kind of Go template action that is known: the name of a device.
    /// [docs/cml.md 5]
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
            action.split_once("}}").ok_or_else(|| anyhow!("`{text}`: a template action does not end"))?;
        let index =
            action.trim().strip_prefix("dev (index .Devices ").and_then(|rest| rest.strip_suffix(").DeviceName"));
        let index: Option<u16> = index.and_then(|index| index.trim().parse().ok());
        let Some(index) = index else {
            bail!("`{{{{{action}}}}}` is filled in by CML alone, so this node can't be run here")
        };
        filled.push_str(before);
        filled.push_str(&format!("eth{index}"));
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[derive(Deserialize)]
struct Definition {
    id: String,
    boot: RawBoot,
    sim: Sim,
    configuration: Configuration,
    device: Device,
}

#[derive(Deserialize)]
struct RawBoot {
    timeout: u64,
    #[serde(default)]
    completed: Vec<String>,
    #[serde(default)]
    uses_regex: bool,
}

#[derive(Deserialize)]
struct Sim {
    linux_native: LinuxNative,
}

#[derive(Deserialize)]
struct LinuxNative {
    libvirt_domain_driver: String,
}

#[derive(Deserialize)]
struct Configuration {
    provisioning: Provisioning,
}

#[derive(Deserialize)]
struct Provisioning {
    volume_name: Option<String>,
    files: Vec<RawFile>,
}

#[derive(Deserialize)]
struct RawFile {
    name: String,
    content: Option<String>,
}

#[derive(Deserialize)]
struct Device {
    interfaces: Interfaces,
}

#[derive(Deserialize)]
struct Interfaces {
    physical: Vec<String>,
    default_count: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFINITION: &str = r#"
id: tiny
boot: {timeout: 30, completed: [READY]}
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
        let read = Container::read(&DEFINITION.replace(from, to));
        format!("{:#}", read.and_then(|node| node.mounts()).unwrap_err())
    }

    #[test]
    fn a_definition_says_how_the_container_is_started() {
        let node = Container::read(DEFINITION).unwrap();
        assert_eq!(node.interfaces, ["eth0", "eth1"]);
        assert_eq!(node.config.docker.env, ["IF=eth1"]);
        assert_eq!(node.config.docker.sysctls().len(), 2);
        let mounts = node.mounts().unwrap();
        assert_eq!(mounts[0].argument("/srv/v"), "type=bind,target=/boot.sh,source=/srv/v/boot.sh");
    }

    #[test]
    fn an_argument_goes_with_the_flag_before_it() {
        let mut node = Container::read(DEFINITION).unwrap();
        node.config.docker.remove_argument("net.ipv4.ip_forward=1").unwrap();
        assert_eq!(node.config.docker.run_args, ["--sysctl=net.ipv6.conf.all.forwarding=1"]);
        assert!(node.config.docker.remove_argument("net.ipv4.ip_forward=1").is_err());
    }

    #[test]
    fn a_sysctl_is_removed_in_either_spelling() {
        let mut docker = Container::read(DEFINITION).unwrap().config.docker;
        docker.remove_sysctl("net.ipv6.conf.all");
        assert_eq!(docker.sysctls().len(), 2);
        docker.remove_sysctl("net.ipv6.conf.all.forwarding");
        assert_eq!(docker.run_args, ["--sysctl", "net.ipv4.ip_forward=1"]);
        docker.remove_sysctl("net.ipv4.ip_forward");
        assert!(docker.run_args.is_empty(), "{:?}", docker.run_args);
    }

    #[test]
    fn mounts_stay_in_the_nodes_folder() {
        for outside in ["/etc/shadow", "cfg/../../etc/shadow", "cfg/sub/boot.sh", "cfg/", "other/boot.sh"] {
            let said = complaint("source=cfg/boot.sh", &format!("source={outside}"));
            assert!(said.contains("must be a file of the node's folder, `cfg/NAME`"), "{outside}: {said}");
        }
        assert!(complaint("source=cfg/boot.sh", "source=cfg/bot.sh").contains("did you mean `boot.sh`?"));
        assert!(complaint("type=bind,source", "type=tmpfs,source").contains("not of `type=bind`"));
    }

    #[test]
    fn hostile_names_are_refused() {
        assert!(complaint("{name: boot.sh", "{name: ../boot.sh").contains("is not a plain file name"));
        assert!(complaint("{name: boot.sh", "{name: 'a,b'").contains("is not a plain file name"));
        assert!(complaint("volume_name: cfg", "volume_name: ../..").contains("volume_name"));
    }

    #[test]
    fn what_is_no_container_is_refused() {
        assert!(complaint("driver: docker", "driver: kvm").contains("driver `kvm`"));
        assert!(complaint("name: config.json", "name: other.json").contains("no file config.json"));
        assert!(complaint("\"shell\":", "shell:").contains("config.json can't be used, at `"));
        let said = complaint("dev (index .Devices 1).DeviceName", "range .Devices");
        assert!(said.contains("filled in by CML alone"), "{said}");
    }

    #[test]
    fn ten_thousand_interfaces_are_no_more_than_a_node_can_have() {
        let many: Vec<String> = (0..10_000).map(|n| format!("e{n}")).collect();
        let text =
            DEFINITION.replace("[eth0, eth1], default_count: 1", &format!("[{}], default_count: 9999", many.join(",")));
        let node = Container::read(&text).unwrap();
        assert_eq!((node.interfaces.len(), node.default_interfaces), (64, 64));
    }
}
