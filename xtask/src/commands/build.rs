//! `cargo xtask build`

use anyhow::Result;

use crate::commands::flow::Built;
use crate::commands::session::Session;

pub use crate::commands::args::NodeArgs as Args;

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let built = Built::up_to_date(session, &args).await?;
    session.ui.result(&built.plan.names.image)
}
