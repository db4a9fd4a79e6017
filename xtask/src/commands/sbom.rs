//! `cargo xtask sbom`

use anyhow::Result;

use crate::commands::flow::Saved;
use crate::commands::session::Session;

pub use crate::commands::args::NodeArgs as Args;

/// Prints the list that `save` has written: of the archive in dist/, saved now if necessary.
pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let saved = Saved::up_to_date(session, &args).await?;
    let list = session.dist.read(&session.dist.sbom(&saved.bundle.id))?;
    session.ui.result(list.trim_end())
}
