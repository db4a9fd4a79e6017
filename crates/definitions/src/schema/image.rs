//! The image definition: one bootable image of a kind of device. [docs/cml.md 3]

use std::sync::Arc;

use serde::Serialize;

use super::at::At;
use super::node::Credentials;
use super::reader::Reader;
use super::rules;
use super::scalar::{NAME, any_text, boolean, is_name, is_sha256, line, line_that, or_null, text, whole};
use crate::yaml::{Node, Value};

#[derive(Debug, Default, Serialize)]
pub struct ImageDefinition {
    pub id: Option<At<String>>,
    pub node_definition_id: Option<At<String>>,
    pub label: Option<At<String>>,
    /// The image's file, beside the definition.
    pub disk_image: Option<At<String>>,
    pub disk_image_2: Option<At<String>>,
    pub disk_image_3: Option<At<String>>,
    pub disk_image_4: Option<At<String>>,
    pub docker_tag: Option<At<String>>,
    pub sha256: Option<At<String>>,
    pub schema_version: Option<At<String>>,
    pub description: Option<At<String>>,
    pub read_only: Option<At<bool>>,
    pub efi_boot: Option<At<bool>>,
    pub configuration: Option<At<String>>,
    pub pyats: Option<Credentials>,
    /// Mebibytes.
    pub ram: Option<At<i64>>,
    pub cpus: Option<At<i64>>,
    /// Percent of the CPUs.
    pub cpu_limit: Option<At<i64>>,
    /// Gibibytes.
    pub data_volume: Option<At<i64>>,
    /// Gibibytes.
    pub boot_disk_size: Option<At<i64>>,
}

impl ImageDefinition {
    pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Self> {
        let file = |reader: &mut Reader<'_>, node: &Arc<Node>| or_null(line_that(1..=255, NAME, is_name))(reader, node);
        reader.object(node, |fields| {
            let definition = Self {
                id: fields.required("id", line_that(1..=250, NAME, is_name)),
                node_definition_id: fields.required("node_definition_id", line_that(1..=250, NAME, is_name)),
                label: fields.required("label", line(1..=64)),
                disk_image: fields.optional("disk_image", file),
                disk_image_2: fields.optional("disk_image_2", file),
                disk_image_3: fields.optional("disk_image_3", file),
                disk_image_4: fields.optional("disk_image_4", file),
                docker_tag: fields.optional("docker_tag", or_null(line(0..=usize::MAX))),
                sha256: fields.optional("sha256", or_null(line_that(64..=64, "64 hexadecimal digits", is_sha256))),
                schema_version: fields.optional("schema_version", line(1..=32)),
                description: fields.optional("description", text(0..=4096)),
                read_only: fields.optional("read_only", boolean),
                efi_boot: fields.optional("efi_boot", boolean),
                configuration: fields.optional("configuration", or_null(any_text)),
                pyats: fields.optional("pyats", or_null(Credentials::read)),
                ram: fields.optional("ram", or_null(whole(1..=1_048_576))),
                cpus: fields.optional("cpus", or_null(whole(1..=128))),
                cpu_limit: fields.optional("cpu_limit", or_null(whole(20..=100))),
                data_volume: fields.optional("data_volume", or_null(whole(0..=4096))),
                boot_disk_size: fields.optional("boot_disk_size", or_null(whole(0..=4096))),
            };
            let has_tag = definition.docker_tag.as_ref().is_some_and(|tag| !tag.value.is_empty());
            // A name that is there but wrong has been reported already.
            let names_a_file = fields.get("disk_image").is_some_and(|node| !matches!(node.value, Value::Null));
            if !has_tag && !names_a_file {
                let message = "the key `disk_image` is missing; it or `docker_tag` must name the image";
                fields.report(&rules::SOURCE, "disk_image", message, None);
            }
            definition
        })
    }

    /// The names of the files beside the definition, by key.
    pub fn disk_images(&self) -> [(&'static str, Option<&At<String>>); 4] {
        [
            ("disk_image", self.disk_image.as_ref()),
            ("disk_image_2", self.disk_image_2.as_ref()),
            ("disk_image_3", self.disk_image_3.as_ref()),
            ("disk_image_4", self.disk_image_4.as_ref()),
        ]
    }
}
