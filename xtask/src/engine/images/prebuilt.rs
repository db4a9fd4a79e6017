//! Images that nodes take as they are: from the engine, from a registry, or from an archive.

use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;

use crate::engine::build::checks;
use crate::engine::handle::Engine;
use crate::engine::images::store::{CANDIDATE, Image};
use crate::engine::images::transports::refuse_places;
use crate::engine::images::{base, pipe};
use catalog::BuildPlan;
use catalog::prebuilt::{From, Prebuilt};
use digests::Digest;
use files::{Kind, Tree};
use ui::Ui;

/// Where a prebuilt image will come from.
pub struct Place {
    /// For people.
    pub description: String,
    kind: PlaceKind,
}

enum PlaceKind {
    /// The engine has it; under which name or ID.
    Engine(String),
    Registry(String),
    Archive(PathBuf),
}

/// Where the image can be had; nothing is fetched. The error says what to do.
pub async fn find(engine: &Engine, tree: &Tree, prebuilt: &Prebuilt) -> Result<Place> {
    let id = format!("sha256:{}", prebuilt.image_id);
    if engine.image(&id).await?.is_some() {
        let description = format!("image {} from the engine", prebuilt.image_id.short());
        return Ok(Place { description, kind: PlaceKind::Engine(id) });
    }
    match &prebuilt.from {
        From::Engine => bail!(
            "its image {id} is not in the engine, and the manifest names no other place: load it on this machine \
             (`docker save` where it is, `docker load` here)"
        ),
        From::Registry(reference) => {
            let name = reference.pinned();
            refuse_places(&name)?;
            engine.probe_registry(&name).await.context("its image is not in the engine")?;
            let description = format!("image {} from its registry", reference.as_str());
            Ok(Place { description, kind: PlaceKind::Registry(name) })
        }
        From::Archive(path) => {
            let inner = PathBuf::from(path.as_str());
            let file = tree.root().join(&inner);
            ensure!(
                tree.kind(&inner)? == Some(Kind::File),
                "its image {id} is not in the engine, and there is no archive {}: put the archive of that image there \
                 (what `docker save` wrote), or load it into the engine (`docker load`)",
                file.display()
            );
            Ok(Place { description: format!("image from {}", file.display()), kind: PlaceKind::Archive(inner) })
        }
    }
}

/// Brings the image into the engine and gives it the plan's tag. `before` is the engine's ID of the image that this
/// program has taken for the node before, if any: only that one loses the tag.
pub async fn take(
    engine: &Engine,
    ui: &Ui,
    tree: &Tree,
    plan: &BuildPlan,
    place: Place,
    before: Option<&str>,
) -> Result<Image> {
    let prebuilt = plan.prebuilt.as_ref().context("the plan builds its image")?;
    let candidate = Candidate::of(engine, &prebuilt.image_id);
    let name = bring(engine, ui, tree, plan, &candidate, &place).await?;
    check(engine, ui, plan, &prebuilt.image_id, &name, before).await
}

/// The name of an image while it is loaded and examined. It is removed when this is dropped, also because of Ctrl-C; an
/// image that has no other name by then goes with it.
pub struct Candidate<'a> {
    engine: &'a Engine,
    pub name: String,
}

impl<'a> Candidate<'a> {
    pub fn of(engine: &'a Engine, id: &Digest) -> Self {
        // Of this command alone: another may be loading the same image.
        Self { engine, name: format!("{CANDIDATE}:{}-{:x}", id.short(), fastrand::u32(..)) }
    }
}

impl Drop for Candidate<'_> {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        self.engine.finish(|engine| async move { engine.remove_image(&name).await });
    }
}

/// The name or ID that the image has in the engine, into which it is brought if necessary.
async fn bring(
    engine: &Engine,
    ui: &Ui,
    tree: &Tree,
    plan: &BuildPlan,
    candidate: &Candidate<'_>,
    place: &Place,
) -> Result<String> {
    match &place.kind {
        PlaceKind::Engine(name) => Ok(name.clone()),
        PlaceKind::Registry(name) => {
            let spinner = ui.spinner(format!("fetching {name}"));
            let fetched = base::fetch(engine, name, &plan.platform).await;
            spinner.finish_and_clear();
            fetched.map(|()| name.clone())
        }
        PlaceKind::Archive(path) => {
            let (tree, inner, file) = (tree.clone(), path.clone(), tree.root().join(path));
            let open = move || Ok(archive::unpacked(BufReader::new(tree.open(&inner)?))?);
            let spinner = ui.spinner(format!("loading {}", file.display()));
            let loaded = engine.load(&file, open, &candidate.name).await;
            spinner.finish_and_clear();
            loaded.map(|()| candidate.name.clone())
        }
    }
}

async fn check(
    engine: &Engine,
    ui: &Ui,
    plan: &BuildPlan,
    wanted: &Digest,
    name: &str,
    before: Option<&str>,
) -> Result<Image> {
    let image = engine.image(name).await?.with_context(|| format!("the engine got {name}, but does not have it"))?;
    let id = image_id(engine, ui, &image, name, wanted).await?;
    ensure!(
        id == *wanted,
        "the image is not the one that the manifest of {} names: its image ID is sha256:{id}, not sha256:{wanted} \
         (`prebuilt`); get the right image, or change the manifest if this is the one you want",
        plan.node
    );
    let cpu = plan.platform.split('/').nth(1).unwrap_or_default();
    ensure!(
        image.architecture.is_empty() || image.architecture == cpu,
        "the image is for {}, and CML runs {cpu}: get the image for {}",
        text::excerpt(&image.architecture, 40),
        plan.platform
    );
    let tag = &plan.names.image;
    if let Some(there) = engine.image(tag).await?
        && there.engine_id != image.engine_id
        && before != Some(there.engine_id.as_str())
    {
        bail!(
            "the engine has another image {tag}, which will not be replaced; give it another name first:\n  \
             docker tag {tag} {tag}-mine && docker rmi {tag}"
        );
    }
    checks::accept(engine, ui, plan, &image).await?;
    engine.tag(name, tag).await?;
    engine.image(tag).await?.context("the tag was set, but it is gone")
}

/// The image ID that CML compares. Most engines call the image by it; of others it is computed from an export, since
/// what they say is the digest of a manifest.
pub async fn image_id(engine: &Engine, ui: &Ui, image: &Image, name: &str, expected: &Digest) -> Result<Digest> {
    if image.engine_id == format!("sha256:{expected}") {
        return Ok(expected.clone());
    }
    exported_id(engine, ui, name).await
}

/// The image ID, computed from the engine's export of an image.
pub async fn exported_id(engine: &Engine, ui: &Ui, name: &str) -> Result<Digest> {
    let (feeder, reader) = pipe::pipe();
    let reading = tokio::task::spawn_blocking(move || archive::examine(reader));
    let spinner = ui.spinner(format!("computing the image ID of {name} from its export"));
    let fed = feed(engine, name, feeder).await;
    let read = reading.await.context("reading the export")?;
    spinner.finish_and_clear();
    fed?;
    Ok(read?.image_id)
}

async fn feed(engine: &Engine, name: &str, feeder: pipe::Feeder) -> Result<()> {
    let mut export = std::pin::pin!(engine.docker.export_image(name));
    while let Some(chunk) = export.next().await {
        let chunk = chunk.with_context(|| format!("the engine did not complete its export of {name}"))?;
        if !feeder.feed(chunk).await {
            // The reader has stopped, and reports why itself.
            return Ok(());
        }
    }
    feeder.end().await;
    Ok(())
}
