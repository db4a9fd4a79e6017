//! Removes what a lab has on the engine. Everything of a lab has its label, and nothing else has; images that it
//! loaded have its name in their tag.

use std::time::{Duration, Instant};

use anyhow::Result;
use catalog::labels;

use crate::engine::errors::is_refusal;
use crate::engine::handle::Engine;

/// The repository of images that were loaded from archives for a lab.
const LOADED: &str = "cml-nodes/loaded";

/// How long the engine may refuse to remove what it is still working on.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How many times in a row nothing must be found before nothing more is expected.
const EMPTY_ROUNDS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(150);

/// The tag of an image that a lab loads; `which` tells the images of one lab apart.
pub(super) fn loaded_tag(lab: &str, which: &str) -> String {
    format!("{LOADED}:{lab}-{which}")
}

/// Removes everything of one lab. Returns how many containers, volumes and images that were.
pub(super) async fn remove_lab(engine: &Engine, lab: &str) -> Result<usize> {
    let label = format!("{}={lab}", labels::LAB);
    let (containers, volumes) = (engine.containers(&label).await?, engine.volumes(&label).await?);
    let (images, prefix) = (engine.images_named(LOADED).await?, loaded_tag(lab, ""));
    let tags = images.into_iter().flat_map(|image| image.tags);
    let tags: Vec<String> = tags.filter(|tag| tag.starts_with(&prefix)).collect();
    for container in &containers {
        engine.remove_container(&container.id).await?;
    }
    for volume in &volumes {
        engine.remove_volume(volume).await?;
    }
    for tag in &tags {
        engine.remove_image(tag).await?;
    }
    Ok(containers.len() + volumes.len() + tags.len())
}

/// Removes everything of a lab whose command was interrupted. The engine may still be working on what that command
/// asked for: it refuses to remove what it is just starting or removing, and what it is just creating appears late.
pub(super) async fn remove_interrupted_lab(engine: &Engine, lab: &str) -> Result<()> {
    let since = Instant::now();
    let mut empty_rounds = 0;
    while empty_rounds < EMPTY_ROUNDS {
        match remove_lab(engine, lab).await {
            Ok(0) => empty_rounds += 1,
            Ok(_) => empty_rounds = 0,
            Err(error) if is_refusal(&error) && since.elapsed() < TIMEOUT => empty_rounds = 0,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
