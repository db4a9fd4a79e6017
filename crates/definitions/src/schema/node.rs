//! The node definition: a kind of device. [docs/cml.md 4]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::at::At;
use super::reader::{Fields, Reader};
use super::rules;
use super::scalar::{
    NAME, any_text, boolean, is_cpu_model, is_icon, is_name, lax_text, line, line_that, literally_one_of, not_one_of,
    one_of, one_of_numbers, or_null, text, whole,
};
use crate::yaml::{Mark, Node, Value, quoted};

const DOMAIN_DRIVERS: &[&str] = &["kvm", "none", "iol", "docker", "ums"];

const DRIVERS: &[&str] = &[
    "asav",
    "alpine",
    "cat9k",
    "coreos",
    "csr1000v",
    "external_connector",
    "iol",
    "iol_l2",
    "iosv",
    "iosvl2",
    "iosxrv",
    "iosxrv9000",
    "lxc",
    "nxosv",
    "nxosv9000",
    "pagent",
    "server",
    "trex",
    "ubuntu",
    "unmanaged_switch",
    "wan_emulator",
];

const DISK_DRIVERS: &[&str] = &["ide", "sata", "virtio"];

const NIC_DRIVERS: &[&str] = &[
    "virtio",
    "e1000",
    "rtl8139",
    "vmxnet3",
    "e1000e",
    "e1000-82544gc",
    "e1000-82545em",
    "i82550",
    "i82551",
    "i82557a",
    "i82557b",
    "i82557c",
    "i82558a",
    "i82558b",
    "i82559a",
    "i82559b",
    "i82559c",
    "i82559er",
    "i82562",
    "i82801",
];

const VIDEO_MODELS: &[&str] = &["vga", "cirrus", "vmvga", "qxl", "xen", "virtio", "none"];

const NATURES: &[&str] = &["router", "switch", "server", "cloud", "host", "firewall", "wireless", "external_connector"];

const GENERATORS: &[&str] = &[
    "asav",
    "alpine",
    "cat9000v",
    "coreos",
    "csr1000v",
    "desktop",
    "fmcv",
    "ftdv",
    "iosv",
    "iosvl2",
    "iosxrv",
    "iosxrv9000",
    "ise",
    "lxc",
    "nxosv",
    "nxosv9000",
    "pagent",
    "sdwan",
    "sdwan_edge",
    "sdwan_manager",
    "server",
    "trex",
    "ubuntu",
    "wan_emulator",
    "wireless_ap",
    "wireless_client",
    "xrd",
];

const MEDIA_TYPES: &[&str] = &["iso", "fat", "raw", "ext4"];

const ICONS: &[&str] = &["router", "switch", "server", "host", "cloud", "firewall", "access_point", "wlc"];

const GROUPS: &[&str] = &["Cisco", "Others"];

/// Mebibytes of memory.
const RAM: std::ops::RangeInclusive<i64> = 1..=1_048_576;
/// Gibibytes of a disk.
const DISK: std::ops::RangeInclusive<i64> = 0..=4096;

#[derive(Debug, Default, Serialize)]
pub struct NodeDefinition {
    pub id: Option<At<String>>,
    pub boot: Option<Boot>,
    pub sim: Option<Simulation>,
    pub general: Option<General>,
    pub configuration: Option<Configuration>,
    pub device: Option<Device>,
    pub ui: Option<Ui>,
    pub inherited: Option<Inherited>,
    pub pyats: Option<PyAts>,
    pub schema_version: Option<At<String>>,
    pub image_definitions: Option<Vec<At<String>>>,
}

impl NodeDefinition {
    pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Self> {
        reader.object(node, |fields| {
            let definition = Self {
                id: fields.required("id", line_that(1..=250, NAME, is_name)),
                boot: fields.required("boot", Boot::read),
                sim: fields.required("sim", Simulation::read),
                general: fields.required("general", General::read),
                configuration: fields.required("configuration", Configuration::read),
                device: fields.required("device", Device::read),
                ui: fields.required("ui", Ui::read),
                inherited: fields.optional("inherited", Inherited::read),
                pyats: fields.optional("pyats", PyAts::read),
                schema_version: fields.optional("schema_version", line(1..=32)),
                image_definitions: fields.optional("image_definitions", |reader, node| {
                    reader.list(node, 0, line_that(1..=250, NAME, is_name))
                }),
            };
            definition.check_consoles(fields);
            definition
        })
    }

    pub fn domain_driver(&self) -> Option<&'static str> {
        Some(self.sim.as_ref()?.linux_native.as_ref()?.libvirt_domain_driver.as_ref()?.value)
    }

    pub fn interfaces(&self) -> Option<&Interfaces> {
        self.device.as_ref()?.interfaces.as_ref()
    }

    pub fn provisioning(&self) -> Option<&Provisioning> {
        self.configuration.as_ref()?.provisioning.as_ref()
    }

    /// The files that a node of this kind gets; none where the key is missing or wrong.
    pub fn files(&self) -> &[ConfigurationFile] {
        self.provisioning().and_then(|provisioning| provisioning.files.as_deref()).unwrap_or_default()
    }

    fn check_consoles(&self, fields: &mut Fields<'_, '_>) {
        let ports = self.interfaces().and_then(|interfaces| interfaces.serial_ports.as_ref());
        let (Some(driver), Some(ports)) = (self.domain_driver(), ports) else { return };
        let most = match driver {
            "kvm" => 4,
            "docker" | "iol" => 2,
            _ => 0,
        };
        if ports.value > most {
            let message = format!("{driver} has at most {most} serial ports, found {}", ports.value);
            let at = ports.at;
            fields
                .reader
                .inside("device.interfaces.serial_ports", |reader| reader.report(&rules::DOMAIN, at, message, None));
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Boot {
    /// Seconds.
    pub timeout: Option<At<i64>>,
    pub completed: Option<Vec<At<String>>>,
    pub uses_regex: Option<At<bool>>,
}

impl Boot {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self {
            timeout: fields.required("timeout", whole(i64::MIN..=86_400)),
            completed: fields.optional("completed", |reader, node| reader.list(node, 1, line(0..=128))),
            uses_regex: fields.optional("uses_regex", boolean),
        })
    }
}

#[derive(Debug, Serialize)]
pub struct Simulation {
    pub linux_native: Option<LinuxNative>,
    #[serde(serialize_with = "as_texts")]
    pub parameters: Option<BTreeMap<String, Arc<Node>>>,
    pub usage_estimations: Option<UsageEstimations>,
}

impl Simulation {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self {
            linux_native: fields.required("linux_native", LinuxNative::read),
            parameters: fields.optional("parameters", parameters),
            usage_estimations: fields.optional("usage_estimations", UsageEstimations::read),
        })
    }
}

/// A mapping with any keys.
fn parameters(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<BTreeMap<String, Arc<Node>>> {
    let Some(map) = node.map() else {
        return reader.wrong_type(node, "a mapping", None);
    };
    let mut read = BTreeMap::new();
    for entry in map.entries() {
        let Some(key) = lax_text(&entry.key) else {
            let message = format!("expected a text as key, found {}", entry.key.describe());
            reader.report(&rules::TYPE, entry.key.at, message, Some("quote it".to_owned()));
            continue;
        };
        if key.contains(['\n', '\r']) {
            reader.report(
                &rules::PATTERN,
                entry.key.at,
                format!("expected a key on one line, found {}", quoted(&key)),
                None,
            );
        }
        reader.inside(format_args!(".{key}"), |reader| or_null(any_text)(reader, &entry.value));
        read.insert(key.into_owned(), entry.value.clone());
    }
    Some(read)
}

#[derive(Debug, Serialize)]
pub struct LinuxNative {
    pub libvirt_domain_driver: Option<At<&'static str>>,
    pub driver: Option<At<&'static str>>,
    pub disk_driver: Option<At<&'static str>>,
    pub efi_boot: Option<At<bool>>,
    pub efi_code: Option<At<String>>,
    pub efi_vars: Option<At<String>>,
    pub machine_type: Option<At<String>>,
    /// Mebibytes.
    pub ram: Option<At<i64>>,
    pub cpus: Option<At<i64>>,
    /// Percent of the CPUs.
    pub cpu_limit: Option<At<i64>>,
    pub cpu_model: Option<At<String>>,
    pub nic_driver: Option<At<&'static str>>,
    /// Gibibytes.
    pub data_volume: Option<At<i64>>,
    /// Gibibytes.
    pub boot_disk_size: Option<At<i64>>,
    pub video: Option<Video>,
    pub enable_rng: Option<At<bool>>,
    pub enable_tpm: Option<At<bool>>,
}

impl LinuxNative {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| {
            let native = Self {
                libvirt_domain_driver: fields.required("libvirt_domain_driver", one_of(DOMAIN_DRIVERS)),
                driver: fields.required("driver", one_of(DRIVERS)),
                disk_driver: fields.optional("disk_driver", one_of(DISK_DRIVERS)),
                efi_boot: fields.optional("efi_boot", boolean),
                efi_code: fields.optional("efi_code", line_that(1..=255, NAME, is_name)),
                efi_vars: fields.optional("efi_vars", line_that(1..=255, NAME, is_name)),
                machine_type: fields.optional("machine_type", line(1..=32)),
                ram: fields.optional("ram", whole(RAM)),
                cpus: fields.optional("cpus", whole(1..=128)),
                cpu_limit: fields.optional("cpu_limit", whole(20..=100)),
                cpu_model: fields.optional(
                    "cpu_model",
                    line_that(
                        1..=64,
                        "a model of 1 to 32 letters, digits and `-`, then features such as `,+vmx`",
                        is_cpu_model,
                    ),
                ),
                nic_driver: fields.optional("nic_driver", one_of(NIC_DRIVERS)),
                data_volume: fields.optional("data_volume", whole(DISK)),
                boot_disk_size: fields.optional("boot_disk_size", whole(DISK)),
                video: fields.optional("video", Video::read),
                enable_rng: fields.optional("enable_rng", boolean),
                enable_tpm: fields.optional("enable_tpm", boolean),
            };
            native.check_domain(fields);
            native
        })
    }

    /// The keys that each kind of machine requires.
    fn check_domain(&self, fields: &mut Fields<'_, '_>) {
        let Some(driver) = &self.libvirt_domain_driver else { return };
        let needed: &[&str] = match driver.value {
            "kvm" => &["cpus", "ram", "nic_driver", "disk_driver"],
            "docker" | "iol" => &["ram"],
            _ => &[],
        };
        for key in needed {
            if !fields.has(key) {
                fields.report(
                    &rules::DOMAIN,
                    key,
                    format!("the key `{key}` is missing; {} requires it", driver.value),
                    None,
                );
            }
        }
    }
}

#[derive(Debug, Serialize)]
pub struct Video {
    /// Mebibytes.
    pub memory: Option<At<i64>>,
    pub model: Option<At<&'static str>>,
}

impl Video {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self {
            memory: fields.required("memory", whole(1..=128)),
            model: fields.optional("model", one_of(VIDEO_MODELS)),
        })
    }
}

#[derive(Debug, Serialize)]
pub struct UsageEstimations {
    /// Hundredths of a CPU.
    pub cpus: Option<At<i64>>,
    /// Mebibytes.
    pub ram: Option<At<i64>>,
    /// Mebibytes.
    pub disk: Option<At<i64>>,
}

impl UsageEstimations {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self {
            cpus: fields.optional("cpus", whole(1..=12_800)),
            ram: fields.optional("ram", whole(RAM)),
            disk: fields.optional("disk", whole(1..=4_194_304)),
        })
    }
}

#[derive(Debug, Serialize)]
pub struct General {
    pub nature: Option<At<&'static str>>,
    pub description: Option<At<String>>,
    pub read_only: Option<At<bool>>,
}

impl General {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self {
            nature: fields.required("nature", one_of(NATURES)),
            description: fields.optional("description", text(0..=4096)),
            read_only: fields.optional("read_only", boolean),
        })
    }
}

#[derive(Debug, Serialize)]
pub struct Configuration {
    pub generator: Option<Generator>,
    pub provisioning: Option<Provisioning>,
}

impl Configuration {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self {
            generator: fields.required("generator", Generator::read),
            provisioning: fields.optional("provisioning", Provisioning::read),
        })
    }
}

#[derive(Debug, Serialize)]
pub struct Generator {
    pub driver: Option<At<&'static str>>,
}

impl Generator {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self { driver: fields.required("driver", or_null(one_of(GENERATORS))) })
    }
}

#[derive(Debug, Serialize)]
pub struct Provisioning {
    pub volume_name: Option<At<String>>,
    pub media_type: Option<At<&'static str>>,
    pub files: Option<Vec<ConfigurationFile>>,
}

impl Provisioning {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self {
            files: fields.required("files", |reader, node| reader.list(node, 1, ConfigurationFile::read)),
            media_type: fields.required("media_type", one_of(MEDIA_TYPES)),
            volume_name: fields.required("volume_name", line(1..=32)),
        })
    }
}

#[derive(Debug, Serialize)]
pub struct ConfigurationFile {
    pub name: Option<At<String>>,
    pub editable: Option<At<bool>>,
    /// The node itself, which knows the place of each line.
    #[serde(serialize_with = "as_text")]
    pub content: Option<Arc<Node>>,
    #[serde(skip)]
    pub at: Mark,
}

fn as_texts<S: Serializer>(map: &Option<BTreeMap<String, Arc<Node>>>, serializer: S) -> Result<S::Ok, S::Error> {
    let texts = map.iter().flatten().map(|(key, value)| (key, lax_text(value)));
    serializer.collect_map(texts)
}

fn as_text<S: Serializer>(content: &Option<Arc<Node>>, serializer: S) -> Result<S::Ok, S::Error> {
    content.as_deref().and_then(lax_text).serialize(serializer)
}

impl ConfigurationFile {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self {
            editable: fields.required("editable", boolean),
            name: fields.required("name", line(1..=64)),
            content: fields.optional("content", |reader, node| or_null(any_text)(reader, node).map(|_| node.clone())),
            at: node.at,
        })
    }

    /// The content; empty if it is missing or null.
    pub fn text(&self) -> Cow<'_, str> {
        self.content.as_deref().and_then(lax_text).unwrap_or_default()
    }
}

#[derive(Debug, Serialize)]
pub struct Device {
    pub interfaces: Option<Interfaces>,
}

impl Device {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self { interfaces: fields.required("interfaces", Interfaces::read) })
    }
}

#[derive(Debug, Serialize)]
pub struct Interfaces {
    pub serial_ports: Option<At<i64>>,
    pub default_console: Option<At<i64>>,
    pub physical: Option<Vec<At<String>>>,
    pub has_loopback_zero: Option<At<bool>>,
    pub min_count: Option<At<i64>>,
    pub default_count: Option<At<i64>>,
    pub iol_static_ethernets: Option<At<i64>>,
    pub loopback: Option<Vec<At<String>>>,
    pub management: Option<Vec<At<String>>>,
}

impl Interfaces {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        let names = |reader: &mut Reader<'_>, node: &Arc<Node>| reader.list(node, 1, line(1..=32));
        reader.object(node, |fields| {
            let interfaces = Self {
                serial_ports: fields.required("serial_ports", whole(0..=4)),
                default_console: fields.optional("default_console", whole(0..=4)),
                physical: fields.required("physical", names),
                has_loopback_zero: fields.required("has_loopback_zero", boolean),
                min_count: fields.optional("min_count", whole(0..=64)),
                default_count: fields.optional("default_count", whole(1..=64)),
                iol_static_ethernets: fields.optional("iol_static_ethernets", one_of_numbers(&[0, 4, 8, 12, 16])),
                loopback: fields.optional("loopback", names),
                management: fields.optional("management", names),
            };
            let has_zero = interfaces.has_loopback_zero.as_ref().is_some_and(|has| has.value);
            if has_zero && !fields.has("loopback") {
                let message = "the key `loopback` is missing; it is required if `has_loopback_zero` is true";
                fields.report(&rules::DOMAIN, "loopback", message, None);
            }
            interfaces
        })
    }
}

#[derive(Debug, Serialize)]
pub struct Ui {
    pub label_prefix: Option<At<String>>,
    pub icon: Option<At<String>>,
    pub label: Option<At<String>>,
    pub visible: Option<At<bool>>,
    pub group: Option<At<&'static str>>,
    pub description: Option<At<String>>,
}

impl Ui {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self {
            label_prefix: fields.required("label_prefix", line(1..=32)),
            icon: fields.required("icon", icon),
            label: fields.required("label", line(1..=32)),
            visible: fields.required("visible", boolean),
            group: fields.optional("group", literally_one_of(GROUPS)),
            description: fields.optional("description", text(0..=4096)),
        })
    }
}

fn icon(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<At<String>> {
    let text = lax_text(node);
    if let Some(text) = text.as_ref().filter(|text| ICONS.contains(&text.as_ref()) || is_icon(text)) {
        return Some(At { value: text.clone().into_owned(), at: node.at });
    }
    if text.is_some_and(|text| text.starts_with("data:")) {
        let message =
            "expected data:image/png;base64,… (or jpeg, svg+xml) with complete Base64 data, found another URI";
        reader.report(&rules::PATTERN, node.at, message, None);
    } else {
        not_one_of(reader, node, ICONS);
    }
    None
}

#[derive(Debug, Serialize)]
pub struct Inherited {
    pub image: Option<Inheritance>,
    pub node: Option<Inheritance>,
}

impl Inherited {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self {
            image: fields.required("image", Inheritance::read),
            node: fields.required("node", Inheritance::read),
        })
    }
}

/// The values that an image definition, or a node in a lab, may override.
#[derive(Debug, Serialize)]
pub struct Inheritance {
    pub ram: Option<At<bool>>,
    pub cpus: Option<At<bool>>,
    pub data_volume: Option<At<bool>>,
    pub boot_disk_size: Option<At<bool>>,
    pub cpu_limit: Option<At<bool>>,
}

impl Inheritance {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self {
            ram: fields.required("ram", boolean),
            cpus: fields.required("cpus", boolean),
            data_volume: fields.required("data_volume", boolean),
            boot_disk_size: fields.required("boot_disk_size", boolean),
            cpu_limit: fields.optional("cpu_limit", boolean),
        })
    }
}

/// How pyATS (<https://developer.cisco.com/pyats/>) talks to the device.
#[derive(Debug, Serialize)]
pub struct PyAts {
    pub os: Option<At<String>>,
    pub series: Option<At<String>>,
    pub model: Option<At<String>>,
    pub use_in_testbed: Option<At<bool>>,
    pub config_extract_command: Option<At<String>>,
    #[serde(flatten)]
    pub credentials: Credentials,
}

impl PyAts {
    fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, |fields| Self {
            os: fields.required("os", line(1..=32)),
            series: fields.optional("series", or_null(line(1..=32))),
            model: fields.optional("model", or_null(line(1..=32))),
            use_in_testbed: fields.optional("use_in_testbed", boolean),
            config_extract_command: fields.optional("config_extract_command", or_null(text(0..=4096))),
            credentials: Credentials::of(fields),
        })
    }
}

/// The credentials with which pyATS logs in.
#[derive(Debug, Serialize)]
pub struct Credentials {
    pub username: Option<At<String>>,
    pub password: Option<At<String>>,
    pub enable_password: Option<At<String>>,
}

impl Credentials {
    /// Reads them from the keys of another mapping.
    pub(super) fn of(fields: &mut Fields<'_, '_>) -> Self {
        Self {
            username: fields.optional("username", or_null(line(1..=64))),
            password: fields.optional("password", or_null(line(1..=128))),
            enable_password: fields.optional("enable_password", or_null(line(1..=128))),
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, node: &Arc<Node>) -> Option<Self> {
        reader.object(node, Self::of)
    }
}

impl Fields<'_, '_> {
    /// Whether a key has a value; null counts as none.
    fn has(&self, key: &str) -> bool {
        self.get(key).is_some_and(|node| !matches!(node.value, Value::Null))
    }
}
