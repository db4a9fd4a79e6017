//! `cargo xtask shell`, `console` and `logs`: the two consoles of a running node, as in CML.

use std::io::IsTerminal;

use anyhow::{Context, Result};

use crate::commands::Ended;
use crate::commands::running_nodes;
use crate::commands::session::Session;
use catalog::labels;

#[derive(clap::Args)]
pub struct Args {
    /// The node, or the name that `run --name` gave it [default: the only running node]
    node: Option<String>,
}

#[derive(clap::Args)]
pub struct LogsArgs {
    #[command(flatten)]
    which: Args,
    /// Continue until the node exits, or Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

/// Opens the second console: the definition's `shell`, in the node. Ends with the shell's own exit code.
pub async fn shell(session: &Session<'_>, args: Args) -> Result<()> {
    let engine = session.engine().await?;
    let node = running_nodes::find(&engine, args.node.as_deref()).await?;
    let shell = node.labels.get(labels::SHELL).filter(|shell| !shell.is_empty());
    let shell = shell.with_context(|| format!("the definition of {} has no `shell`", node.name))?;
    let interactive = if std::io::stdin().is_terminal() { "-it" } else { "-i" };
    let args: Vec<&str> = ["exec", interactive, &node.id].into_iter().chain(shell.split_whitespace()).collect();
    match running_nodes::exit_code(session, &engine, &args)? {
        0 => Ok(()),
        code => Err(Ended(u8::try_from(code).unwrap_or(1)).into()),
    }
}

/// Opens the first console: the container's terminal.
pub async fn console(session: &Session<'_>, args: Args) -> Result<()> {
    let engine = session.engine().await?;
    let node = running_nodes::find(&engine, args.node.as_deref()).await?;
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "a console needs a terminal; `cargo xtask logs` shows what was printed there"
    );
    session.ui.note("leave with Ctrl-P Ctrl-Q; press Enter for a prompt");
    let code = running_nodes::exit_code(session, &engine, &["attach", "--detach-keys", "ctrl-p,ctrl-q", &node.id])?;
    // Engines exit with an error when the console is left, and print a message.
    let was_left = code != 0 && matches!(engine.process_of(&node.id).await, Ok(Ok(_)));
    anyhow::ensure!(code == 0 || was_left, "the console of {} exited with code {code}", node.name);
    Ok(())
}

/// Shows what the node has printed on its first console.
pub async fn logs(session: &Session<'_>, args: LogsArgs) -> Result<()> {
    let engine = session.engine().await?;
    let node = running_nodes::find(&engine, args.which.node.as_deref()).await?;
    let follow = args.follow.then_some("--follow");
    let args: Vec<&str> = std::iter::once("logs").chain(follow).chain([node.id.as_str()]).collect();
    running_nodes::hand_over(session, &engine, &args)
}
