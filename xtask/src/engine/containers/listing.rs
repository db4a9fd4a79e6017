//! Which containers there are. Podman has a state that is not in Docker's API: `stopped`, between the end of a container and the end of
//! clearing up after it, which never comes if that process was killed. A list with such a one in it can't be read as the API's; the
//! engine's own command line tells the same.

use std::collections::HashMap;

use anyhow::{Context, Result};
use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;
use serde::Deserialize;

use crate::engine::Engine;
use crate::engine::containers::is_unreadable;

/// A container of this project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub id: String,
    pub name: String,
    pub labels: HashMap<String, String>,
    /// `running`, `exited` and so on.
    pub state: String,
}

impl Engine {
    /// The containers with this label, running or not.
    ///
    /// # Errors
    /// If the engine does not answer.
    pub async fn containers(&self, label: &str) -> Result<Vec<Found>> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        match self.docker().list_containers(Some(options)).await {
            Ok(found) => Ok(found.into_iter().map(of_the_api).collect()),
            Err(error) if is_unreadable(&error) => self.inspected(label).await,
            Err(error) => Err(error.into()),
        }
        .context("listing the engine's containers")
    }

    /// The same by the command line.
    async fn inspected(&self, label: &str) -> Result<Vec<Found>> {
        let list = ["ps", "--all", "--quiet", "--no-trunc", "--filter"].map(str::to_owned);
        let ids = self.say(list.into_iter().chain([format!("label={label}")]).collect()).await?;
        if ids.trim().is_empty() {
            return Ok(Vec::new());
        }
        let inspect = ["inspect", "--type", "container"].map(str::to_owned);
        let told = self.say(inspect.into_iter().chain(ids.split_whitespace().map(str::to_owned)).collect()).await?;
        read(&told)
    }

    /// What the command line prints, also if it fails: one of several containers may have gone meanwhile.
    async fn say(&self, words: Vec<String>) -> Result<String> {
        let command_line = self.command_line();
        let program = command_line.program;
        let saying = tokio::task::spawn_blocking(move || {
            command_line.expression(&words).stdin_null().stdout_capture().stderr_capture().unchecked().run()
        });
        let output = saying.await?.with_context(|| format!("the {program} command line can't be run"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        let nothing = output.stdout.is_empty() && !output.status.success();
        anyhow::ensure!(!nothing, "{program} says: {}", text::printable(said.trim()));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn of_the_api(one: ContainerSummary) -> Found {
    let name = one.names.unwrap_or_default().into_iter().next().unwrap_or_default();
    Found {
        id: one.id.unwrap_or_default(),
        name: name.trim_start_matches('/').to_owned(),
        labels: one.labels.unwrap_or_default().into_iter().collect(),
        state: one.state.map(|state| state.to_string()).unwrap_or_default(),
    }
}

/// What `inspect` tells; the parts that matter here, as both makes write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    name: String,
    state: State,
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<HashMap<String, String>>,
}

fn read(told: &str) -> Result<Vec<Found>> {
    let found: Vec<Inspected> = serde_json::from_str(told).context("what `inspect` prints can't be read")?;
    let read = found.into_iter().map(|one| Found {
        id: one.id,
        name: one.name.trim_start_matches('/').to_owned(),
        labels: one.config.labels.unwrap_or_default(),
        state: one.state.status,
    });
    Ok(read.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Podman and Docker print it, shortened.
    #[test]
    fn the_command_lines_word_is_read() {
        let podman = r#"[{"Id": "4f", "State": {"OciVersion": "1.0", "Status": "stopped", "Pid": 0}, "Name": "cml-frr",
                         "Config": {"Hostname": "4f", "Labels": {"cml-nodes.lab": "1"}}}]"#;
        let labels = HashMap::from([("cml-nodes.lab".to_owned(), "1".to_owned())]);
        let state = "stopped".to_owned();
        assert_eq!(read(podman).unwrap(), [Found { id: "4f".to_owned(), name: "cml-frr".to_owned(), labels, state }]);
        let docker = r#"[{"Id": "5f", "State": {"Status": "exited"}, "Name": "/x", "Config": {"Labels": null}}]"#;
        assert_eq!(read(docker).unwrap()[0].name, "x");
        assert_eq!(read("[]").unwrap(), []);
        assert!(read("Error: no such container").is_err());
    }
}
