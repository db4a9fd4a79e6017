//! Volumes, and files in containers.

use std::collections::HashMap;

use anyhow::{Context, Result};
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions, UploadToContainerOptionsBuilder};

use crate::engine::containers::errors::ignore_missing;
use crate::engine::handle::Engine;

impl Engine {
    /// The names of volumes with this label.
    pub async fn volumes(&self, label: &str) -> Result<Vec<String>> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
        let found = self.docker().list_volumes(Some(options)).await.context("listing the engine's volumes")?;
        Ok(found.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
    }

    /// Creates an empty volume. Returns its folder on the engine's host.
    pub async fn create_volume(&self, name: &str, labels: &HashMap<String, String>) -> Result<String> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels.clone()),
            ..VolumeCreateRequest::default()
        };
        Ok(self.docker().create_volume(request).await.context("creating a volume on the engine")?.mountpoint)
    }

    /// Removes a volume that no container uses.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        let removed = self.docker().remove_volume(name, None::<RemoveVolumeOptions>).await;
        ignore_missing(removed).with_context(|| format!("removing the volume {name}"))
    }

    /// Unpacks a tar archive in a folder of a container, which need not run.
    pub async fn upload(&self, container: &str, folder: &str, tar: Vec<u8>) -> Result<()> {
        let options = UploadToContainerOptionsBuilder::default().path(folder).build();
        let sent = self.docker().upload_to_container(container, Some(options), bollard::body_full(tar.into())).await;
        sent.with_context(|| format!("writing files to {folder}"))
    }
}
