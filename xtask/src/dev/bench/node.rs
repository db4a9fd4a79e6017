//! Running nodes: how fast they boot, alone and many at once, and their memory.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;

use crate::commands::args::NodeArgs;
use crate::commands::flow::Saved;
use crate::commands::running_nodes::helper_image;
use crate::commands::session::Session;
use crate::commands::verify;
use crate::dev::bench::figures::{Figure, Times, figure};
use crate::lab::{self, HostAccess, Lab, NodeOptions};
use crate::setup::Consent;
use definitions::container::Container;

/// How long to wait after boot before the memory is measured.
const REST: Duration = Duration::from_secs(3);

/// As many as a small lab has.
const MANY: usize = 10;

/// Boots the node alone, then many of it at once.
pub async fn boots(session: &Session<'_>, node: &NodeArgs, rounds: u32) -> Result<Vec<Figure>> {
    let saved = Saved::up_to_date(session, node).await?;
    let (engine, bundle) = (&saved.built.engine, &saved.bundle);
    let id = &bundle.id;
    let container = Container::read(&bundle.node_definition.text, id)?;
    let helper = helper_image(session, Consent::Given).await?;
    let lab = Lab::open(engine, session.ui, &session.cache, &helper, HostAccess::Refused).await?;
    let image = lab.load(&bundle.archive.path).await?.image;
    let boot = || lab.run(container.clone(), &image, NodeOptions::default(), container.default_interfaces);
    let (mut alone, mut at_once, mut memory) = (Times::default(), Times::default(), None);
    for _ in 0..rounds {
        let (node, booted) = boot().await?;
        alone.0.push(booted.time);
        if memory.is_none() {
            tokio::time::sleep(REST).await;
            memory = lab.processes(&node).await?.as_deref().and_then(lab::memory);
        }
        engine.remove_container(&node.id).await?;
    }
    session.ui.headline(format_args!("{MANY} nodes at once"));
    at_once.measure(try_join_all((0..MANY).map(|_| boot()))).await?;
    lab.close().await?;
    let memory = memory.map_or_else(|| "?".to_owned(), text::size);
    Ok(vec![
        figure(format!("{id}: create to READY"), alone, "at most 3 s on 2 cores"),
        figure(format!("{id}: memory at rest"), memory, "at most 67.1 MB (64 MiB)"),
        figure(format!("{MANY} of {id} at once, all READY"), at_once, "at most 30 s"),
    ])
}

/// `verify` of a node that is built and saved.
pub async fn verify(session: &Session<'_>, node: &NodeArgs) -> Result<Figure> {
    Saved::up_to_date(session, node).await?;
    let mut times = Times::default();
    let report = times.measure(verify::one(session, node)).await?;
    anyhow::ensure!(report.ok, "{} fails `cargo xtask verify`, which shows why", report.id);
    Ok(figure(format!("verify {}, {} checks", report.id, report.rows.len()), times, "at most 90 s"))
}
