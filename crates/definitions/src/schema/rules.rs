//! The rules that restate CML's own schema. [docs/cml.md 3] [docs/cml.md 4]

use crate::finding::{Example, Rule, Severity};

/// In the order of `docs/lint.md`.
pub static ALL: &[&Rule] =
    &[&YAML, &KIND, &REQUIRED, &UNKNOWN_KEY, &TYPE, &RANGE, &LENGTH, &PATTERN, &CHOICE, &DOMAIN, &SOURCE];

pub static YAML: Rule = Rule {
    id: "schema-yaml",
    severity: Severity::Error,
    title: "The file is YAML that CML can read",
    why: "CML reads a definition with PyYAML's safe loader: YAML 1.1, one document per file, UTF-8 or UTF-16, no \
          tags except YAML's own. A tab does not separate values.",
    failing: Example::File("id: tiny\nui:\n\tlabel: Tiny\n"),
    fixed: Example::Node("id: tiny\nui:\n  label: Tiny\n"),
};

pub static KIND: Rule = Rule {
    id: "schema-kind",
    severity: Severity::Error,
    title: "The file is a node definition or an image definition",
    why: "An image definition has the key `node_definition_id` (or, if that is missing, `disk_image`, `docker_tag` \
          or `sha256`); a node definition has `sim`, `boot`, `general`, `configuration`, `device`, `ui` or \
          `inherited`. This file has none of them. Lab topologies, for example, are not definitions.",
    failing: Example::File("lab:\n  title: A topology\n"),
    fixed: Example::Image("node_definition_id: tiny\n"),
};

pub static REQUIRED: Rule = Rule {
    id: "schema-required",
    severity: Severity::Error,
    title: "Required keys are present",
    why: "The position is that of the mapping without the key.",
    failing: Example::Node("ui:\n  label: Tiny\n  label_prefix: tiny-\n  icon: router\n"),
    fixed: Example::Node("ui:\n  label: Tiny\n  label_prefix: tiny-\n  icon: router\n  visible: true\n"),
};

pub static UNKNOWN_KEY: Rule = Rule {
    id: "schema-unknown-key",
    severity: Severity::Error,
    title: "Every key is known to CML",
    why: "CML refuses a definition with an unknown key, at any level.",
    failing: Example::Node("boot:\n  timeuot: 60\n"),
    fixed: Example::Node("boot:\n  timeout: 60\n"),
};

pub static TYPE: Rule = Rule {
    id: "schema-type",
    severity: Severity::Error,
    title: "Every value has the right type",
    why: "CML is lenient with single values: a whole number may also be a text such as `\"256\"`, `256.0` or a \
          boolean; a boolean may be 0, 1 or a word such as `\"yes\"`. Text must be text: `4.0`, `yes` and \
          `2001-12-14` must be quoted. An optional key may be omitted, but only a few may be null (empty).",
    failing: Example::Node("schema_version: 0.1\n"),
    fixed: Example::Node("schema_version: \"0.1\"\n"),
};

pub static RANGE: Rule = Rule {
    id: "schema-range",
    severity: Severity::Error,
    title: "Every number is in its range",
    why: "`ram` is in MiB, `data_volume` and `boot_disk_size` are in GiB, `cpu_limit` is in percent, `timeout` in \
          seconds.",
    failing: Example::Node("sim:\n  linux_native:\n    cpu_limit: 10\n"),
    fixed: Example::Node("sim:\n  linux_native:\n    cpu_limit: 20\n"),
};

pub static LENGTH: Rule = Rule {
    id: "schema-length",
    severity: Severity::Error,
    title: "Texts and lists are neither too short nor too long",
    why: "The length of a text is counted in characters.",
    failing: Example::Node("device:\n  interfaces:\n    physical: []\n"),
    fixed: Example::Node("device:\n  interfaces:\n    physical: [eth0, eth1]\n"),
};

pub static PATTERN: Rule = Rule {
    id: "schema-pattern",
    severity: Severity::Error,
    title: "Texts have the form that CML expects",
    why: "Ids and file names contain none of `! @ # % ^ & * ( ) ; $ / \\`, tabs and line breaks, and do not start \
          with a dot. Most other texts must be on one line; note that a YAML block (`|`, `>`) ends with a line \
          break.",
    failing: Example::Node("id: tiny/1.0\n"),
    fixed: Example::Node("id: tiny-1-0\n"),
};

pub static CHOICE: Rule = Rule {
    id: "schema-choice",
    severity: Severity::Error,
    title: "Values from a list are in that list",
    why: "Case matters.",
    failing: Example::Node("sim:\n  linux_native:\n    nic_driver: virtoi\n"),
    fixed: Example::Node("sim:\n  linux_native:\n    nic_driver: virtio\n"),
};

pub static DOMAIN: Rule = Rule {
    id: "schema-domain",
    severity: Severity::Error,
    title: "Keys that belong together are present together",
    why: "`kvm` requires `cpus`, `ram`, `nic_driver` and `disk_driver`; `docker` and `iol` require `ram`. `kvm` \
          has at most 4 serial ports, `docker` and `iol` have 2, `none` and `ums` have none. `has_loopback_zero: \
          true` requires `loopback`.",
    failing: Example::Node("device:\n  interfaces:\n    serial_ports: 3\n"),
    fixed: Example::Node("device:\n  interfaces:\n    serial_ports: 2\n"),
};

pub static SOURCE: Rule = Rule {
    id: "schema-source",
    severity: Severity::Error,
    title: "An image definition names its image",
    why: "By `disk_image`, a file beside the definition, or by `docker_tag`, the tag of an image on the server \
          (CML 2.10).",
    failing: Example::File("id: tiny\nnode_definition_id: tiny\nlabel: Tiny\n"),
    fixed: Example::File("id: tiny\nnode_definition_id: tiny\nlabel: Tiny\ndocker_tag: \"tiny:1.0\"\n"),
};
