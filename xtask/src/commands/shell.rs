//! `cargo xtask shell` and `console`: CML's two consoles of a running node.

use std::io::IsTerminal;

use anyhow::{Context, Result};

use crate::commands::running_nodes;
use crate::commands::session::Session;
use catalog::labels;

#[derive(clap::Args)]
pub struct Args {
    /// The node, or the name that it was given [default: the one that runs]
    node: Option<String>,
}

/// The second console: the definition's `shell`, in the node.
///
/// # Errors
/// If no such node runs, it has no shell, or that ends with an error.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let engine = session.engine().await?;
    let node = running_nodes::find(&engine, args.node.as_deref()).await?;
    let shell = node.labels.get(labels::SHELL).filter(|shell| !shell.is_empty());
    let shell = shell.with_context(|| format!("the definition of {} has no `shell`", node.name))?;
    let interactive = if std::io::stdin().is_terminal() { "-it" } else { "-i" };
    let words: Vec<&str> = ["exec", interactive, &node.id].into_iter().chain(shell.split_whitespace()).collect();
    running_nodes::hand_over(session, &engine, &words)
}

/// The first console: the container's terminal.
///
/// # Errors
/// If no such node runs, or this is no terminal.
pub async fn console(session: &Session<'_>, args: Args) -> Result<()> {
    let engine = session.engine().await?;
    let node = running_nodes::find(&engine, args.node.as_deref()).await?;
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "a console needs a terminal; `cargo xtask logs` shows what it said"
    );
    session.ui.note("leave with Ctrl-P Ctrl-Q; press Enter for a prompt");
    let code = running_nodes::lend(session, &engine, &["attach", "--detach-keys", "ctrl-p,ctrl-q", &node.id])?;
    // Engines call it an error that somebody has left, and say so themselves.
    let was_left = code != 0 && matches!(engine.process_of(&node.id).await, Ok(Ok(_)));
    anyhow::ensure!(code == 0 || was_left, "the console of {} ended with exit code {code}", node.name);
    Ok(())
}
