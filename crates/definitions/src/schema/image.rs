//! The image definition: one bootable image of a kind of device. [docs/cml.md 3]

use std::sync::Arc;

use super::reader::{Fields, Reader, object};
use super::rules;
use super::scalar::{At, NAME, any_text, boolean, is_name, is_sha256, line, line_that, or_null, text, whole};
use crate::yaml::Node;

object! {
    ImageDefinition {
        id: At<String> = required line_that(1..=250, NAME, is_name),
        node_definition_id: At<String> = required line_that(1..=250, NAME, is_name),
        label: At<String> = required line(1..=64),
        /// The image's file, beside the definition.
        disk_image: At<String> = optional or_null(line_that(1..=255, NAME, is_name)),
        disk_image_2: At<String> = optional or_null(line_that(1..=255, NAME, is_name)),
        disk_image_3: At<String> = optional or_null(line_that(1..=255, NAME, is_name)),
        disk_image_4: At<String> = optional or_null(line_that(1..=255, NAME, is_name)),
        docker_tag: At<String> = optional or_null(line(0..=usize::MAX)),
        sha256: At<String> = optional or_null(line_that(64..=64, "64 hexadecimal digits", is_sha256)),
        schema_version: At<String> = optional line(1..=32),
        description: At<String> = optional text(0..=4096),
        read_only: At<bool> = optional boolean,
        efi_boot: At<bool> = optional boolean,
        configuration: At<String> = optional or_null(any_text),
        pyats: Credentials = optional or_null(Credentials::read),
        /// Mebibytes.
        ram: At<i64> = optional or_null(whole(1..=1_048_576)),
        cpus: At<i64> = optional or_null(whole(1..=128)),
        /// Percent of the CPUs.
        cpu_limit: At<i64> = optional or_null(whole(20..=100)),
        /// Gibibytes.
        data_volume: At<i64> = optional or_null(whole(0..=4096)),
        /// Gibibytes.
        boot_disk_size: At<i64> = optional or_null(whole(0..=4096)),
    }
    check_source
}

object! {
    /// The credentials with which pyATS logs in.
    Credentials {
        username: At<String> = optional or_null(line(1..=64)),
        password: At<String> = optional or_null(line(1..=128)),
        enable_password: At<String> = optional or_null(line(1..=128)),
    }
}

impl ImageDefinition {
    fn check_source(&self, fields: &mut Fields<'_, '_>) {
        let has_tag = self.docker_tag.as_ref().is_some_and(|tag| !tag.value.is_empty());
        // A name that is wrong has been reported already.
        if !has_tag && !fields.has("disk_image") {
            let message = "the key `disk_image` is missing; it or `docker_tag` must name the image";
            fields.report(&rules::SOURCE, "disk_image", message);
        }
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
