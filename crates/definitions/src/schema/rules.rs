//! The rules that restate CML's own schema. [docs/cml.md 3] [docs/cml.md 4]

use crate::finding::Example::{File, Image, Node};
use crate::finding::Rule;

/// In the order of `docs/lint.md`.
pub static ALL: &[&Rule] =
    &[&YAML, &KIND, &REQUIRED, &UNKNOWN_KEY, &TYPE, &RANGE, &LENGTH, &PATTERN, &CHOICE, &DOMAIN, &SOURCE];

pub static YAML: Rule = Rule::error(
    "schema-yaml",
    "The file is YAML that CML can read",
    "CML reads a definition with PyYAML's safe loader: YAML 1.1, one document per file, UTF-8 or UTF-16, no tags \
     except YAML's own. A tab does not separate values. It is a regular file: links, pipes and folders with such a \
     name are not read, and neither is a file without permission to do so.",
    File("id: tiny\nui:\n\tlabel: Tiny\n"),
    Node("id: tiny\nui:\n  label: Tiny\n"),
);

pub static KIND: Rule = Rule::error(
    "schema-kind",
    "The file is a node definition or an image definition",
    "An image definition has the key `node_definition_id` (or, if that is missing, `disk_image`, `docker_tag` or \
     `sha256`); a node definition has `sim`, `boot`, `general`, `configuration`, `device`, `ui` or `inherited`. This \
     file has none of them. Lab topologies, for example, are not definitions.",
    File("lab:\n  title: A topology\n"),
    Image("node_definition_id: tiny\n"),
);

pub static REQUIRED: Rule = Rule::error(
    "schema-required",
    "Required keys are present",
    "The position is that of the mapping without the key.",
    Node("ui:\n  label: Tiny\n  label_prefix: tiny-\n  icon: router\n"),
    Node("ui:\n  label: Tiny\n  label_prefix: tiny-\n  icon: router\n  visible: true\n"),
);

pub static UNKNOWN_KEY: Rule = Rule::error(
    "schema-unknown-key",
    "Every key is known to CML",
    "CML refuses a definition with an unknown key, at any level.",
    Node("boot:\n  timeuot: 60\n"),
    Node("boot:\n  timeout: 60\n"),
);

pub static TYPE: Rule = Rule::error(
    "schema-type",
    "Every value has the right type",
    "CML is lenient with single values: a whole number may also be a text such as `\"256\"`, `256.0` or a boolean; a \
     boolean may be 0, 1 or a word such as `\"yes\"`. Text must be text: `4.0`, `yes` and `2001-12-14` must be \
     quoted. An optional key may be omitted, but only a few may be null (empty).",
    Node("schema_version: 0.1\n"),
    Node("schema_version: \"0.1\"\n"),
);

pub static RANGE: Rule = Rule::error(
    "schema-range",
    "Every number is in its range",
    "`ram` is in MiB, `data_volume` and `boot_disk_size` are in GiB, `cpu_limit` is in percent, `timeout` in \
     seconds.",
    Node("sim:\n  linux_native:\n    cpu_limit: 10\n"),
    Node("sim:\n  linux_native:\n    cpu_limit: 20\n"),
);

pub static LENGTH: Rule = Rule::error(
    "schema-length",
    "Texts and lists are neither too short nor too long",
    "The length of a text is counted in characters.",
    Node("device:\n  interfaces:\n    physical: []\n"),
    Node("device:\n  interfaces:\n    physical: [eth0, eth1]\n"),
);

pub static PATTERN: Rule = Rule::error(
    "schema-pattern",
    "Texts have the form that CML expects",
    "Ids and file names contain none of `! @ # % ^ & * ( ) ; $ / \\`, tabs and line breaks, and do not start with a \
     dot. Most other texts must be on one line; note that a YAML block (`|`, `>`) ends with a line break.",
    Node("id: tiny/1.0\n"),
    Node("id: tiny-1-0\n"),
);

pub static CHOICE: Rule = Rule::error(
    "schema-choice",
    "Values from a list are in that list",
    "Case matters.",
    Node("sim:\n  linux_native:\n    nic_driver: virtoi\n"),
    Node("sim:\n  linux_native:\n    nic_driver: virtio\n"),
);

pub static DOMAIN: Rule = Rule::error(
    "schema-domain",
    "Keys that belong together are present together",
    "`kvm` requires `cpus`, `ram`, `nic_driver` and `disk_driver`; `docker` and `iol` require `ram`. `kvm` has at \
     most 4 serial ports, `docker` and `iol` have 2, `none` and `ums` have none. `has_loopback_zero: true` requires \
     `loopback`.",
    Node("device:\n  interfaces:\n    serial_ports: 3\n"),
    Node("device:\n  interfaces:\n    serial_ports: 2\n"),
);

pub static SOURCE: Rule = Rule::error(
    "schema-source",
    "An image definition names its image",
    "By `disk_image`, a file beside the definition, or by `docker_tag`, the tag of an image on the server (CML \
     2.10).",
    File("id: tiny\nnode_definition_id: tiny\nlabel: Tiny\n"),
    File("id: tiny\nnode_definition_id: tiny\nlabel: Tiny\ndocker_tag: \"tiny:1.0\"\n"),
);
