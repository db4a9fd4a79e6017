//! Listing containers. The client cannot parse a list with a container in Podman's state `stopped`, which is not in
//! Docker's API (`quirks.rs`), so the engine's command line is asked instead.

use std::collections::HashMap;

use anyhow::{Context, Result};
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use serde::Deserialize;
use serde_json::Value;

use crate::engine::errors::is_unreadable;
use crate::engine::handle::Engine;

/// A container of this project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedContainer {
    pub id: String,
    pub name: String,
    pub labels: HashMap<String, String>,
    /// `running`, `exited` and so on.
    pub state: String,
}

impl Engine {
    /// The containers with this label, running or not.
    pub async fn containers(&self, label: &str) -> Result<Vec<ListedContainer>> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let listed = match self.docker.list_containers(Some(options)).await {
            Err(error) if is_unreadable(&error) => self.list_by_command_line(label).await,
            answer => answer.map(|found| found.into_iter().map(from_summary).collect()).map_err(Into::into),
        };
        listed.context("listing the engine's containers")
    }

    async fn list_by_command_line(&self, label: &str) -> Result<Vec<ListedContainer>> {
        let filter = format!("label={label}");
        let ids = self.printed(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]).await?;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        parse(&self.printed(&[&["inspect", "--type", "container"], &*ids].concat()).await?)
    }

    /// What the command line prints, even if it fails: one of several containers may have been removed meanwhile.
    async fn printed(&self, args: &[&str]) -> Result<String> {
        let command_line = self.command_line();
        let output = command_line.output(args).await?;
        let message = String::from_utf8_lossy(&output.stderr);
        let has_failed = output.stdout.is_empty() && !output.status.success();
        anyhow::ensure!(!has_failed, "{} says: {}", command_line.program, text::printable(message.trim()));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn from_summary(one: ContainerSummary) -> ListedContainer {
    let name = one.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    ListedContainer {
        id: one.id.unwrap_or_default(),
        name: name.trim_start_matches('/').to_owned(),
        labels: one.labels.unwrap_or_default().into_iter().collect(),
        state: one.state.map(|state| state.to_string()).unwrap_or_default(),
    }
}

/// Reads the output of `inspect`, of which Docker and Podman write the needed parts alike.
fn parse(printed: &str) -> Result<Vec<ListedContainer>> {
    let found: Vec<Value> = serde_json::from_str(printed).context("could not parse the output of `inspect`")?;
    let read = |one: &Value| {
        Some(ListedContainer {
            id: one["Id"].as_str()?.to_owned(),
            name: one["Name"].as_str()?.trim_start_matches('/').to_owned(),
            labels: Option::deserialize(&one["Config"]["Labels"]).ok()?.unwrap_or_default(),
            state: one["State"]["Status"].as_str()?.to_owned(),
        })
    };
    found.iter().map(read).collect::<Option<_>>().context("the output of `inspect` is incomplete")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Podman and Docker print it, shortened.
    #[test]
    fn output_of_the_command_line_is_parsed() {
        let podman = r#"[{"Id": "4f", "State": {"OciVersion": "1.0", "Status": "stopped", "Pid": 0}, "Name": "cml-frr",
                         "Config": {"Hostname": "4f", "Labels": {"cml-nodes.lab": "1"}}}]"#;
        let labels = HashMap::from([("cml-nodes.lab".to_owned(), "1".to_owned())]);
        let state = "stopped".to_owned();
        assert_eq!(
            parse(podman).unwrap(),
            [ListedContainer { id: "4f".to_owned(), name: "cml-frr".to_owned(), labels, state }]
        );
        let docker = r#"[{"Id": "5f", "State": {"Status": "exited"}, "Name": "/x", "Config": {"Labels": null}}]"#;
        assert_eq!(parse(docker).unwrap()[0].name, "x");
        assert_eq!(parse("[]").unwrap(), []);
        assert!(parse("Error: no such container").is_err());
    }
}
