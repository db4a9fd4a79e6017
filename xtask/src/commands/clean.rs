//! `cargo xtask clean`
//!
//! Removes only what has this project's label and tag, or is in `dist/` under an id of its records.

use anyhow::Result;

use crate::commands::running_nodes;
use crate::commands::session::Session;
use crate::engine::build::checks;
use crate::engine::embedded::storage;
use crate::engine::handle::Engine;
use crate::engine::images::store::Image;
use crate::lab;
use catalog::labels;

#[derive(clap::Args)]
pub struct Args {
    /// Only this node's images and files [default: all nodes', and bootstrapped bases]
    node: Option<String>,
    /// Also the embedded engine's compiler and package caches
    #[arg(long, conflicts_with = "node")]
    cache: bool,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let names: Vec<String> = match &args.node {
        Some(name) => vec![session.repository.node(Some(name))?.node.to_string()],
        None => {
            let nodes = session.repository.all()?.into_iter().map(|node| node.node.to_string());
            nodes.chain([running_nodes::HELPER.to_owned()]).collect()
        }
    };
    // Before connecting to it, which would create images.
    let has_embedded = storage::has_images(&session.cache);
    let files = remove_files(session, &names).await?;
    let (removed, failed) = match session.engine_if_any().await {
        // Its storage is removed as a whole.
        Ok(engine) if engine.embedded.is_some() && args.node.is_none() => (0, 0),
        Ok(engine) => {
            lab::sweep(&engine, session.ui, &session.cache).await?;
            remove_images(session, &engine, &names, args.node.is_none()).await?
        }
        Err(unreachable) => {
            session.ui.warn(format_args!("no image was removed: {:#}", unreachable.explain()));
            (0, 0)
        }
    };
    let embedded = match args.node {
        None => clean_embedded(session, has_embedded, args.cache).await?,
        Some(_) => 0,
    };
    if files == 0 && embedded == 0 && removed == 0 && failed == 0 {
        session.ui.note("nothing to clean");
    }
    anyhow::ensure!(failed == 0, "{} could not be removed", text::plural(failed, "image"));
    Ok(())
}

/// Removes the embedded engine's storage, whichever engine is in use: it is this project's alone.
async fn clean_embedded(session: &Session<'_>, images: bool, caches: bool) -> Result<usize> {
    if images {
        // Another command would lose the containers with which it works, and an engine of ours would be waited for.
        session.disconnect();
        storage::wait_until_unused(session.ui, &session.cache).await?;
        match Engine::embedded(session.ui, &session.cache, "for cleaning up".to_owned()).await {
            Ok(engine) => {
                for label in [labels::LAB, labels::CHECK] {
                    for container in engine.containers(label).await? {
                        engine.remove_container(&container.id).await?;
                    }
                }
            }
            Err(unreachable) => session.ui.warn(format_args!("{:#}", unreachable.explain())),
        }
    }
    session.disconnect();
    storage::clean(session.ui, &session.cache, images, caches).await
}

async fn remove_files(session: &Session<'_>, nodes: &[String]) -> Result<usize> {
    if !session.dist.root.is_dir() {
        return Ok(0);
    }
    let lock = session.dist.lock(session.ui).await?;
    let mut count = 0;
    for id in session.dist.ids() {
        if session.dist.record(&id).is_some_and(|record| nodes.contains(&record.node)) {
            for path in session.dist.remove(&id)? {
                session.ui.note(format_args!("removed {}", path.display()));
                count += 1;
            }
        }
    }
    session.dist.write_sums(None)?;
    drop(lock);
    session.dist.remove_if_empty();
    Ok(count)
}

/// Returns how many images were removed, and how many could not be.
async fn remove_images(
    session: &Session<'_>,
    engine: &Engine,
    nodes: &[String],
    bases: bool,
) -> Result<(usize, usize)> {
    let mut images = Vec::new();
    for node in nodes {
        checks::remove_left_behind(engine, node).await?;
        images.extend(engine.images_with_label(labels::NODE, node).await?);
    }
    if bases {
        let found = engine.images_with_label(labels::BASE, "").await?;
        // The images of nodes inherit the label of their base.
        images.extend(found.into_iter().filter(|image| !image.labels.contains_key(labels::NODE)));
    }
    // An image with another tag only is one that a user made from this project's.
    images.retain(|image| image.tags.is_empty() || !image.own_tags().is_empty());
    let (mut removed, mut failed) = (0, 0);
    for image in images {
        match remove(engine, &image).await {
            Ok(()) => {
                session.ui.note(format_args!("removed image {} ({})", name(&image), text::size(image.size)));
                removed += 1;
            }
            Err(error) => {
                session.ui.warn(format_args!("{error:#}"));
                failed += 1;
            }
        }
    }
    Ok((removed, failed))
}

/// An image is removed with its last tag, and stays while it has one that a user gave it.
async fn remove(engine: &Engine, image: &Image) -> Result<()> {
    if image.tags.is_empty() {
        return engine.remove_image(&image.engine_id).await;
    }
    for tag in image.own_tags() {
        engine.remove_image(tag).await?;
    }
    Ok(())
}

fn name(image: &Image) -> String {
    match image.own_tags().as_slice() {
        [] => image.engine_id.clone(),
        tags => tags.join(", "),
    }
}
