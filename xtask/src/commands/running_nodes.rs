//! Finding running nodes by name, the image that links them, and the engine's own command line.

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

/// The node that this program uses itself.
pub(super) const HELPER: &str = "link-helper";

/// The image of the container that links the nodes of a lab, built if necessary.
pub(crate) async fn helper_image(session: &Session<'_>, consent: Consent) -> Result<String> {
    session.ensure_engine(consent).await?.must_run_containers()?;
    own_image(session, HELPER, consent).await
}

/// The image of a node that comes with this program, built if necessary.
pub(crate) async fn own_image(session: &Session<'_>, node: &str, consent: Consent) -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("helper");
    let quiet = session.ui.quiet();
    let own = session.elsewhere(&quiet, &root, &root.join("dist"))?;
    let recipe = RecipeArgs { yes: consent == Consent::Given, ..RecipeArgs::default() };
    let args = NodeArgs { recipe, ..NodeArgs::of(node) };
    Ok(Built::up_to_date(&own, &args).await?.plan.names.image)
}

/// The running nodes that `run` started.
pub(super) async fn running(engine: &Engine) -> Result<Vec<ListedContainer>> {
    let mut found = engine.containers(labels::RUN).await?;
    found.retain(|one| one.state == "running");
    Ok(found)
}

/// The running node with that name: the node's own, or the one that `run --name` gave it.
pub(super) async fn find(engine: &Engine, name: Option<&str>) -> Result<ListedContainer> {
    pick(running(engine).await?, name)
}

/// The same, but it may have exited by itself.
pub(super) async fn find_even_exited(engine: &Engine, name: Option<&str>) -> Result<ListedContainer> {
    pick(engine.containers(labels::RUN).await?, name)
}

fn pick(all: Vec<ListedContainer>, name: Option<&str>) -> Result<ListedContainer> {
    let has_name = |one: &&ListedContainer| match name {
        Some(name) => one.name == name || one.labels.get(labels::RUN).is_some_and(|node| node == name),
        None => true,
    };
    let fitting: Vec<&ListedContainer> = all.iter().filter(has_name).collect();
    let names = || all.iter().map(|one| one.name.as_str());
    match (fitting.as_slice(), name) {
        ([one], _) => Ok((*one).clone()),
        ([], _) if all.is_empty() => bail!("no node is running here; start one with `cargo xtask run`"),
        ([], Some(name)) => bail!("no node `{name}` is running here: {}", text::near(name, names())),
        (several, _) => {
            let names: Vec<&str> = several.iter().map(|one| one.name.as_str()).collect();
            bail!("several nodes are running here; name one of them: {}", names.join(", "))
        }
    }
}

/// Hands the terminal to the engine's own command line, and fails if that fails.
pub(super) fn hand_over(session: &Session<'_>, engine: &Engine, args: &[&str]) -> Result<()> {
    let code = exit_code(session, engine, args)?;
    let (command, program) = (args.first().unwrap_or(&""), engine.command_line().program);
    anyhow::ensure!(code == 0, "`{program} {command}` exited with code {code}");
    Ok(())
}

/// The same, but returns the exit code.
pub(super) fn exit_code(session: &Session<'_>, engine: &Engine, args: &[&str]) -> Result<i32> {
    let (sh, command_line) = (Shell::new()?, engine.command_line());
    let code = process::hand_over(session.ui, command_line.command(&sh, args));
    code.with_context(|| {
        format!("could not run the {} command line; install it with `cargo xtask setup`", command_line.program)
    })
}
