//! The node definition: a kind of device. [docs/cml.md 4]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::reader::{Fields, Reader, list, object};
use super::rules;
use super::scalar::{
    At, NAME, any_text, boolean, is_cpu_model, is_icon, is_name, lax_text, line, line_that, literally_one_of,
    not_one_of, one_of, one_of_numbers, or_null, text, whole,
};
use crate::yaml::{Mark, Node, quoted};

const DOMAIN_DRIVERS: &[&str] = &["kvm", "none", "iol", "docker", "ums"];

const DRIVERS: &[&str] = &[
    "asav", "alpine", "cat9k", "coreos", "csr1000v", "external_connector", "iol", "iol_l2", "iosv", "iosvl2", "iosxrv",
    "iosxrv9000", "lxc", "nxosv", "nxosv9000", "pagent", "server", "trex", "ubuntu", "unmanaged_switch",
    "wan_emulator",
];

const DISK_DRIVERS: &[&str] = &["ide", "sata", "virtio"];

const NIC_DRIVERS: &[&str] = &[
    "virtio", "e1000", "rtl8139", "vmxnet3", "e1000e", "e1000-82544gc", "e1000-82545em", "i82550", "i82551", "i82557a",
    "i82557b", "i82557c", "i82558a", "i82558b", "i82559a", "i82559b", "i82559c", "i82559er", "i82562", "i82801",
];

const VIDEO_MODELS: &[&str] = &["vga", "cirrus", "vmvga", "qxl", "xen", "virtio", "none"];

const NATURES: &[&str] = &["router", "switch", "server", "cloud", "host", "firewall", "wireless", "external_connector"];

const GENERATORS: &[&str] = &[
    "asav", "alpine", "cat9000v", "coreos", "csr1000v", "desktop", "fmcv", "ftdv", "iosv", "iosvl2", "iosxrv",
    "iosxrv9000", "ise", "lxc", "nxosv", "nxosv9000", "pagent", "sdwan", "sdwan_edge", "sdwan_manager", "server",
    "trex", "ubuntu", "wan_emulator", "wireless_ap", "wireless_client", "xrd",
];

const MEDIA_TYPES: &[&str] = &["iso", "fat", "raw", "ext4"];

const ICONS: &[&str] = &["router", "switch", "server", "host", "cloud", "firewall", "access_point", "wlc"];

const GROUPS: &[&str] = &["Cisco", "Others"];

const RAM: std::ops::RangeInclusive<i64> = 1..=1_048_576;
const DISK: std::ops::RangeInclusive<i64> = 0..=4096;

const CPU_MODEL: &str = "a model of 1 to 32 letters, digits and `-`, then features such as `,+vmx`";

object! {
    NodeDefinition {
        id: At<String> = required line_that(1..=250, NAME, is_name),
        boot: Boot = required Boot::read,
        sim: Simulation = required Simulation::read,
        general: General = required General::read,
        configuration: Configuration = required Configuration::read,
        device: Device = required Device::read,
        ui: Ui = required Ui::read,
        inherited: Inherited = optional Inherited::read,
        pyats: PyAts = optional PyAts::read,
        schema_version: At<String> = optional line(1..=32),
        image_definitions: Vec<At<String>> = optional list(0, line_that(1..=250, NAME, is_name)),
    }
    check_consoles
}

impl NodeDefinition {
    pub fn domain_driver(&self) -> Option<&'static str> {
        Some(self.linux_native()?.libvirt_domain_driver.as_ref()?.value)
    }

    pub(crate) fn linux_native(&self) -> Option<&LinuxNative> {
        self.sim.as_ref()?.linux_native.as_ref()
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
            let (at, path) = (ports.at, "device.interfaces.serial_ports");
            let message = format!("{driver} has at most {most} serial ports, found {}", ports.value);
            fields.reader.inside(path, |reader| reader.report(&rules::DOMAIN, at, message, None));
        }
    }
}

object! {
    Boot {
        /// Seconds.
        timeout: At<i64> = required whole(i64::MIN..=86_400),
        completed: Vec<At<String>> = optional list(1, line(0..=128)),
        uses_regex: At<bool> = optional boolean,
    }
}

object! {
    Simulation {
        linux_native: LinuxNative = required LinuxNative::read,
        #[serde(serialize_with = "as_texts")]
        parameters: BTreeMap<String, Arc<Node>> = optional parameters,
        usage_estimations: UsageEstimations = optional UsageEstimations::read,
    }
}

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
            let message = format!("expected a key on one line, found {}", quoted(&key));
            reader.report(&rules::PATTERN, entry.key.at, message, None);
        }
        reader.inside(format_args!(".{key}"), |reader| or_null(any_text)(reader, &entry.value));
        read.insert(key.into_owned(), entry.value.clone());
    }
    Some(read)
}

fn as_texts<S: Serializer>(map: &Option<BTreeMap<String, Arc<Node>>>, serializer: S) -> Result<S::Ok, S::Error> {
    let texts = map.iter().flatten().map(|(key, value)| (key, lax_text(value)));
    serializer.collect_map(texts)
}

object! {
    LinuxNative {
        libvirt_domain_driver: At<&'static str> = required one_of(DOMAIN_DRIVERS),
        driver: At<&'static str> = required one_of(DRIVERS),
        disk_driver: At<&'static str> = optional one_of(DISK_DRIVERS),
        efi_boot: At<bool> = optional boolean,
        efi_code: At<String> = optional line_that(1..=255, NAME, is_name),
        efi_vars: At<String> = optional line_that(1..=255, NAME, is_name),
        machine_type: At<String> = optional line(1..=32),
        /// Mebibytes.
        ram: At<i64> = optional whole(RAM),
        cpus: At<i64> = optional whole(1..=128),
        /// Percent of the CPUs.
        cpu_limit: At<i64> = optional whole(20..=100),
        cpu_model: At<String> = optional line_that(1..=64, CPU_MODEL, is_cpu_model),
        nic_driver: At<&'static str> = optional one_of(NIC_DRIVERS),
        /// Gibibytes.
        data_volume: At<i64> = optional whole(DISK),
        /// Gibibytes.
        boot_disk_size: At<i64> = optional whole(DISK),
        video: Video = optional Video::read,
        enable_rng: At<bool> = optional boolean,
        enable_tpm: At<bool> = optional boolean,
    }
    check_domain
}

impl LinuxNative {
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
                let message = format!("the key `{key}` is missing; {} requires it", driver.value);
                fields.report(&rules::DOMAIN, key, message);
            }
        }
    }
}

object! {
    Video {
        /// Mebibytes.
        memory: At<i64> = required whole(1..=128),
        model: At<&'static str> = optional one_of(VIDEO_MODELS),
    }
}

object! {
    UsageEstimations {
        /// Hundredths of a CPU.
        cpus: At<i64> = optional whole(1..=12_800),
        /// Mebibytes.
        ram: At<i64> = optional whole(RAM),
        /// Mebibytes.
        disk: At<i64> = optional whole(1..=4_194_304),
    }
}

object! {
    General {
        nature: At<&'static str> = required one_of(NATURES),
        description: At<String> = optional text(0..=4096),
        read_only: At<bool> = optional boolean,
    }
}

object! {
    Configuration {
        generator: Generator = required Generator::read,
        provisioning: Provisioning = optional Provisioning::read,
    }
}

object! {
    Generator {
        driver: At<&'static str> = required or_null(one_of(GENERATORS)),
    }
}

object! {
    Provisioning {
        files: Vec<ConfigurationFile> = required list(1, ConfigurationFile::read),
        media_type: At<&'static str> = required one_of(MEDIA_TYPES),
        volume_name: At<String> = required line(1..=32),
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

object! {
    Device {
        interfaces: Interfaces = required Interfaces::read,
    }
}

object! {
    Interfaces {
        serial_ports: At<i64> = required whole(0..=4),
        default_console: At<i64> = optional whole(0..=4),
        physical: Vec<At<String>> = required list(1, line(1..=32)),
        has_loopback_zero: At<bool> = required boolean,
        min_count: At<i64> = optional whole(0..=64),
        default_count: At<i64> = optional whole(1..=64),
        iol_static_ethernets: At<i64> = optional one_of_numbers(&[0, 4, 8, 12, 16]),
        loopback: Vec<At<String>> = optional list(1, line(1..=32)),
        management: Vec<At<String>> = optional list(1, line(1..=32)),
    }
    check_loopback
}

impl Interfaces {
    fn check_loopback(&self, fields: &mut Fields<'_, '_>) {
        let has_zero = self.has_loopback_zero.as_ref().is_some_and(|has| has.value);
        if has_zero && !fields.has("loopback") {
            let message = "the key `loopback` is missing; it is required if `has_loopback_zero` is true";
            fields.report(&rules::DOMAIN, "loopback", message);
        }
    }
}

object! {
    Ui {
        label_prefix: At<String> = required line(1..=32),
        icon: At<String> = required icon,
        label: At<String> = required line(1..=32),
        visible: At<bool> = required boolean,
        group: At<&'static str> = optional literally_one_of(GROUPS),
        description: At<String> = optional text(0..=4096),
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

object! {
    Inherited {
        image: Inheritance = required Inheritance::read,
        node: Inheritance = required Inheritance::read,
    }
}

object! {
    /// The values that an image definition, or a node in a lab, may override.
    Inheritance {
        ram: At<bool> = required boolean,
        cpus: At<bool> = required boolean,
        data_volume: At<bool> = required boolean,
        boot_disk_size: At<bool> = required boolean,
        cpu_limit: At<bool> = optional boolean,
    }
}

object! {
    /// How pyATS (<https://developer.cisco.com/pyats/>) talks to the device.
    PyAts {
        os: At<String> = required line(1..=32),
        series: At<String> = optional or_null(line(1..=32)),
        model: At<String> = optional or_null(line(1..=32)),
        use_in_testbed: At<bool> = optional boolean,
        config_extract_command: At<String> = optional or_null(text(0..=4096)),
        username: At<String> = optional or_null(line(1..=64)),
        password: At<String> = optional or_null(line(1..=128)),
        enable_password: At<String> = optional or_null(line(1..=128)),
    }
}
