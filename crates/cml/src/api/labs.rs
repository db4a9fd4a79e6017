//! CML's REST API, as far as labs need it. [docs/cml.md 2]

use anyhow::{Context, Result, ensure};
use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::api::controller::{Content, Controller, Refused};
use crate::api::http::escape;

/// Lines of a console's log that are asked for.
const LOG_LINES: u32 = 2000;

/// The state of a lab or of a node, as the controller names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has never run, or was wiped.
    Defined,
    Stopped,
    /// A node waits for its turn.
    Queued,
    /// A lab runs; a node boots.
    Started,
    /// Of nodes: a text of `boot.completed` was on the console.
    Booted,
    Other(String),
}

impl State {
    fn parse(text: &str) -> Self {
        match text {
            "DEFINED_ON_CORE" => Self::Defined,
            "STOPPED" => Self::Stopped,
            "QUEUED" => Self::Queued,
            "STARTED" => Self::Started,
            "BOOTED" => Self::Booted,
            other => Self::Other(text::printable(other).chars().take(40).collect()),
        }
    }

    pub fn runs(&self) -> bool {
        matches!(self, Self::Queued | Self::Started | Self::Booted)
    }
}

/// For people.
impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Defined => "defined",
            Self::Stopped => "stopped",
            Self::Queued => "queued",
            Self::Started => "started",
            Self::Booted => "booted",
            Self::Other(text) => text,
        })
    }
}

/// A lab, without what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lab {
    pub id: String,
    pub title: String,
    pub description: String,
    pub state: State,
    pub created: String,
}

/// A node of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: String,
    pub label: String,
    pub node_definition: String,
    pub tags: Vec<String>,
}

/// An image definition, as far as one is chosen by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Image {
    pub id: String,
    pub label: String,
    pub node_definition_id: String,
}

impl Controller<'_> {
    /// The ids of this user's labs. Those of others are nobody's business here.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn labs(&self) -> Result<Vec<String>> {
        let answer = self.call(&Method::GET, "labs", Content::Nothing, "listing the labs").await?;
        serde_json::from_slice(&answer.body).context("the list of labs can't be read")
    }

    /// A lab, if it is there.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn lab(&self, id: &str) -> Result<Option<Lab>> {
        let Some(said) = self.found(&format!("labs/{}", escape(id)), "reading a lab").await? else { return Ok(None) };
        let text = |key: &str| said.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Some(Lab {
            id: id.to_owned(),
            title: text("lab_title"),
            description: text("lab_description"),
            state: State::parse(&text("state")),
            created: text("created"),
        }))
    }

    /// The nodes of a lab; none if it is gone.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn nodes(&self, lab: &str) -> Result<Vec<Node>> {
        let path = format!("labs/{}/topology?exclude_configurations=true", escape(lab));
        let said = self.found(&path, "reading a lab's nodes").await?.unwrap_or_default();
        let nodes = said.get("nodes").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(nodes.iter().map(node).collect())
    }

    /// Makes a lab of a topology; yields its id.
    ///
    /// # Errors
    /// If the controller refuses it.
    pub async fn import_lab(&self, topology: &str) -> Result<String> {
        let what = "importing the lab";
        let answer = self.call(&Method::POST, "import", Content::Yaml(topology), what).await?;
        let said = self.json(&answer, what)?;
        let id = said.get("id").and_then(Value::as_str).context("the controller did not say which lab it made")?;
        for warning in said.get("warnings").and_then(Value::as_array).into_iter().flatten() {
            let text = warning.as_str().map_or_else(|| warning.to_string(), str::to_owned);
            self.access.ui.warn(format_args!("{}: {}", self.address, text::printable(&text)));
        }
        Ok(id.to_owned())
    }

    /// # Errors
    /// If the controller refuses.
    pub async fn start_lab(&self, id: &str) -> Result<()> {
        self.put_lab(id, "start", "starting the lab").await
    }

    /// # Errors
    /// If the controller refuses.
    pub async fn stop_lab(&self, id: &str) -> Result<()> {
        self.put_lab(id, "stop", "stopping the lab").await
    }

    /// Throws away what its nodes have on their disks.
    ///
    /// # Errors
    /// If the controller refuses: it runs.
    pub async fn wipe_lab(&self, id: &str) -> Result<()> {
        self.put_lab(id, "wipe", "wiping the lab").await
    }

    /// Deletes a lab. One that is gone already is no error.
    ///
    /// # Errors
    /// If the controller refuses: it is not wiped.
    pub async fn delete_lab(&self, id: &str) -> Result<()> {
        let path = format!("labs/{}", escape(id));
        match self.call(&Method::DELETE, &path, Content::Nothing, "deleting the lab").await {
            Err(error) if is_absent(&error) => Ok(()),
            other => other.map(drop),
        }
    }

    /// The state of one node, if it is there.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn node_state(&self, lab: &str, node: &str) -> Result<Option<State>> {
        let path = format!("labs/{}/lab_element_state", escape(lab));
        let said = self.found(&path, "asking for the lab's state").await?.unwrap_or_default();
        let state = said.get("nodes").and_then(|nodes| nodes.get(node)).and_then(Value::as_str);
        Ok(state.map(State::parse))
    }

    /// The addresses that the controller has seen a node use: IPv4 first.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn addresses(&self, lab: &str, node: &str) -> Result<Vec<String>> {
        let path = format!("labs/{}/nodes/{}/layer3_addresses", escape(lab), escape(node));
        let said = self.found(&path, "asking for the node's addresses").await?.unwrap_or_default();
        let interfaces: Vec<&Value> =
            said.get("interfaces").and_then(Value::as_object).into_iter().flat_map(|map| map.values()).collect();
        let of = |family: &str| -> Vec<String> {
            let lists = interfaces.iter().filter_map(|interface| interface.get(family)?.as_array());
            // What is no address is not shown, let alone typed.
            lists
                .flatten()
                .filter_map(|text| text.as_str()?.parse::<std::net::IpAddr>().ok())
                .map(|ip| ip.to_string())
                .collect()
        };
        Ok([of("ip4"), of("ip6")].concat())
    }

    /// What a node's first console has shown, as far as the controller still knows; with line ends as they came.
    ///
    /// # Errors
    /// If the controller does not answer.
    pub async fn console_log(&self, lab: &str, node: &str) -> Result<String> {
        let path = format!("labs/{}/nodes/{}/consoles/0/log?lines={LOG_LINES}", escape(lab), escape(node));
        let said = match self.found(&path, "reading the console").await {
            Ok(said) => said.unwrap_or_default(),
            // A node that never ran has none; how a controller says so is its affair.
            Err(error) if error.is::<Refused>() => return Ok(String::new()),
            Err(error) => return Err(error),
        };
        Ok(match said {
            Value::String(text) => text,
            Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
            Value::Object(map) => map.values().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"),
            _ => String::new(),
        })
    }

    /// # Errors
    /// If the controller does not answer.
    pub async fn images(&self) -> Result<Vec<Image>> {
        let what = "listing the image definitions";
        let answer = self.call(&Method::GET, "image_definitions", Content::Nothing, what).await?;
        serde_json::from_slice(&answer.body).context("the list of image definitions can't be read")
    }

    /// The licence in CML's words, `registration NOT_REGISTERED, authorization EXPIRED`; nothing if this user may not know.
    pub async fn licence(&self) -> Option<String> {
        let said = self.found("licensing", "asking for the licence").await.ok().flatten()?;
        let status = |what: &str| {
            let text = said.get(what)?.get("status")?.as_str()?;
            Some(format!("{what} {}", text::printable(text).chars().take(40).collect::<String>()))
        };
        let parts: Vec<String> = ["registration", "authorization"].into_iter().filter_map(status).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    async fn put_lab(&self, id: &str, verb: &str, what: &str) -> Result<()> {
        self.call(&Method::PUT, &format!("labs/{}/{verb}", escape(id)), Content::Nothing, what).await.map(drop)
    }

    /// What a request answers, in JSON; nothing if there is no such thing.
    async fn found(&self, path: &str, what: &str) -> Result<Option<Value>> {
        match self.call(&Method::GET, path, Content::Nothing, what).await {
            Ok(answer) => self.json(&answer, what).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Whether the controller said that there is no such thing.
pub fn is_absent(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == 404)
}

fn node(value: &Value) -> Node {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let tags = value.get("tags").and_then(Value::as_array).into_iter().flatten();
    Node {
        id: text("id"),
        label: text("label"),
        node_definition: text("node_definition"),
        tags: tags.filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}

/// What CML takes as a title.
///
/// # Errors
/// If it is none.
pub fn check_title(title: &str) -> Result<()> {
    let plain = !title.chars().any(char::is_control);
    ensure!(plain && (1..=64).contains(&title.chars().count()), "a lab's title has 1 to 64 characters, on one line");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_nobody_knows_are_shown_without_harm() {
        assert_eq!(State::parse("BOOTED"), State::Booted);
        assert_eq!(State::parse("\x1b[31mRED").to_string(), "\u{fffd}[31mRED");
        assert!(State::Queued.runs() && !State::Stopped.runs());
    }

    #[test]
    fn titles_are_what_cml_takes() {
        assert!(check_title("Create Docker Image").is_ok());
        for wrong in ["", "a\nb", &"x".repeat(65)] {
            assert!(check_title(wrong).is_err(), "{wrong}");
        }
    }
}
