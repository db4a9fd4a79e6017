//! `cargo xtask save`

use anyhow::Result;
use serde::Serialize;

use crate::commands::args::NodeArgs;
use crate::commands::flow::Saved;
use crate::commands::session::Session;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Artefacts<'a> {
    id: &'a str,
    image: &'a str,
    image_id: &'a str,
    archive: String,
    size: u64,
    sha256: &'a str,
    node_definition: String,
    image_definition: String,
    sbom: String,
    written: bool,
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let Saved { built, bundle, written, .. } = Saved::up_to_date(session, &args.node).await?;
    let artefacts = Artefacts {
        id: &bundle.id,
        image: &built.plan.names.image,
        image_id: bundle.image_id.hex(),
        archive: bundle.archive.path.display().to_string(),
        size: bundle.archive.size,
        sha256: bundle.archive.digest.hex(),
        node_definition: session.dist.node_definition(&bundle.node_id).display().to_string(),
        image_definition: session.dist.image_definition(&bundle.id).display().to_string(),
        sbom: session.dist.sbom(&bundle.id).display().to_string(),
        written,
    };
    if args.json {
        return session.ui.json(&serde_json::to_string_pretty(&artefacts)?);
    }
    let size = format!("{} ({} bytes)", text::size(artefacts.size), artefacts.size);
    for (what, value) in [
        ("archive", artefacts.archive.as_str()),
        ("size", &size),
        ("sha256", artefacts.sha256),
        ("image ID", artefacts.image_id),
        ("node definition", &artefacts.node_definition),
        ("image definition", &artefacts.image_definition),
        ("list of contents", &artefacts.sbom),
    ] {
        session.ui.result(format_args!("{what:<17} {value}"))?;
    }
    Ok(())
}
