//! `upload` by both ways in, to the tests' stand-ins for a CML server.

mod by_api;
mod by_ssh;
mod one;

use anyhow::Result;

use crate::commands::args::NodeArgs;
use crate::commands::session::Session;
use crate::dev::bench::figures::Figure;

pub async fn both_ways(session: &Session<'_>, node: &NodeArgs, rounds: u32) -> Result<Vec<Figure>> {
    let mut figures = by_ssh::measure(session, node, rounds).await?;
    figures.extend(by_api::measure(session, node, rounds).await?);
    Ok(figures)
}
