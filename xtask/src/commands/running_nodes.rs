//! What the commands on running nodes share: the container that links them, and finding one by name.

use std::path::Path;

use anyhow::{Context, Result, bail};
use xshell::Shell;

use crate::commands::args::{NodeArgs, RecipeArgs};
use crate::commands::flow::Built;
use crate::commands::session::Session;
use crate::engine::Engine;
use crate::engine::containers::listing::ListedContainer;
use crate::setup::Consent;
use catalog::labels;

/// The node that is none of the user's.
pub(super) const HELPER: &str = "link-helper";

/// The image of the container by which a lab links its nodes, built if need be. Its recipe is like a
/// node's, and comes with this program.
///
/// # Errors
/// If it can't be built, or the engine runs no containers here, so that no node runs either.
pub(crate) async fn helper_image(session: &Session<'_>, consent: Consent) -> Result<String> {
    session.ensure_engine(consent).await?.must_run_containers()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("helper");
    let quiet = session.ui.quiet();
    let own = session.elsewhere(&quiet, &root, &root.join("dist"))?;
    let recipe = RecipeArgs { yes: consent == Consent::Given, ..RecipeArgs::default() };
    let args = NodeArgs { recipe, ..NodeArgs::of(HELPER) };
    Ok(Built::up_to_date(&own, &args).await?.plan.names.image)
}

/// Nodes that `run` started.
pub(super) async fn running(engine: &Engine) -> Result<Vec<ListedContainer>> {
    let mut found = engine.containers(labels::RUN).await?;
    found.retain(|one| one.state == "running");
    Ok(found)
}

/// The running node that a person means by `name`: the node's, or the one given to `run --name`.
pub(super) async fn find(engine: &Engine, name: Option<&str>) -> Result<ListedContainer> {
    pick(running(engine).await?, name)
}

/// The same, but it may have ended by itself, and only not been removed.
pub(super) async fn find_even_ended(engine: &Engine, name: Option<&str>) -> Result<ListedContainer> {
    pick(engine.containers(labels::RUN).await?, name)
}

fn pick(all: Vec<ListedContainer>, name: Option<&str>) -> Result<ListedContainer> {
    let is_meant = |one: &&ListedContainer| match name {
        Some(name) => one.name == name || one.labels.get(labels::RUN).is_some_and(|node| node == name),
        None => true,
    };
    let meant: Vec<&ListedContainer> = all.iter().filter(is_meant).collect();
    let names = || all.iter().map(|one| one.name.as_str());
    match (meant.as_slice(), name) {
        ([one], _) => Ok((*one).clone()),
        ([], _) if all.is_empty() => bail!("no node runs here; `cargo xtask run` starts one"),
        ([], Some(name)) => bail!("no node `{name}` runs here: {}", text::near(name, names())),
        _ => bail!("several nodes run here; which one? {}", names().collect::<Vec<_>>().join(", ")),
    }
}

/// Gives the terminal to the engine's own command line; fails as that fails.
pub(super) fn hand_over(session: &Session<'_>, engine: &Engine, words: &[&str]) -> Result<()> {
    let code = lend(session, engine, words)?;
    let (command, program) = (words.first().unwrap_or(&""), engine.command_line().program);
    anyhow::ensure!(code == 0, "`{program} {command}` ended with exit code {code}");
    Ok(())
}

/// The same; yields the exit code. Fails only if the command line can't be run.
pub(super) fn lend(session: &Session<'_>, engine: &Engine, words: &[&str]) -> Result<i32> {
    let (sh, command_line) = (Shell::new()?, engine.command_line());
    let lent = process::hand_over(session.ui, command_line.command(&sh, words));
    lent.with_context(|| {
        format!("the {} command line can't be run; `cargo xtask setup` brings it", command_line.program)
    })
}
