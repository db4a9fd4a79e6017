//! The labs of the controller that stands in for CML's: imported, started, stopped, wiped, deleted. [docs/cml.md 2]
//!
//! Time does not pass by a clock here: a lab advances by one stage each time its state is queried.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::controller::{Refusal, no};

/// What happens to machines that are started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Boot {
    #[default]
    Ready,
    /// Its first step fails.
    Unprepared,
    /// The kernel finds no disk.
    Never,
    /// It boots, and crashes.
    Stops,
}

pub struct Labs {
    pub all: BTreeMap<String, Lab>,
    /// The maximum number of labs.
    pub limit: usize,
    /// Whether nodes may be started.
    pub licensed: bool,
    pub boot: Boot,
    /// Whether the table of addresses knows of the machines.
    pub sees_addresses: bool,
    made: u32,
}

pub struct Lab {
    pub title: String,
    pub description: String,
    pub notes: String,
    version: String,
    pub nodes: Vec<Node>,
    links: Vec<Value>,
    /// It was told to stop and has not stopped yet.
    stopping: bool,
}

pub struct Node {
    pub id: String,
    /// As it was imported.
    pub says: Map<String, Value>,
    pub interfaces: Vec<Value>,
    pub state: &'static str,
    /// Of its first console.
    pub log: String,
    boots: u32,
    stage: u32,
}

impl Labs {
    pub fn new() -> Self {
        Self { all: BTreeMap::new(), limit: 100, licensed: true, boot: Boot::Ready, sees_addresses: true, made: 0 }
    }

    /// A lab with one node, as a user draws it.
    pub fn add(&mut self, title: &str, node_definition: &str) -> String {
        let topology = json!({
            "lab": {"version": "0.1.0", "title": title, "description": "", "notes": ""},
            "nodes": [{"id": "n0", "label": "r1", "node_definition": node_definition, "x": 0, "y": 0, "tags": [],
                       "interfaces": []}],
            "links": []
        });
        self.import(topology, None).expect("a topology of ours")
    }

    pub fn uses(&self, key: &str, id: &str) -> bool {
        self.all.values().flat_map(|lab| &lab.nodes).any(|node| node.says.get(key).is_some_and(|value| value == id))
    }

    /// Whether a node has chosen this image, or none, so that it may be this one.
    pub fn uses_image(&self, id: &str, node_definition: &str) -> bool {
        let mut nodes = self.all.values().flat_map(|lab| &lab.nodes);
        nodes.any(|node| match node.says.get("image_definition").and_then(Value::as_str) {
            Some(chosen) => chosen == id,
            None => node.says.get("node_definition").is_some_and(|of| of == node_definition),
        })
    }

    /// The only lab.
    pub fn only(&mut self) -> (&String, &mut Lab) {
        assert_eq!(self.all.len(), 1, "{:?}", self.all.keys());
        self.all.iter_mut().next().expect("one")
    }

    /// The answer to a request about labs, if it is one; `null` where CML answers without a body.
    pub fn carry_out(
        &mut self,
        method: &str,
        parts: &[&str],
        query: &str,
        body: &[u8],
    ) -> Option<Result<Value, Refusal>> {
        Some(match (method, parts) {
            ("POST", ["import"]) => self.import_text(body, query),
            ("GET", ["labs"]) => Ok(json!(self.all.keys().collect::<Vec<_>>())),
            ("GET", ["populate_lab_tiles"]) => {
                let tiles: Map<String, Value> =
                    self.all.iter().map(|(id, lab)| (id.clone(), lab.details(id))).collect();
                Ok(json!({"lab_tiles": tiles}))
            }
            ("GET", ["licensing"]) => {
                let status = if self.licensed { ["COMPLETED", "IN_COMPLIANCE"] } else { ["NOT_REGISTERED", "INIT"] };
                Ok(json!({"registration": {"status": status[0]}, "authorization": {"status": status[1]},
                           "features": []}))
            }
            (_, ["labs", id, rest @ ..]) => self.of_lab(method, id, rest, query)?,
            _ => return None,
        })
    }

    fn of_lab(&mut self, method: &str, id: &str, rest: &[&str], query: &str) -> Option<Result<Value, Refusal>> {
        let (boot, licensed, sees) = (self.boot, self.licensed, self.sees_addresses);
        let Some(lab) = self.all.get_mut(id) else { return Some(no(404, format!("Lab not found: {id}"))) };
        if method == "GET" && matches!(rest, [] | ["state" | "lab_element_state" | "check_if_converged"]) {
            lab.go_on(boot);
        }
        let state = lab.state();
        Some(match (method, rest) {
            ("GET", []) => Ok(lab.details(id)),
            ("GET", ["topology"]) => Ok(lab.topology(!query.to_lowercase().contains("exclude_configurations=true"))),
            ("GET", ["state"]) => Ok(json!(state)),
            ("GET", ["check_if_converged"]) => Ok(json!(lab.has_converged())),
            ("GET", ["lab_element_state"]) => Ok(lab.element_states()),
            ("GET", ["layer3_addresses"]) => {
                let tables: Map<String, Value> =
                    lab.nodes.iter().map(|node| (node.id.clone(), node.addresses(sees))).collect();
                Ok(json!(tables))
            }
            ("PUT", ["start"]) if !licensed => no(403, "No valid license is available. Node start is not authorized."),
            ("PUT", ["start"]) => {
                lab.nodes.iter_mut().for_each(Node::start);
                Ok(Value::Null)
            }
            ("PUT", ["stop"]) => {
                lab.stopping = true;
                Ok(Value::Null)
            }
            ("PUT", ["wipe"]) if state == "STARTED" => no(403, format!("Lab {id} must be stopped before it is wiped.")),
            ("PUT", ["wipe"]) => {
                lab.nodes.iter_mut().for_each(Node::wipe);
                Ok(Value::Null)
            }
            ("DELETE", []) if state != "DEFINED_ON_CORE" => {
                no(403, format!("Lab {id} must be stopped and wiped first."))
            }
            ("DELETE", []) => {
                self.all.remove(id);
                Ok(Value::Null)
            }
            (_, ["nodes", node, rest @ ..]) => {
                let Some(node) = lab.nodes.iter().find(|other| other.id == *node) else {
                    return Some(no(404, format!("Node not found: {node}")));
                };
                node.answer(method, rest, query, sees)?
            }
            _ => return None,
        })
    }

    fn import_text(&mut self, body: &[u8], query: &str) -> Result<Value, Refusal> {
        let text = std::str::from_utf8(body).map_err(|_| (400, "not UTF-8".to_owned()))?;
        let topology: Value = serde_yaml::from_str(text).map_err(|error| (400, format!("not YAML: {error}")))?;
        let title = query.split('&').find_map(|pair| pair.strip_prefix("title="));
        let id = self.import(topology, title)?;
        Ok(json!({"id": id, "warnings": []}))
    }

    fn import(&mut self, topology: Value, title: Option<&str>) -> Result<String, Refusal> {
        if self.all.len() >= self.limit {
            return no(403, format!("The limit of {} labs is reached.", self.limit));
        }
        check(&topology)?;
        let mut ids = Ids(&mut self.made);
        let id = ids.next();
        let lab = &topology["lab"];
        let text = |key: &str| lab[key].as_str().unwrap_or_default().to_owned();
        let mut interfaces: BTreeMap<(String, String), String> = BTreeMap::new();
        let mut nodes = Vec::new();
        for says in topology["nodes"].as_array().into_iter().flatten() {
            let mut says = says.as_object().cloned().unwrap_or_default();
            let local = says.remove("id").and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default();
            let mut own = Vec::new();
            for mut interface in says.remove("interfaces").and_then(|list| list.as_array().cloned()).unwrap_or_default()
            {
                let new = ids.next();
                interfaces
                    .insert((local.clone(), interface["id"].as_str().unwrap_or_default().to_owned()), new.clone());
                interface["id"] = new.into();
                own.push(interface);
            }
            nodes.push(Node {
                id: ids.next(),
                says,
                interfaces: own,
                state: "DEFINED_ON_CORE",
                log: String::new(),
                boots: 0,
                stage: 0,
            });
        }
        let links = links(&topology, &interfaces, &mut ids)?;
        let title = title.map_or_else(|| text("title"), str::to_owned);
        let lab = Lab {
            title,
            description: text("description"),
            notes: text("notes"),
            version: text("version"),
            nodes,
            links,
            stopping: false,
        };
        self.all.insert(id.clone(), lab);
        Ok(id)
    }
}

/// The links of a topology, between interfaces that have new ids.
fn links(
    topology: &Value,
    interfaces: &BTreeMap<(String, String), String>,
    ids: &mut Ids,
) -> Result<Vec<Value>, Refusal> {
    let mut links = Vec::new();
    for link in topology["links"].as_array().into_iter().flatten() {
        let end = |node: &str, interface: &str| {
            let key = |key: &str| link[key].as_str().unwrap_or_default().to_owned();
            let there = interfaces.get(&(key(node), key(interface)));
            there.cloned().ok_or_else(|| (400, format!("the link {} leads nowhere", link["id"])))
        };
        let (one, other) = (end("n1", "i1")?, end("n2", "i2")?);
        links.push(json!({"id": ids.next(), "interface_a": one, "interface_b": other, "label": link["label"]}));
    }
    Ok(links)
}

impl Lab {
    pub fn state(&self) -> &'static str {
        let any = |state: &str| self.nodes.iter().any(|node| node.state == state);
        if ["QUEUED", "STARTED", "BOOTED"].into_iter().any(any) {
            "STARTED"
        } else if any("STOPPED") {
            "STOPPED"
        } else {
            "DEFINED_ON_CORE"
        }
    }

    fn has_converged(&self) -> bool {
        !self.stopping && !self.nodes.iter().any(|node| ["QUEUED", "STARTED"].contains(&node.state))
    }

    fn go_on(&mut self, boot: Boot) {
        if std::mem::take(&mut self.stopping) {
            self.nodes.iter_mut().for_each(Node::stop);
        }
        self.nodes.iter_mut().for_each(|node| node.go_on(boot));
    }

    fn details(&self, id: &str) -> Value {
        json!({
            "id": id, "created": "2026-11-24T09:00:00+00:00", "modified": "2026-11-24T09:00:00+00:00",
            "lab_title": self.title, "lab_description": self.description, "lab_notes": self.notes,
            "owner": "u0", "owner_username": super::USER, "state": self.state(),
            "node_count": self.nodes.len(), "link_count": self.links.len(), "groups": [],
        })
    }

    fn topology(&self, with_configurations: bool) -> Value {
        let nodes = self.nodes.iter().map(|node| {
            let mut says = node.says.clone();
            if !with_configurations {
                says.remove("configuration");
            }
            says.insert("id".into(), node.id.clone().into());
            says.insert("state".into(), node.state.into());
            says.insert("interfaces".into(), node.interfaces.clone().into());
            Value::Object(says)
        });
        json!({
            "lab": {"title": self.title, "description": self.description, "notes": self.notes, "version": self.version},
            "nodes": nodes.collect::<Vec<_>>(), "links": self.links, "annotations": [], "smart_annotations": [],
        })
    }

    fn element_states(&self) -> Value {
        let nodes: Map<String, Value> = self.nodes.iter().map(|node| (node.id.clone(), node.state.into())).collect();
        let interfaces = self.nodes.iter().flat_map(|node| &node.interfaces);
        let of = |value: &Value| (value["id"].as_str().unwrap_or_default().to_owned(), Value::from(self.state()));
        json!({
            "nodes": nodes,
            "interfaces": interfaces.map(of).collect::<Map<_, _>>(),
            "links": self.links.iter().map(of).collect::<Map<_, _>>(),
        })
    }
}

impl Node {
    fn answer(&self, method: &str, path: &[&str], query: &str, sees: bool) -> Option<Result<Value, Refusal>> {
        match (method, path) {
            ("GET", ["layer3_addresses"]) => Some(Ok(self.addresses(sees))),
            ("GET", ["state"]) => Some(Ok(json!({"state": self.state}))),
            ("GET", ["consoles", "0", "log"]) if self.boots == 0 => Some(no(404, "No console log.")),
            ("GET", ["consoles", "0", "log"]) => Some(Ok(json!(last_lines(&self.log, query)))),
            _ => None,
        }
    }

    fn runs(&self) -> bool {
        matches!(self.state, "QUEUED" | "STARTED" | "BOOTED")
    }

    fn start(&mut self) {
        if !self.runs() {
            (self.state, self.stage) = ("QUEUED", 0);
            self.boots += 1;
        }
    }

    fn stop(&mut self) {
        if self.runs() {
            self.state = "STOPPED";
        }
    }

    fn wipe(&mut self) {
        (self.state, self.boots) = ("DEFINED_ON_CORE", 0);
        self.log.clear();
    }

    fn go_on(&mut self, boot: Boot) {
        if !self.runs() {
            return;
        }
        self.stage += 1;
        if self.says["node_definition"] == "external_connector" {
            self.state = "BOOTED";
            return;
        }
        match (self.stage, boot) {
            (2, _) => {
                self.state = "STARTED";
                self.log.push_str("[    0.000000] Linux version 6.8.0-59-generic\r\n");
            }
            (3, Boot::Never) => self
                .log
                .push_str("[    1.2] \u{1b}[31mKernel panic\u{1b}[0m - not syncing: VFS: Unable to mount root fs\r\n"),
            (_, Boot::Never) => {}
            (4, _) => self.say("preparing"),
            (5, Boot::Stops) => self.state = "STOPPED",
            (5, _) => {
                self.state = "BOOTED";
                self.say("step packages");
            }
            (6, Boot::Unprepared) => {
                self.log.push_str("E: Unable to locate package docker.io\r\n");
                self.say("failed packages");
            }
            (7, Boot::Ready) => self.say("ready 192.168.255.23"),
            _ => {}
        }
    }

    /// As builder/prepare.sh does.
    fn say(&mut self, text: &str) {
        self.log.push_str(&format!("\r\ncml-nodes-builder: boot-{} {text}\r\n", self.boots));
    }

    fn addresses(&self, seen: bool) -> Value {
        let label = self.says.get("label").cloned().unwrap_or_default();
        let known = seen && self.state == "BOOTED" && label == "builder";
        let interfaces: Map<String, Value> = (self.interfaces.iter().filter(|_| known))
            .map(|interface| {
                let table = json!({
                    "id": interface["id"], "label": interface["label"],
                    "ip4": ["192.168.255.17"], "ip6": ["fe80::5054:ff:fe00:1"],
                });
                ("52:54:00:00:00:01".to_owned(), table)
            })
            .collect();
        json!({"name": label, "interfaces": interfaces})
    }
}

struct Ids<'a>(&'a mut u32);

impl Ids<'_> {
    /// In the form of a UUID 4.
    fn next(&mut self) -> String {
        *self.0 += 1;
        format!("{:08x}-0000-4000-8000-{:012x}", self.0, self.0)
    }
}

fn last_lines(log: &str, query: &str) -> String {
    let most = query.split('&').find_map(|pair| pair.strip_prefix("lines=")?.parse::<usize>().ok());
    let lines: Vec<&str> = log.split_inclusive('\n').collect();
    lines[lines.len().saturating_sub(most.unwrap_or(usize::MAX))..].concat()
}

const VERSIONS: [&str; 10] = ["0.0.1", "0.0.2", "0.0.3", "0.0.4", "0.0.5", "0.1.0", "0.2.0", "0.2.1", "0.2.2", "0.3.0"];

/// Checks the schema of a topology: no unknown keys, nothing out of bounds.
fn check(topology: &Value) -> Result<(), Refusal> {
    keys("the topology", topology, &["lab", "nodes", "links"], &["annotations", "smart_annotations"])?;
    let lab = &topology["lab"];
    keys("lab", lab, &["version"], &["title", "description", "notes"])?;
    if !lab["version"].as_str().is_some_and(|version| VERSIONS.contains(&version)) {
        return no(400, format!("lab.version: {}", lab["version"]));
    }
    for (key, least, most) in [("title", 1, 64), ("description", 0, 4096), ("notes", 0, 32768)] {
        length(lab, key, least, most)?;
    }
    for node in topology["nodes"].as_array().into_iter().flatten() {
        check_node(node)?;
    }
    for link in topology["links"].as_array().into_iter().flatten() {
        keys("a link", link, &["id", "i1", "i2", "n1", "n2"], &["label", "conditioning"])?;
    }
    Ok(())
}

fn check_node(node: &Value) -> Result<(), Refusal> {
    let optional = [
        "label", "x", "y", "image_definition", "tags", "configuration", "parameters", "ram", "cpu_limit",
        "data_volume", "boot_disk_size", "hide_links", "priority", "pyats", "cpus", "interfaces",
    ];
    keys("a node", node, &["id", "node_definition"], &optional)?;
    length(node, "label", 1, 128)?;
    for (key, least, most) in [
        ("ram", 1, 1_048_576),
        ("cpus", 1, 128),
        ("cpu_limit", 20, 100),
        ("boot_disk_size", 0, 4096),
        ("x", -15000, 15000),
    ] {
        let fits = |value: &Value| value.as_i64().is_some_and(|number| (least..=most).contains(&number));
        if node.get(key).is_some_and(|value| !value.is_null() && !fits(value)) {
            return no(400, format!("{key}: {}", node[key]));
        }
    }
    for tag in node["tags"].as_array().into_iter().flatten() {
        if !tag.as_str().is_some_and(|tag| tag.len() <= 64 && !tag.contains(['\r', '\n'])) {
            return no(400, format!("tags: {tag}"));
        }
    }
    for file in node["configuration"].as_array().into_iter().flatten() {
        keys("a configuration", file, &["name"], &["content"])?;
        length(file, "name", 1, 64)?;
    }
    for interface in node["interfaces"].as_array().into_iter().flatten() {
        keys("an interface", interface, &["id", "type"], &["node", "label", "slot", "mac_address"])?;
        if !matches!(interface["type"].as_str(), Some("physical" | "loopback")) {
            return no(400, format!("type: {}", interface["type"]));
        }
    }
    Ok(())
}

fn keys(what: &str, value: &Value, required: &[&str], optional: &[&str]) -> Result<(), Refusal> {
    let Some(map) = value.as_object() else { return no(400, format!("{what} is no mapping")) };
    if let Some(missing) = required.iter().find(|key| !map.contains_key(**key)) {
        return no(400, format!("{what} lacks `{missing}`"));
    }
    match map.keys().find(|key| !required.contains(&key.as_str()) && !optional.contains(&key.as_str())) {
        Some(unknown) => no(400, format!("{what} has an unknown key `{unknown}`")),
        None => Ok(()),
    }
}

fn length(value: &Value, key: &str, least: usize, most: usize) -> Result<(), Refusal> {
    let Some(given) = value.get(key) else { return Ok(()) };
    match given.as_str().map(|text| text.chars().count()) {
        Some(length) if (least..=most).contains(&length) => Ok(()),
        _ => no(400, format!("{key}: {least} to {most} characters, not {given}")),
    }
}
