//! The calls of CML's REST API for node and image definitions, and for the drop folder. [docs/cml.md 2]

use anyhow::{Context, Result};
use hyper::Method;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::Value;

use crate::api::cause::explained;
use crate::api::controller::{Content, Controller, Request};
use crate::api::http::{Expected, segment};
use crate::api::labs::Use;
use crate::api::refusal::{if_present, is_rejection};
use crate::{ArchiveFile, Definition, Kind, Standing};

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Image {
    pub id: String,
    pub label: String,
    pub node_definition_id: String,
}

impl Controller<'_> {
    /// Both definitions of a node whose image and node definition have these ids.
    pub async fn standing(&self, id: &str, node_id: &str) -> Result<Standing> {
        let node = self.definition(Kind::Node, node_id).await?;
        Ok(Standing { node, image: self.definition(Kind::Image, id).await? })
    }

    pub async fn definition(&self, kind: Kind, id: &str) -> Result<Option<Definition>> {
        let what = format!("reading the {kind} {id}");
        let request = Request { method: Method::GET, path: &path(kind, id), expected: Expected::Definition };
        let answer = self.call(request, Content::Nothing, &what).await;
        let Some(answer) = if_present(answer)? else { return Ok(None) };
        // On a thread of its own: a large one takes time.
        let reading = tokio::task::spawn_blocking(move || {
            let text = String::from_utf8(answer.body.into()).context("it is not UTF-8")?;
            // Some versions send the YAML within a JSON string.
            Definition::read(serde_json::from_str::<String>(&text).unwrap_or(text))
        });
        let definition = reading.await.context("reading a definition")?;
        definition.with_context(|| format!("cannot read the {kind} {id} of {}", self.address)).map(Some)
    }

    pub async fn write_definition(&self, kind: Kind, id: &str, definition: &Definition, replace: bool) -> Result<()> {
        let (method, verb) = if replace { (Method::PUT, "replacing") } else { (Method::POST, "creating") };
        let what = format!("{verb} the {kind} {id}");
        self.change_of(kind, id, method, collection(kind), Content::Yaml(&definition.text), &what).await
    }

    /// Writes back what the controller has given, over what is there now. A controller may give what it does not take:
    /// nulls for whatever a node definition does not say. [docs/cml.md 4]
    pub async fn write_back(&self, kind: Kind, id: &str, definition: &Definition) -> Result<()> {
        let refused = match self.write_definition(kind, id, definition, true).await {
            Err(error) if is_rejection(&error) => error,
            done => return done,
        };
        let said = Definition::read(without_nulls(&definition.value).to_string())?;
        self.write_definition(kind, id, &said, true).await.map_err(|_| refused)
    }

    /// Deletes a definition if it exists, even if it is read-only.
    pub async fn delete_definition(&self, kind: Kind, id: &str) -> Result<()> {
        let Some(definition) = self.definition(kind, id).await? else { return Ok(()) };
        if definition.is_read_only(kind) {
            self.set_read_only(kind, id, false).await?;
        }
        let what = format!("deleting the {kind} {id}");
        let deleted = self.change_of(kind, id, Method::DELETE, &path(kind, id), Content::Nothing, &what).await;
        if let Err(error) = deleted {
            if definition.is_read_only(kind) {
                return Err(self.locked_again(kind, id, error).await);
            }
            return Err(error);
        }
        Ok(())
    }

    /// Switches `read_only` on again where it was switched off for something that failed; returns the reason for that.
    pub async fn locked_again(&self, kind: Kind, id: &str, reason: anyhow::Error) -> anyhow::Error {
        match if_present(self.set_read_only(kind, id, true).await) {
            Ok(_) => reason,
            Err(error) => {
                reason.context(format!("the {kind} {id} of {} is no longer read-only: {error:#}", self.address))
            }
        }
    }

    pub async fn set_read_only(&self, kind: Kind, id: &str, read_only: bool) -> Result<()> {
        let path = format!("{}/read_only", path(kind, id));
        let what = format!("setting `read_only` of the {kind} {id} to {read_only}");
        self.change_of(kind, id, Method::PUT, &path, Content::Json(read_only.to_string()), &what).await
    }

    /// A change of a node, whose refusal is explained.
    async fn change_of(
        &self,
        kind: Kind,
        id: &str,
        method: Method,
        path: &str,
        content: Content<'_>,
        what: &str,
    ) -> Result<()> {
        match self.change(method, path, content, what).await {
            Err(error) => {
                let users = match kind {
                    Kind::Node => Use::Node(id),
                    // Which node definition it belongs to is not known here, if not to that of the same name.
                    Kind::Image => Use::Image { id, node: id },
                };
                Err(explained(self, users, error).await)
            }
            done => done,
        }
    }

    pub async fn images_of(&self, id: &str) -> Result<Vec<String>> {
        let path = format!("{}/image_definitions", path(Kind::Node, id));
        let images: Vec<Image> = self.get(&path, Expected::List, "listing image definitions").await?;
        Ok(images.into_iter().map(|image| image.id).collect())
    }

    pub async fn images(&self) -> Result<Vec<Image>> {
        self.get("image_definitions", Expected::List, "listing image definitions").await
    }

    pub async fn drop_folder(&self) -> Result<Vec<String>> {
        self.get("list_image_definition_drop_folder", Expected::List, "listing the drop folder").await
    }

    /// Sends the archive to the drop folder. The request is broken off before its end if the file is no longer the one
    /// that was saved.
    pub async fn upload(&self, archive: &ArchiveFile, progress: &ProgressBar) -> Result<()> {
        let what = format!("sending {}", archive.name);
        self.change(Method::POST, "images/upload", Content::File(archive, progress), &what).await
    }

    pub async fn remove_from_drop_folder(&self, file: &str) -> Result<()> {
        let what = format!("removing {file} from the drop folder");
        let path = format!("images/manage/{}", segment(file));
        self.change(Method::DELETE, &path, Content::Nothing, &what).await
    }

    /// The IDs of all nodes that have an image there.
    pub async fn ids(&self) -> Result<Vec<String>> {
        let images = self.images().await?.into_iter().flat_map(|image| [image.id, image.node_definition_id]);
        Ok(images.collect::<std::collections::BTreeSet<_>>().into_iter().collect())
    }

    /// Free bytes on the controller's disk, if the controller reports them. [docs/cml.md 2]
    pub async fn free_space(&self) -> Result<Option<u64>> {
        let stats: Value = self.get("system_stats", Expected::List, "asking for free space").await?;
        Ok(free_in(&stats))
    }
}

/// The generator's driver is the only key that says something by a null.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let said = map.iter().filter(|(key, value)| !value.is_null() || *key == "driver");
            Value::Object(said.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// `all` is a sum over the compute hosts, so it is the controller's only if there is at most one.
fn free_in(stats: &Value) -> Option<u64> {
    let is_single = stats.get("computes").and_then(Value::as_object).is_none_or(|computes| computes.len() <= 1);
    let all = stats.pointer("/all/disk").filter(|_| is_single);
    let disk = stats.pointer("/controller/disk").or(all)?;
    // What has no size was not measured.
    disk.get("total").and_then(Value::as_u64).filter(|total| *total > 0)?;
    disk.get("free").and_then(Value::as_u64)
}

fn collection(kind: Kind) -> &'static str {
    match kind {
        Kind::Node => "node_definitions",
        Kind::Image => "image_definitions",
    }
}

fn path(kind: Kind, id: &str) -> String {
    format!("{}/{}", collection(kind), segment(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn free_space_is_the_controllers_and_nothing_if_it_is_not_known() {
        let disk = |free: u64| json!({"used": 1, "free": free, "total": 100});
        let one = json!({"computes": {"a": {}}, "all": {"disk": disk(7)}});
        assert_eq!(free_in(&one), Some(7));
        let cluster = json!({"computes": {"a": {}, "b": {}}, "all": {"disk": disk(7)}});
        assert_eq!(free_in(&cluster), None);
        let with_controller =
            json!({"computes": {"a": {}, "b": {}}, "all": {"disk": disk(7)}, "controller": {"disk": disk(5)}});
        assert_eq!(free_in(&with_controller), Some(5));
        for nothing in [json!({}), json!([]), json!({"all": {"disk": {"free": 0, "total": 0, "used": 0}}})] {
            assert_eq!(free_in(&nothing), None, "{nothing}");
        }
    }
}
