//! Proof that a node works, before it is on a server: it is run as CML would run it, and what its
//! manifest says of it is checked.
//!
//! Takes rendered definitions and saved archives, never the image in the engine: what is proved is
//! what is shipped.

mod crash;
mod identity;
mod judge;
mod report;
mod scene;
mod shipped;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use crate::lab::{Lab, Loaded};
use catalog::scene::Scene;
use definitions::container::Container;

pub use report::{Figures, Outcome, Report, Row};

/// A node as it is shipped.
#[derive(Clone)]
pub struct Shipped {
    pub container: Container,
    pub archive: PathBuf,
}

/// What is to be proved.
pub struct Subject {
    pub node: Shipped,
    pub acts: Vec<Act>,
    /// What patterns in scenes can use.
    pub context: tera::Context,
    /// Seconds that the node may take to stop.
    pub stop_seconds: Option<f64>,
}

/// A scene and who plays in it.
pub struct Act {
    pub scene: Scene,
    /// By their names in the scene.
    pub cast: BTreeMap<String, Shipped>,
}

/// Proves `subject` in `lab`. What fails is in the report.
///
/// # Errors
/// If the engine does not do what it should.
pub async fn prove(lab: &Lab<'_>, subject: &Subject) -> Result<Report> {
    let stage = Stage { lab, subject, loaded: RefCell::new(HashMap::new()) };
    let mut report = Report::new(&subject.node.container.id);
    let mut own = Report::new(&report.id);
    if let Some(running) = shipped::boot(&stage, &mut report).await? {
        // While the node is at rest, others play.
        let (looked_at, played) = tokio::join!(shipped::look_at(&stage, &mut own, running), play_all(&stage));
        looked_at?;
        report.adopt(own);
        for rows in played {
            report.rows.extend(rows);
        }
    }
    Ok(report)
}

/// Plays the scenes, one more at a time than this machine has processors, because they wait a lot;
/// yields their rows in the order of the manifest.
async fn play_all(stage: &Stage<'_>) -> Vec<Vec<Row>> {
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get) + 1;
    let playing = stream::iter(stage.subject.acts.iter().enumerate()).map(async |(place, act)| {
        let since = Instant::now();
        let spinner = stage.lab.ui.spinner(format!("scene: {}", act.scene.name));
        let rows = scene::play(stage, act).await;
        spinner.finish_and_clear();
        let failed = rows.iter().filter(|row| row.outcome == Outcome::Failed).count();
        let verdict = if failed == 0 { String::new() } else { format!(", {failed} failed") };
        stage.lab.ui.note(format_args!(
            "played {}: {} checks{verdict}, {}",
            act.scene.name,
            rows.len(),
            text::duration(since.elapsed())
        ));
        (place, rows)
    });
    let mut played: Vec<(usize, Vec<Row>)> = playing.buffer_unordered(at_once).collect().await;
    played.sort_by_key(|(place, _)| *place);
    played.into_iter().map(|(_, rows)| rows).collect()
}

/// What all scenes of a proof share.
struct Stage<'a> {
    lab: &'a Lab<'a>,
    subject: &'a Subject,
    loaded: RefCell<HashMap<PathBuf, Loaded>>,
}

impl Stage<'_> {
    /// Loads the archives of all who play, at the same time. One that can't be loaded is told of by
    /// whoever needs its image.
    async fn load_ahead(&self) {
        let casts = self.subject.acts.iter().flat_map(|act| act.cast.values());
        let archives: BTreeSet<&Path> =
            casts.chain([&self.subject.node]).map(|shipped| shipped.archive.as_path()).collect();
        let _: Vec<Result<Loaded>> = join_all(archives.into_iter().map(|archive| self.image(archive))).await;
    }

    /// The image of an archive, loaded once.
    async fn image(&self, archive: &Path) -> Result<Loaded> {
        let known = self.loaded.borrow().get(archive).cloned();
        if let Some(loaded) = known {
            return Ok(loaded);
        }
        let loaded = self.lab.load(archive).await?;
        self.loaded.borrow_mut().insert(archive.to_owned(), loaded.clone());
        Ok(loaded)
    }
}
