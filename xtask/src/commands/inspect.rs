//! `cargo xtask inspect`

use anyhow::Result;

use crate::commands::flow::Inspected;
use crate::commands::session::Session;

pub use crate::commands::args::NodeArgs as Args;

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let Inspected { built, definitions, image_id } = Inspected::up_to_date(session, &args).await?;
    let (ui, dist, id) = (session.ui, &session.dist, &built.plan.names.id);
    ui.note("image ID (the SHA-256 of the image's configuration, which is what CML compares):");
    ui.result(&image_id)?;
    ui.note(dist.node_definition(&definitions.node_id).display());
    ui.note(dist.image_definition(id).display());
    Ok(())
}
