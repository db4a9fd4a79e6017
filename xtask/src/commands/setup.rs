//! `cargo xtask setup`

use anyhow::Result;

use super::consent;
use crate::host;
use ui::Ui;

#[derive(clap::Args)]
pub struct Args {
    /// Install and start what is missing, without asking
    #[arg(long, short)]
    yes: bool,
}

/// # Errors
/// If something is missing and may not or can't be brought.
pub async fn run(ui: &Ui, args: Args) -> Result<()> {
    let engine = host::set_up(ui, consent(args.yes), &host::cache_folder()?).await?;
    ui.note(format_args!("nothing is missing; the engine is {}", engine.describe()));
    Ok(())
}
