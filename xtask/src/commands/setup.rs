//! `cargo xtask setup`

use anyhow::Result;

use crate::commands::args::consent;
use crate::engine::connect::find::Finder;
use crate::setup;
use ui::Ui;

#[derive(clap::Args)]
pub struct Args {
    /// Install and start what is missing, without asking
    #[arg(long, short)]
    yes: bool,
}

pub async fn run(ui: &Ui, finder: &Finder, args: Args) -> Result<()> {
    setup::ensure_all(ui, consent(args.yes), finder).await?;
    ui.note("nothing is missing");
    Ok(())
}
