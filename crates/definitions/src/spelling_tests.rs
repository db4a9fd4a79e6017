//! Every lax spelling that CML's schema accepts means the same to every reader of definitions: `lint`, the container
//! that `run` and `verify` start, and the comparison with a server. What to expect is in a table that was made with
//! PyYAML and pydantic themselves.

use crate::compare;
use crate::container::Container;
use crate::document::Document;
use crate::lint::{self, Subject, Surroundings};
use crate::schema::tests::with;

/// Path, spelling and the value as JSON.
fn table() -> impl Iterator<Item = [&'static str; 3]> {
    let lines = include_str!("../testdata/lax-spellings.tsv").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let mut cells = line.split('\t');
        [(); 3].map(|()| cells.next().unwrap())
    })
}

/// Every key with a lax spelling in the table; its values are in normal form.
const NODE: &str = r#"
id: tiny
boot: {timeout: 60, completed: [READY], uses_regex: false}
sim:
  linux_native: {libvirt_domain_driver: docker, driver: server, ram: 256, cpus: 1, cpu_limit: 20, data_volume: 0,
    enable_rng: true}
  usage_estimations: {cpus: 10}
general: {nature: server, read_only: false, description: hello}
configuration:
  generator: {driver: null}
  provisioning:
    volume_name: cfg
    media_type: raw
    files:
      - {name: hello, editable: true, content: "hello\n"}
      - {name: config.json, editable: false,
         content: '{"docker": {"image": "tiny:1.0", "mounts": ["type=bind,source=cfg/hello,target=/hello"]}}'}
device: {interfaces: {serial_ports: 2, has_loopback_zero: false, physical: [eth0, eth1], default_count: 2, min_count: 1,
  iol_static_ethernets: 4}}
ui: {label: Tiny, label_prefix: tiny-, icon: server, visible: true}
inherited:
  image: {ram: true, cpus: true, data_volume: true, boot_disk_size: true}
  node: {ram: true, cpus: true, data_volume: true, boot_disk_size: true}
pyats: {os: linux, use_in_testbed: false}
"#;

/// The errors: a value may be unwise, such as a timeout of 0, however it is spelt.
fn findings(text: &str) -> Vec<String> {
    let document = Document::read(text.as_bytes());
    let subject = Subject { document: &document, around: Surroundings::default() };
    let judged = lint::judge(&[subject], &[]).concat();
    judged.iter().filter(|finding| finding.is_error()).map(|finding| finding.line("tiny.yaml")).collect()
}

fn container(text: &str) -> Container {
    Container::read(text, "tiny.yaml").unwrap_or_else(|error| panic!("{error:#}\n{text}"))
}

#[test]
fn every_reader_reads_the_same() {
    for [path, spelling, value] in table() {
        let (lax, normal) = (with(NODE, path, spelling), with(NODE, path, value));
        assert_eq!(findings(&lax), [""; 0], "{path}: {spelling}");
        assert_eq!(format!("{:?}", container(&lax)), format!("{:?}", container(&normal)), "{path}: {spelling}");
        let [ours, theirs] = [&lax, &normal].map(|text| compare::normal_form(text).unwrap());
        assert_eq!(compare::differences(&ours, &theirs), [""; 0], "{path}: {spelling}");
        let pointer = format!("/{}", path.replace('.', "/"));
        let expected: serde_json::Value = serde_json::from_str(value).unwrap();
        assert_eq!(ours.pointer(&pointer), Some(&expected), "{path}: {spelling}");
    }
}

#[test]
fn another_value_is_a_difference() {
    for [path, spelling, value] in table() {
        let other = match value {
            "true" => "false".to_owned(),
            "false" => "true".to_owned(),
            text if text.starts_with('"') => continue,
            number => format!("{}", number.parse::<i64>().unwrap() + 4),
        };
        let [ours, theirs] = [spelling, &other].map(|value| compare::normal_form(&with(NODE, path, value)).unwrap());
        assert_eq!(compare::differences(&ours, &theirs).len(), 1, "{path}: {spelling} is not {other}");
    }
}

#[test]
fn what_the_schema_refuses_every_reader_refuses_with_the_same_words() {
    let refused = [
        ("boot.timeout", "1e2"),
        ("boot.timeout", "60.5"),
        ("boot.timeout", "'1__0'"),
        ("boot.timeout", "86401"),
        ("boot.timeout", "null"),
        ("boot.uses_regex", "2"),
        ("boot.uses_regex", "'ja'"),
        ("ui.label", "4.0"),
        ("ui.label", "yes"),
        ("device.interfaces.iol_static_ethernets", "'4'"),
        ("general.nature", "Server"),
        ("id", "2001-12-14"),
    ];
    for (path, spelling) in refused {
        let text = with(NODE, path, spelling);
        let error = Container::read(&text, "tiny.yaml").unwrap_err();
        assert_eq!(vec![format!("{error:#}")], findings(&text), "{path}: {spelling}");
    }
}

#[test]
fn a_file_in_utf_16_is_read_by_all() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let units = "\u{feff}".encode_utf16().chain(NODE.encode_utf16());
    std::fs::write(file.path(), units.flat_map(u16::to_le_bytes).collect::<Vec<_>>()).unwrap();
    assert_eq!(Document::open(file.path()).unwrap().errors("tiny.yaml"), [""; 0]);
    let opened = Container::open(file.path()).unwrap();
    assert_eq!(format!("{opened:?}"), format!("{:?}", container(NODE)));
}

/// The model that the comparison uses has every key that the schema knows, under its name.
#[test]
fn the_model_keeps_every_key() {
    use crate::schema::tests::{IMAGE as FULL_IMAGE, NODE as FULL_NODE};
    for text in [FULL_NODE, FULL_IMAGE] {
        let written: serde_json::Value = serde_yaml::from_str(text).unwrap();
        let model = serde_json::to_value(Document::read(text.as_bytes()).definition).unwrap();
        assert_eq!(compare::differences(&written, &model), [""; 0]);
        assert_eq!(compare::differences(&model, &written), [""; 0]);
    }
}
