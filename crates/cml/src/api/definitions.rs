//! The calls of CML's REST API for node and image definitions, and for the drop folder. [docs/cml.md 2]

use anyhow::{Context, Result};
use hyper::Method;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::Value;

use crate::api::controller::{Content, Controller, Request};
use crate::api::http::{Expected, segment};
use crate::api::refusal::if_present;
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
        self.change(method, collection(kind), Content::Yaml(&definition.text), &what).await
    }

    /// Deletes a definition if it exists, even if it is read-only.
    pub async fn delete_definition(&self, kind: Kind, id: &str) -> Result<()> {
        let Some(definition) = self.definition(kind, id).await? else { return Ok(()) };
        if definition.is_read_only(kind) {
            self.set_read_only(kind, id, false).await?;
        }
        let what = format!("deleting the {kind} {id}");
        self.change(Method::DELETE, &path(kind, id), Content::Nothing, &what).await
    }

    pub async fn set_read_only(&self, kind: Kind, id: &str, read_only: bool) -> Result<()> {
        let path = format!("{}/read_only", path(kind, id));
        let what = format!("setting `read_only` of the {kind} {id} to {read_only}");
        self.change(Method::PUT, &path, Content::Json(read_only.to_string()), &what).await
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

    /// Free bytes on the controller's disk, if the controller reports them.
    pub async fn free_space(&self) -> Result<Option<u64>> {
        let stats: Value = self.get("system_stats", Expected::List, "asking for free space").await?;
        let free = stats.pointer("/all/controller/disk/free").or_else(|| stats.pointer("/all/disk/free"));
        Ok(free.and_then(Value::as_u64))
    }
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
