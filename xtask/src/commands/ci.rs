//! `cargo xtask ci`: what a pull request must pass, here as there.

use std::time::Instant;

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use super::{Session, consent, verify};
use crate::host;

#[derive(clap::Args)]
pub struct Args {
    /// Install and start what this machine lacks, without asking
    #[arg(long, short)]
    yes: bool,
}

/// # Errors
/// At the first step that fails.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let (ui, since) = (session.ui, Instant::now());
    let sh = Shell::new()?;
    sh.change_dir(&session.repository.root);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let step = |name: &str, words: &[&str]| -> Result<()> {
        ui.headline(name);
        ui.run(cmd!(sh, "{cargo} {words...}")).with_context(|| format!("{name} failed"))
    };
    step("format", &["fmt", "--all", "--check"])?;
    step("clippy", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"])?;
    step("unit tests", &["test", "--workspace", "--lib", "--quiet"])?;
    // The end-to-end tests use the real engine.
    host::engine(ui, consent(args.yes), &session.finder).await?;
    host::test_tools(ui, consent(args.yes)).await?;
    step("end-to-end tests", &["test", "--workspace", "--test", "*"])?;
    ui.headline("every node is built, saved and proved");
    verify::run(session, verify::Args::all(args.yes)).await?;
    ui.headline(format_args!("all passed in {}", ui::duration(since.elapsed())));
    Ok(())
}
