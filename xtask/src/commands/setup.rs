//! `cargo xtask setup`

use anyhow::Result;

use super::consent;
use crate::engine::find::Finder;
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
pub async fn run(ui: &Ui, finder: &Finder, args: Args) -> Result<()> {
    host::set_up(ui, consent(args.yes), finder).await?;
    ui.note("nothing is missing");
    Ok(())
}
