//! `cargo xtask list`

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::commands::outcome;
use crate::commands::session::Session;
use crate::commands::variant_definitions::{Rendering, forms};
use crate::engine::{Engine, Image};
use catalog::Names;
use catalog::planner::Network;
use catalog::{Manifest, Overrides, Planner, Variant};

#[derive(clap::Args)]
pub struct Args {
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

/// One variant of one node.
#[derive(Serialize)]
struct Row {
    node: String,
    variant: String,
    version: String,
    image: String,
    id: String,
    summary: String,
    untested: bool,
    /// Whether the engine has the image: `yes`, `stale`, `no` or `unknown`.
    built: Presence,
    /// The same for the archive in `dist/`.
    saved: Presence,
}

/// An element of the list.
#[derive(Serialize)]
#[serde(untagged)]
enum Entry {
    Row(Row),
    /// A node that cannot be worked on, and why.
    Broken {
        node: String,
        error: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Presence {
    Yes,
    /// It exists, but what it was built from has changed.
    Stale,
    No,
    /// No engine answers.
    Unknown,
}

impl Presence {
    fn word(self) -> &'static str {
        match self {
            Self::Yes => "up to date",
            Self::Stale => "stale",
            Self::No => "-",
            Self::Unknown => "?",
        }
    }
}

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    session.warn_of_folders_without_manifest();
    let engine = session.engine_if_any().await;
    let planner = session.planner()?;
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for node in session.repository.nodes() {
        for variant in &node.variants {
            match row(session, &planner, engine.as_ref().ok(), node, variant).await {
                Ok(row) => rows.push(Entry::Row(row)),
                Err(error) => failed.push((node.node.to_string(), error)),
            }
        }
    }
    failed.extend(session.repository.broken().map(|(node, why)| (node.to_owned(), anyhow!("{why}"))));
    let broken =
        |(node, error): &(String, anyhow::Error)| Entry::Broken { node: node.clone(), error: format!("{error:#}") };
    if args.json {
        rows.extend(failed.iter().map(broken));
        session.ui.json(&serde_json::to_string_pretty(&rows)?)?;
        return outcome::all(session.ui, failed.into_iter().map(|(_, error)| error));
    }
    print(session, &rows)?;
    if let Err(unreachable) = engine {
        session.ui.warn(format_args!("what is built is unknown: {:#}", unreachable.explain()));
    }
    outcome::all(session.ui, failed.into_iter().map(|(_, error)| error))
}

async fn row(
    session: &Session<'_>,
    planner: &Planner<'_>,
    engine: Option<&Engine>,
    node: &Manifest,
    variant: &Variant,
) -> Result<Row> {
    let names = Names::of(node, variant, &variant.version)?;
    let plan = planner.plan(node, variant, &Overrides::default(), Network::Unused)?;
    let is_own = |image: &Image| variant.prebuilt.is_some() || image.is_built_as(&names.image, node.node.as_str());
    let image = match engine {
        Some(engine) => engine.image(&names.image).await?.filter(is_own),
        None => None,
    };
    let built = match (&image, engine) {
        (_, None) => Presence::Unknown,
        (None, _) => Presence::No,
        (Some(image), _) if plan.is_some_and(|plan| image.is_of(&plan)) => Presence::Yes,
        (Some(_), _) => Presence::Stale,
    };
    let mut saved = saved(session, &names.id, image.as_ref(), built);
    if saved == Presence::Yes && !has_current_definitions(session, node, variant).unwrap_or(false) {
        saved = Presence::Stale;
    }
    Ok(Row {
        node: node.node.to_string(),
        variant: variant.name.to_string(),
        version: variant.version.clone(),
        summary: variant.summary.clone(),
        untested: variant.untested.is_some(),
        built,
        saved,
        image: names.image,
        id: names.id,
    })
}

fn saved(session: &Session<'_>, id: &str, image: Option<&Image>, built: Presence) -> Presence {
    let whole = session.dist.whole_archive(id).is_some();
    let record = session.dist.record(id);
    let of_this_image = image.zip(record).is_some_and(|(image, record)| image.engine_id == record.engine_id);
    match (whole, built) {
        (true, Presence::Yes) if of_this_image => Presence::Yes,
        (true, Presence::Unknown) => Presence::Unknown,
        (true, _) => Presence::Stale,
        (false, _) if session.dist.has_file(&session.dist.archive(id)) => Presence::Stale,
        (false, _) => Presence::No,
    }
}

/// Whether the definitions in dist/ are what would be rendered now.
fn has_current_definitions(session: &Session<'_>, node: &Manifest, variant: &Variant) -> Result<bool> {
    let (dist, names) = (&session.dist, Names::of(node, variant, &variant.version)?);
    let id = &names.id;
    let Some(record) = dist.record(id) else { return Ok(false) };
    // In whichever form they were saved.
    for shared in forms(node) {
        let rendering = Rendering::of(node, variant, &node.switches, shared)?;
        let definitions = rendering.render(&session.repository, &record.image_id)?;
        if dist.has(&dist.node_definition(rendering.node_id()), &definitions.node)
            && dist.has(&dist.image_definition(id), &definitions.image)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn print(session: &Session<'_>, rows: &[Entry]) -> Result<()> {
    let rows = rows.iter().filter_map(|entry| if let Entry::Row(row) = entry { Some(row) } else { None });
    let rows: Vec<&Row> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let head = ["NODE", "VARIANT", "VERSION", "IMAGE", "BUILT", "SAVED", "WHAT IT IS"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        let untested = if row.untested { " (untested)" } else { "" };
        let summary = format!("{}{untested}", row.summary);
        [&row.node, &row.variant, &row.version, &row.image, row.built.word(), row.saved.word(), &summary]
            .map(str::to_owned)
    });
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(cells).collect();
    text::table(&rows).iter().try_for_each(|line| session.ui.result(line))
}
