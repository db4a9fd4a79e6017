//! The calls of CML's REST API for labs. [docs/cml.md 2]

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::api::controller::{Content, Controller, Request};
use crate::api::http::{Expected, segment};
use crate::api::refusal::{Refused, if_present, is_forbidden};
use crate::remote_text::excerpt;

const LOG_LINES: usize = 2000;

const UNREADABLE: &str = "a lab cannot be read, so that it is not known what all labs use";

/// The state of a lab or of one of its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunState {
    /// Never started, or wiped.
    #[serde(rename = "DEFINED_ON_CORE")]
    Defined,
    Stopped,
    /// A node that waits to be started.
    Queued,
    /// A running lab, or a node that boots.
    Started,
    /// A node that showed a text of `boot.completed` on its console.
    Booted,
    #[serde(untagged)]
    Other(String),
}

impl RunState {
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Queued | Self::Started | Self::Booted)
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Defined => "defined",
            Self::Stopped => "stopped",
            Self::Queued => "queued",
            Self::Started => "started",
            Self::Booted => "booted",
            Self::Other(text) => return f.write_str(&excerpt(text, 40)),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Lab {
    pub id: String,
    #[serde(rename = "lab_title")]
    pub title: String,
    #[serde(rename = "lab_description", default, deserialize_with = "or_default")]
    pub description: String,
    pub state: RunState,
    #[serde(default)]
    pub created: String,
}

#[derive(Default, Deserialize)]
struct Topology {
    #[serde(default)]
    lab: Heading,
    /// Without it the answer is not a topology: it must not pass for a lab that uses nothing.
    nodes: Vec<Node>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Heading {
    title: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Node {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub label: String,
    pub node_definition: String,
    /// Without it, CML chooses one of the node definition's.
    #[serde(default)]
    pub image_definition: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub tags: Vec<String>,
}

/// Behind the name of a node that uses something for which it has not asked.
const UNCHOSEN: &str = "(may use it: it has chosen no image)";

/// What a node of a lab can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use<'a> {
    /// A node definition with any of its images.
    Node(&'a str),
    /// One image definition of a node definition.
    Image { id: &'a str, node: &'a str },
}

impl Use<'_> {
    pub fn id(&self) -> &str {
        let (Self::Node(id) | Self::Image { id, .. }) = self;
        id
    }

    /// Whether this node uses it, or may do so: which image CML chooses for a node without one is not documented.
    fn is_by(&self, node: &Node) -> bool {
        match self {
            Self::Node(id) => node.node_definition == *id,
            Self::Image { id, node: of } => node.chosen().map_or(node.node_definition == *of, |chosen| chosen == *id),
        }
    }

    fn is_certainly_by(&self, node: &Node) -> bool {
        matches!(self, Self::Node(_)) || node.chosen().is_some()
    }
}

impl Node {
    /// The image definition that it names.
    fn chosen(&self) -> Option<&str> {
        self.image_definition.as_deref().filter(|image| !image.is_empty())
    }
}

/// CML writes `null` for some values that are absent.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Topology {
    /// The nodes that use something, as messages name them.
    fn nodes_with(&self, what: Use<'_>) -> impl Iterator<Item = String> {
        let nodes = self.nodes.iter().filter(move |node| what.is_by(node));
        nodes.map(move |node| {
            let name = format!("`{}` in the lab `{}`", node.label, self.lab.title);
            if what.is_certainly_by(node) { name } else { format!("{name} {UNCHOSEN}") }
        })
    }
}

/// Whether this is the name of a node that certainly uses what was asked for.
pub fn is_certain(user: &str) -> bool {
    !user.ends_with(UNCHOSEN)
}

/// What all labs of all users use.
pub struct Usage(Vec<Topology>);

impl Usage {
    /// The nodes that use something, as messages name them.
    pub fn of(&self, what: Use<'_>) -> Vec<String> {
        self.0.iter().flat_map(|topology| topology.nodes_with(what)).collect()
    }
}

/// Who is logged in. [docs/cml.md 2]
#[derive(Default, Deserialize)]
#[serde(default)]
struct Login {
    admin: bool,
}

impl Controller<'_> {
    /// What all labs of all users use.
    ///
    /// # Errors
    /// If this user may not see every lab.
    pub async fn usage(&self) -> Result<Usage> {
        let login: Login = self.get("authentication", Expected::Little, "asking who is logged in").await?;
        ensure!(
            login.admin,
            "{}: only an administrator sees the labs of all users, and so what no lab uses; log in as one",
            self.address
        );
        let labs: Vec<String> = self.get("labs?show_all=true", Expected::List, "listing the labs").await?;
        let mut all = Vec::new();
        for lab in labs {
            all.extend(self.topology(&lab).await.context(UNREADABLE)?);
        }
        Ok(Usage(all))
    }

    /// The IDs of this user's labs; those of others are left alone.
    pub async fn labs(&self) -> Result<Vec<String>> {
        self.get("labs", Expected::List, "listing the labs").await
    }

    pub async fn lab(&self, id: &str) -> Result<Option<Lab>> {
        self.find(&format!("labs/{}", segment(id)), Expected::Little, "reading a lab").await
    }

    /// The nodes of a lab; none if it does not exist any more.
    pub async fn nodes(&self, lab: &str) -> Result<Vec<Node>> {
        Ok(self.topology(lab).await?.unwrap_or_default().nodes)
    }

    async fn topology(&self, lab: &str) -> Result<Option<Topology>> {
        let path = format!("labs/{}/topology?exclude_configurations=true", segment(lab));
        self.find(&path, Expected::List, "reading a lab's nodes").await
    }

    /// The nodes that use something in all labs that this user may see, as messages name them.
    pub async fn nodes_with(&self, what: Use<'_>) -> Result<Vec<String>> {
        let labs: Vec<String> = self.get("labs?show_all=true", Expected::List, "listing the labs").await?;
        let mut nodes = Vec::new();
        for lab in labs {
            match self.topology(&lab).await {
                Ok(topology) => nodes.extend(topology.unwrap_or_default().nodes_with(what)),
                // It belongs to another user.
                Err(error) if is_forbidden(&error) => {}
                Err(error) => return Err(error.context(UNREADABLE)),
            }
        }
        Ok(nodes)
    }

    /// Creates a lab from a topology; returns its ID.
    pub async fn import_lab(&self, topology: &str) -> Result<String> {
        let what = "importing the lab";
        let request = Request { method: Method::POST, path: "import", expected: Expected::List };
        let answer = self.call(request, Content::Yaml(topology), what).await?;
        let answer: Value = self.json(answer, what).await?;
        let id = answer.get("id").and_then(Value::as_str).context("the controller did not return the ID of the lab")?;
        for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten() {
            let text = warning.as_str().map_or_else(|| warning.to_string(), str::to_owned);
            self.access.ui.warn(format_args!("{}: {}", self.address, excerpt(&text, 600)));
        }
        Ok(id.to_owned())
    }

    pub async fn start_lab(&self, id: &str) -> Result<()> {
        self.put_lab(id, "start", "starting the lab").await
    }

    pub async fn stop_lab(&self, id: &str) -> Result<()> {
        self.put_lab(id, "stop", "stopping the lab").await
    }

    /// Deletes what the lab's nodes have on their disks. The lab must be stopped.
    pub async fn wipe_lab(&self, id: &str) -> Result<()> {
        self.put_lab(id, "wipe", "wiping the lab").await
    }

    /// Deletes a lab, unless it is gone already. The lab must be wiped.
    pub async fn delete_lab(&self, id: &str) -> Result<()> {
        let path = format!("labs/{}", segment(id));
        if_present(self.change(Method::DELETE, &path, Content::Nothing, "deleting the lab").await).map(drop)
    }

    pub async fn node_state(&self, lab: &str, node: &str) -> Result<Option<RunState>> {
        let path = format!("labs/{}/lab_element_state", segment(lab));
        let answer = self.find::<Value>(&path, Expected::List, "asking for the lab's state").await?.unwrap_or_default();
        let state = answer.get("nodes").and_then(|nodes| nodes.get(node));
        Ok(state.and_then(|state| RunState::deserialize(state).ok()))
    }

    /// The addresses that the controller has seen a node use, IPv4 first.
    pub async fn addresses(&self, lab: &str, node: &str) -> Result<Vec<String>> {
        let path = format!("labs/{}/nodes/{}/layer3_addresses", segment(lab), segment(node));
        let answer =
            self.find::<Value>(&path, Expected::List, "asking for the node's addresses").await?.unwrap_or_default();
        let interfaces = answer.get("interfaces").and_then(Value::as_object).into_iter().flat_map(|map| map.values());
        let lists = interfaces.flat_map(|interface| [interface.get("ip4"), interface.get("ip6")]);
        let texts = lists.flatten().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
        // Only what parses as an address is used.
        let mut addresses: Vec<IpAddr> = texts.filter_map(|text| text.parse().ok()).collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        Ok(addresses.iter().map(IpAddr::to_string).collect())
    }

    /// What the first console of a node has shown, as far as the controller still has it, with its original line ends.
    pub async fn console_log(&self, lab: &str, node: &str) -> Result<String> {
        let path = format!("labs/{}/nodes/{}/consoles/0/log?lines={LOG_LINES}", segment(lab), segment(node));
        let log = match self.find::<Value>(&path, Expected::Log, "reading the console").await {
            Ok(log) => log.unwrap_or_default(),
            // A node that never ran has none; which status says so is not documented.
            Err(error) if error.is::<Refused>() => return Ok(String::new()),
            Err(error) => return Err(error),
        };
        let texts: Vec<&str> = match &log {
            Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
            Value::Object(map) => map.values().filter_map(Value::as_str).collect(),
            other => other.as_str().into_iter().collect(),
        };
        Ok(last_lines(&texts.join("\n"), LOG_LINES).to_owned())
    }

    /// The licence in CML's words, `registration NOT_REGISTERED, authorization EXPIRED`; nothing if this user may not
    /// see it.
    pub async fn licence(&self) -> Option<String> {
        let answer =
            self.find::<Value>("licensing", Expected::Little, "asking for the licence").await.ok().flatten()?;
        let text = |what: &str| answer.pointer(&format!("/{what}/status"))?.as_str();
        let status = |what: &str| Some(format!("{what} {}", excerpt(text(what)?, 40)));
        let parts: Vec<String> = ["registration", "authorization"].into_iter().filter_map(status).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    async fn put_lab(&self, id: &str, verb: &str, what: &str) -> Result<()> {
        self.change(Method::PUT, &format!("labs/{}/{verb}", segment(id)), Content::Nothing, what).await
    }
}

/// The end of a log: a controller may send more than it was asked for.
fn last_lines(log: &str, count: usize) -> &str {
    let start =
        log.trim_end_matches('\n').rmatch_indices('\n').nth(count.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
    &log[start..]
}

/// Fails if CML would not accept a lab's title.
pub fn check_title(title: &str) -> Result<()> {
    let plain = !title.chars().any(char::is_control);
    ensure!(
        plain && (1..=64).contains(&title.chars().count()),
        "a lab's title must have 1 to 64 characters, on one line"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_state_is_shown_printable() {
        let read = |text: &str| serde_json::from_value::<RunState>(text.into()).unwrap();
        assert_eq!([read("BOOTED"), read("DEFINED_ON_CORE")], [RunState::Booted, RunState::Defined]);
        assert_eq!(read("\x1b[31mRED").to_string(), "\u{fffd}[31mRED");
        assert!(RunState::Queued.is_running() && !RunState::Stopped.is_running());
    }

    #[test]
    fn nodes_with_a_definition_are_found_in_topologies() {
        let topology = serde_json::json!({"lab": {"title": "L"}, "nodes": [
            {"id": "n0", "label": "r1", "node_definition": "frr-10-4"},
            {"id": "n1", "label": "pc", "node_definition": "alpine", "tags": null},
            {"id": "n2", "label": "r2", "node_definition": "frr", "image_definition": "frr-10-4"},
            {"id": "n3", "label": "r3", "node_definition": "frr", "image_definition": null}]});
        let topology: Topology = serde_json::from_value(topology).unwrap();
        let users = |what| topology.nodes_with(what).collect::<Vec<_>>();
        let [r1, r2, r3] = ["r1", "r2", "r3"].map(|name| format!("`{name}` in the lab `L`"));
        assert_eq!(users(Use::Node("frr-10-4")), [r1]);
        assert_eq!(users(Use::Node("frr")), [r2.clone(), r3.clone()]);
        // CML may choose any image for a node that names none.
        let r3 = format!("{r3} {UNCHOSEN}");
        assert_eq!(users(Use::Image { id: "frr-10-4", node: "frr" }), [r2, r3.clone()]);
        assert_eq!(users(Use::Image { id: "frr-10-3", node: "frr" }), [r3]);
    }

    #[test]
    fn what_does_not_say_what_is_used_is_no_topology() {
        for wrong in [r"{}", r#"{"nodes": null}"#, r#"{"nodes": [{"id": "n0"}]}"#, "[]"] {
            assert!(serde_json::from_str::<Topology>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_end_of_a_log_is_kept() {
        assert_eq!(last_lines("one\r\ntwo\nthree\n", 2), "two\nthree\n");
        assert_eq!(last_lines("one\ntwo", 2), "one\ntwo");
        assert_eq!((last_lines("one\ntwo", 1), last_lines("", 1)), ("two", ""));
    }

    #[test]
    fn titles_that_cml_would_refuse_are_refused() {
        assert!(check_title("Create Docker Image").is_ok());
        for wrong in ["", "a\nb", &"x".repeat(65)] {
            assert!(check_title(wrong).is_err(), "{wrong}");
        }
    }
}
