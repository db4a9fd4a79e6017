//! Proves a node: as it is shipped, and in its scenes.

use std::num::NonZero;
use std::time::Instant;

use anyhow::Result;
use futures_util::{StreamExt, stream};

use crate::lab::Lab;
use crate::proof::report::{Figures, Outcome, Row, Rows, VerifyReport};
use crate::proof::subject::{SceneSetup, Subject, Testbed};
use crate::proof::{scene, shipped};

/// Proves `subject` in `lab`. Failed checks are in the report, whose verdict is still open. An error is the engine's;
/// the report has what was found before it.
pub async fn prove(lab: &Lab<'_>, subject: &Subject) -> (VerifyReport, Result<()>) {
    let (mut rows, mut figures) = (Rows::new("as shipped"), Figures::default());
    let done = all(lab, subject, &mut rows, &mut figures).await;
    (VerifyReport { id: subject.id.clone(), ok: false, error: None, figures, rows: rows.rows }, done)
}

async fn all(lab: &Lab<'_>, subject: &Subject, rows: &mut Rows, figures: &mut Figures) -> Result<()> {
    // The engine loads the archives while this process reads one.
    let (agree, testbed) = tokio::join!(shipped::compare(subject, rows), Testbed::load(lab, subject));
    let Some(running) = shipped::boot(&testbed, rows, figures, agree?).await? else { return Ok(()) };
    // While the node is at rest, the scenes run.
    let examine = shipped::examine(&testbed, rows, figures, running);
    let (examined, rows_of_scenes) = tokio::join!(examine, run_scenes(&testbed));
    rows.rows.extend(rows_of_scenes);
    examined
}

/// Runs the scenes, one more at a time than this machine has processors, because they wait a lot;
/// yields their rows in the order of the manifest.
async fn run_scenes(testbed: &Testbed<'_>) -> Vec<Row> {
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get) + 1;
    let scenes = stream::iter(testbed.subject.scenes.iter().enumerate());
    let running = scenes.map(async |(place, setup)| (place, run_scene(testbed, setup).await));
    let mut done: Vec<(usize, Vec<Row>)> = running.buffer_unordered(at_once).collect().await;
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().flat_map(|(_, rows)| rows).collect()
}

async fn run_scene(testbed: &Testbed<'_>, setup: &SceneSetup) -> Vec<Row> {
    let (ui, name, since) = (testbed.lab.ui, &setup.scene.name, Instant::now());
    let spinner = ui.spinner(format!("running the scene {name}"));
    let rows =
        scene::run(testbed, setup, |step| spinner.set_message(text::printable_line(&format!("scene {name}: {step}"))))
            .await;
    spinner.finish_and_clear();
    let failed = match rows.iter().filter(|row| row.outcome == Outcome::Failed).count() {
        0 => String::new(),
        count => format!(", {count} failed"),
    };
    ui.note(format_args!(
        "scene {name}: {}{failed}, {}",
        text::plural(rows.len(), "check"),
        text::duration(since.elapsed())
    ));
    rows
}
