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
/// How often it is asked at least: Docker itself waits for 10 s and more for a container's processes to end.
const LEAST_TRIES: u32 = 3;
/// How many times in a row nothing must be found before nothing more is expected.
const EMPTY_ROUNDS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(150);

/// The tag of an image that a lab loads; `which` tells the images of one lab apart.
pub(super) fn loaded_tag(lab: &str, which: &str) -> String {
    format!("{LOADED}:{lab}-{which}")
}

/// Removes everything of one lab, as far as the engine does it: what it refuses does not keep the rest. Returns how
/// many containers, volumes and images that were; the error names what is left.
pub(super) async fn remove_lab(engine: &Engine, lab: &str) -> Result<usize> {
    let label = format!("{}={lab}", labels::LAB);
    let (containers, volumes) = (engine.containers(&label).await?, engine.volumes(&label).await?);
    let (images, prefix) = (engine.images_named(LOADED).await?, loaded_tag(lab, ""));
    let tags = images.into_iter().flat_map(|image| image.tags);
    let tags: Vec<String> = tags.filter(|tag| tag.starts_with(&prefix)).collect();
    let (mut left, mut first) = (Vec::new(), None);
    let mut note = |what: String, removed: Result<()>| {
        if let Err(error) = removed {
            left.push(what);
            first.get_or_insert(error);
        }
    };
    for container in &containers {
        // With SIGKILL for all its processes, if it runs.
        note(format!("the container {}", container.name), engine.remove_container(&container.id).await);
    }
    for volume in &volumes {
        note(format!("the volume {volume}"), engine.remove_volume(volume).await);
    }
    for tag in &tags {
        note(format!("the image {tag}"), engine.remove_image(tag).await);
    }
    match first {
        None => Ok(containers.len() + volumes.len() + tags.len()),
        Some(error) => Err(error.context(format!(
            "left on the engine: {} (`cargo xtask stop --all` tries again to remove what has been left behind)",
            left.join(", ")
        ))),
    }
}

/// Removes everything of a lab whose engine may refuse for a while: it does not remove what it is just starting or
/// removing, nor a container whose many processes take long to end. What an interrupted command has just asked for
/// appears late.
pub(super) async fn remove_busy_lab(engine: &Engine, lab: &str) -> Result<()> {
    let since = Instant::now();
    let (mut empty_rounds, mut refusals) = (0, 0);
    while empty_rounds < EMPTY_ROUNDS {
        match remove_lab(engine, lab).await {
            Ok(0) => empty_rounds += 1,
            Ok(_) => empty_rounds = 0,
            Err(error) if is_refusal(&error) && (since.elapsed() < TIMEOUT || refusals < LEAST_TRIES) => {
                (empty_rounds, refusals) = (0, refusals + 1);
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
