//! What CML's own schema refuses. [docs/cml.md 3] [docs/cml.md 4]

use crate::finding::{Example, Rule, Severity};

/// In the order of `docs/lint.md`.
pub static ALL: &[&Rule] =
    &[&YAML, &KIND, &REQUIRED, &UNKNOWN_KEY, &TYPE, &RANGE, &LENGTH, &PATTERN, &CHOICE, &DOMAIN, &SOURCE];

pub static YAML: Rule = Rule {
    id: "schema-yaml",
    severity: Severity::Error,
    title: "The file is YAML that CML can read",
    why: "CML reads a definition with PyYAML's safe loader: YAML 1.1, one document a file, UTF-8 or UTF-16, no tags but YAML's own. \
          A tab does not separate values there.",
    failing: Example::File("id: tiny\nui:\n\tlabel: Tiny\n"),
    mended: Example::Node("id: tiny\nui:\n  label: Tiny\n"),
};

pub static KIND: Rule = Rule {
    id: "schema-kind",
    severity: Severity::Error,
    title: "The file is a node definition or an image definition",
    why: "An image definition is known by `node_definition_id` (or, where that is missing, by `disk_image`, `docker_tag` or \
          `sha256`), a node definition by `sim`, `boot`, `general`, `configuration`, `device`, `ui` or `inherited`. This file has none of \
          them. Topologies of labs, for example, are no definitions.",
    failing: Example::File("lab:\n  title: A topology\n"),
    mended: Example::Image("node_definition_id: tiny\n"),
};

pub static REQUIRED: Rule = Rule {
    id: "schema-required",
    severity: Severity::Error,
    title: "A key that must be there is there",
    why: "The place is that of the mapping in which the key is missing.",
    failing: Example::Node("ui:\n  label: Tiny\n  label_prefix: tiny-\n  icon: router\n"),
    mended: Example::Node("ui:\n  label: Tiny\n  label_prefix: tiny-\n  icon: router\n  visible: true\n"),
};

pub static UNKNOWN_KEY: Rule = Rule {
    id: "schema-unknown-key",
    severity: Severity::Error,
    title: "Every key is one that CML knows",
    why: "CML refuses a definition with a key that it does not know, at every level.",
    failing: Example::Node("boot:\n  timeuot: 60\n"),
    mended: Example::Node("boot:\n  timeout: 60\n"),
};

pub static TYPE: Rule = Rule {
    id: "schema-type",
    severity: Severity::Error,
    title: "Every value is of the right type",
    why: "CML is lenient about single values: a whole number may also be a text such as `\"256\"`, `256.0` or a boolean, a boolean may be 0, 1 \
          or a word such as `\"yes\"`. Text must be text: `4.0`, `yes` and `2001-12-14` are none unless quoted. An optional key may be \
          left out, but may be null (empty) in a few places only.",
    failing: Example::Node("schema_version: 0.1\n"),
    mended: Example::Node("schema_version: \"0.1\"\n"),
};

pub static RANGE: Rule = Rule {
    id: "schema-range",
    severity: Severity::Error,
    title: "Every number is in its range",
    why: "`ram` is in mebibytes, `data_volume` and `boot_disk_size` are in gibibytes, `cpu_limit` is in percent, `timeout` in seconds.",
    failing: Example::Node("sim:\n  linux_native:\n    cpu_limit: 10\n"),
    mended: Example::Node("sim:\n  linux_native:\n    cpu_limit: 20\n"),
};

pub static LENGTH: Rule = Rule {
    id: "schema-length",
    severity: Severity::Error,
    title: "Texts and lists are neither too short nor too long",
    why: "Lengths of texts are counted in characters.",
    failing: Example::Node("device:\n  interfaces:\n    physical: []\n"),
    mended: Example::Node("device:\n  interfaces:\n    physical: [eth0, eth1]\n"),
};

pub static PATTERN: Rule = Rule {
    id: "schema-pattern",
    severity: Severity::Error,
    title: "Texts have the form that CML wants",
    why: "Ids and file names have none of `! @ # % ^ & * ( ) ; $ / \\`, tabs and line breaks, and no dot in front. Most other texts must be on \
          one line; mind that a YAML block (`|`, `>`) ends with a line break.",
    failing: Example::Node("id: tiny/1.0\n"),
    mended: Example::Node("id: tiny-1-0\n"),
};

pub static CHOICE: Rule = Rule {
    id: "schema-choice",
    severity: Severity::Error,
    title: "Words that are chosen from a list are in the list",
    why: "Case counts.",
    failing: Example::Node("sim:\n  linux_native:\n    nic_driver: virtoi\n"),
    mended: Example::Node("sim:\n  linux_native:\n    nic_driver: virtio\n"),
};

pub static DOMAIN: Rule = Rule {
    id: "schema-domain",
    severity: Severity::Error,
    title: "What belongs together is there together",
    why: "`kvm` needs `cpus`, `ram`, `nic_driver` and `disk_driver`; `docker` and `iol` need `ram`. `kvm` has at most 4 serial ports, \
          `docker` and `iol` 2, `none` and `ums` none. `has_loopback_zero: true` needs `loopback`.",
    failing: Example::Node("device:\n  interfaces:\n    serial_ports: 3\n"),
    mended: Example::Node("device:\n  interfaces:\n    serial_ports: 2\n"),
};

pub static SOURCE: Rule = Rule {
    id: "schema-source",
    severity: Severity::Error,
    title: "An image definition says what its image is",
    why: "By `disk_image`, the name of a file beside the definition, or by `docker_tag`, the tag of an image that the server has (CML 2.10).",
    failing: Example::File("id: tiny\nnode_definition_id: tiny\nlabel: Tiny\n"),
    mended: Example::File("id: tiny\nnode_definition_id: tiny\nlabel: Tiny\ndocker_tag: \"tiny:1.0\"\n"),
};
