//! Builds, checks and tags the image of a plan.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bollard::errors::Error as EngineError;
use bollard::query_parameters::{BuildImageOptions, BuildImageOptionsBuilder, BuilderVersion};
use futures_util::StreamExt;
use tempfile::NamedTempFile;
use tokio_util::io::ReaderStream;

use crate::engine::build::checks;
use crate::engine::build::client::{client, id_in};
use crate::engine::build::dockerfile;
use crate::engine::build::progress::display::{Progress, reason};
use crate::engine::build::progress::log::clip;
use crate::engine::build::proxy;
use crate::engine::build::small_build;
use crate::engine::handle::Engine;
use crate::engine::images::image::{CANDIDATE, Image};
use crate::engine::images::retrying::{is_disturbed, retry_while};
use catalog::context::{self, SourceFile};
use catalog::source::Sources;
use catalog::{BuildPlan, labels};
use ui::Ui;

/// Builds, checks and tags the image of `plan` on top of the image `base`.
///
/// The tag moves only when the image has passed its checks, so that a tag of this project is
/// always an image that did. A dropped future closes the connection, which ends the build on the
/// engine too. Fails, among others, if the tag belongs to an image that this project did not make.
pub async fn build(
    engine: &Engine,
    ui: &Ui,
    plan: &BuildPlan,
    base: &str,
    sources: &Sources<'_>,
    job: &Job<'_>,
) -> Result<Image> {
    let before = engine.image(&plan.names.image).await?;
    refuse_foreign_tag(plan, before.as_ref())?;
    let context = pack_context(plan, sources, job.scratch, engine.abilities.locks_caches())?;
    let candidate = format!("{CANDIDATE}:{}", plan.recipe.short());
    build_candidate(engine, ui, plan, options(engine, plan, base, job.no_cache), &context, &candidate).await?;
    let built = accept(engine, ui, plan, &candidate).await;
    engine.remove_image(&candidate).await?;
    let built = built?;
    if let Some(before) = before.filter(|before| before.engine_id != built.engine_id) {
        // Without a tag it only wastes space. If a container uses it, it stays until `clean`.
        let _ = engine.remove_image(&before.engine_id).await;
    }
    Ok(built)
}

/// Options of one build.
pub struct Job<'a> {
    pub no_cache: bool,
    /// A folder for files that only the build needs.
    pub scratch: &'a Path,
}

/// A tag that this project did not create is not moved.
fn refuse_foreign_tag(plan: &BuildPlan, before: Option<&Image>) -> Result<()> {
    match before {
        Some(image) if !image.is_ours() => bail!(
            "the engine has an image {0} that this project did not make, and it will not be replaced; \
             give it another name first:\n  docker tag {0} {0}-mine && docker rmi {0}",
            plan.names.image
        ),
        _ => Ok(()),
    }
}

async fn accept(engine: &Engine, ui: &Ui, plan: &BuildPlan, candidate: &str) -> Result<Image> {
    let image = engine.image(candidate).await?.context("the engine built the image, but it is gone")?;
    if let Some(limit) = plan.limits.image_mb {
        anyhow::ensure!(
            image.size <= limit * 1_000_000,
            "the image has {}, its manifest allows {limit} MB (limits.image_mb)",
            text::size(image.size)
        );
    }
    checks::run(engine, ui, plan, &image.engine_id).await?;
    engine.tag(candidate, &plan.names.image).await?;
    engine.image(&plan.names.image).await?.context("the tag was set, but it is gone")
}

/// Writes the build context to a file: it may be as large as a source tree.
fn pack_context(plan: &BuildPlan, sources: &Sources<'_>, scratch: &Path, with_locks: bool) -> Result<NamedTempFile> {
    let mut archives = Vec::new();
    for (name, pin) in &plan.sources {
        if let Some(path) = sources.as_file(name, pin, scratch)? {
            archives.push(SourceFile { name: name.clone(), path });
        }
    }
    let unlocked = if with_locks { None } else { Some(without_locks(plan, scratch)?) };
    let mut files = plan.files.clone();
    if let (Some(unlocked), Some(file)) = (&unlocked, files.iter_mut().find(|file| file.path == plan.dockerfile)) {
        file.origin = unlocked.path().to_owned();
    }
    let file = NamedTempFile::new_in(scratch).context("creating a file for the build context")?;
    context::write(std::io::BufWriter::new(file.as_file()), &files, &archives, plan.epoch)
        .with_context(|| format!("writing the build context below {}", scratch.display()))?;
    Ok(file)
}

/// The Dockerfile with the same lines, but without locks of caches. Instead, the caller allows one build at a time.
fn without_locks(plan: &BuildPlan, scratch: &Path) -> Result<NamedTempFile> {
    let path = plan.folder.join(&plan.dockerfile);
    let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
    let file = NamedTempFile::new_in(scratch).context("creating a file for the build")?;
    std::fs::write(file.path(), text.replace(",sharing=locked", ""))
        .context("writing the Dockerfile for the engine")?;
    Ok(file)
}

fn options(engine: &Engine, plan: &BuildPlan, base: &str, no_cache: bool) -> BuildImageOptions {
    let mut args = proxy::build_args();
    args.extend(plan.build_args.clone());
    args.insert("BASE".to_owned(), base.to_owned());
    args.insert("FRESH".to_owned(), if no_cache { "1" } else { "" }.to_owned());
    let builder = BuildImageOptionsBuilder::default();
    let builder = if engine.abilities.has_buildkit() {
        builder.version(BuilderVersion::BuilderBuildKit).session(&session_id())
    } else {
        builder.version(BuilderVersion::BuilderV1)
    };
    builder
        .dockerfile(&plan.dockerfile)
        .platform(&plan.platform)
        .nocache(no_cache)
        .rm(true)
        .forcerm(true)
        .buildargs(&args.into_iter().collect::<HashMap<_, _>>())
        .build()
}

fn image_labels(plan: &BuildPlan) -> BTreeMap<String, String> {
    let mut image_labels = plan.labels();
    image_labels.insert(labels::RECIPE.to_owned(), plan.recipe.hex().to_owned());
    image_labels
}

/// Builds the candidate, with its labels.
async fn build_candidate(
    engine: &Engine,
    ui: &Ui,
    plan: &BuildPlan,
    options: BuildImageOptions,
    context: &NamedTempFile,
    candidate: &str,
) -> Result<()> {
    let image_labels = image_labels(plan);
    if !engine.abilities.caches_steps_as_images() {
        let labels = Some(image_labels.into_iter().collect());
        let options = BuildImageOptions { t: Some(candidate.to_owned()), labels, ..options };
        return run(engine, ui, plan, options, context).await.map(drop);
    }
    let id = run_with_retries(engine, ui, plan, options, context)
        .await?
        .context("the engine did not report the ID of the image")?;
    label(engine, &id, &plan.platform, &image_labels, candidate).await
}

/// Buildah looks for cached steps in all images, and gives up if one of them is removed meanwhile. A retry finds cached
/// what was built by then.
async fn run_with_retries(
    engine: &Engine,
    ui: &Ui,
    plan: &BuildPlan,
    options: BuildImageOptions,
    context: &NamedTempFile,
) -> Result<Option<String>> {
    let disturbed = |built: &Result<_>| {
        let disturbed = built.as_ref().is_err_and(|error| is_disturbed(&format!("{error:#}")));
        if disturbed {
            ui.note("an image was removed while the engine was reading it; trying again");
        }
        disturbed
    };
    retry_while(disturbed, || run(engine, ui, plan, options.clone(), context)).await
}

/// Adds labels to the finished image only: its steps stay in the engine's cache, and are not images of a node.
async fn label(engine: &Engine, id: &str, platform: &str, labels: &BTreeMap<String, String>, tag: &str) -> Result<()> {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{}={}", small_build::quoted(key), small_build::quoted(value)))
        .collect();
    let id = id.trim_start_matches("sha256:");
    let outcome =
        small_build::run(engine, &format!("FROM {id}\nLABEL {}\n", pairs.join(" ")), platform, Some(tag), "none")
            .await?;
    match outcome.error {
        Some(error) => bail!("could not label the image: {}", error.trim()),
        None => Ok(()),
    }
}

/// A session for each build: two builds at once must not use each other's.
fn session_id() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("cml-nodes-{}-{}", std::process::id(), now.as_nanos())
}

/// Runs the build. Returns the engine's ID of the image, if the engine reports one.
async fn run(
    engine: &Engine,
    ui: &Ui,
    plan: &BuildPlan,
    options: BuildImageOptions,
    context: &NamedTempFile,
) -> Result<Option<String>> {
    let context = tokio::fs::File::from_std(context.reopen().context("reading the build context")?);
    let body = bollard::body_try_stream(ReaderStream::with_capacity(context, 1 << 16));
    let docker = client(engine);
    let mut stream = std::pin::pin!(docker.build_image(options, None, Some(body)));
    let mut progress = Progress::new(ui, &engine.abilities);
    let mut id = None;
    let mut beat = tokio::time::interval(Duration::from_secs(5));
    loop {
        let message = tokio::select! {
            message = stream.next() => message,
            _ = beat.tick() => {
                progress.heartbeat();
                continue;
            }
        };
        match message {
            Some(Ok(message)) => {
                id = id_in(&message).or(id);
                progress.update(message);
            }
            Some(Err(error)) => return Err(explain(plan, &mut progress, error)),
            None => return Ok(id),
        }
    }
}

fn explain(plan: &BuildPlan, progress: &mut Progress<'_>, error: EngineError) -> anyhow::Error {
    let error = match error {
        EngineError::DockerStreamError { error } | EngineError::DockerResponseServerError { message: error, .. } => {
            error
        }
        other => {
            return anyhow::Error::from(other).context(
                "the connection to the engine was lost during the build; finished steps are cached, so run it again",
            );
        }
    };
    let file = plan.folder.join(&plan.dockerfile);
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let step = progress.failed(&error);
    let line = step
        .as_ref()
        .and_then(|step| {
            let line = |stage| dockerfile::line_of(&text, stage, &step.instruction);
            line(step.stage.as_deref()).or_else(|| line(None))
        })
        .or_else(|| dockerfile::line_of_parse_error(&error))
        .or_else(|| dockerfile::line_of_unknown(&text, &error));
    let line = line.map_or_else(String::new, |line| format!(":{line}"));
    let (image, place) = (&plan.names.image, format!("{}{line}", file.display()));
    let Some(step) = step else {
        return anyhow!("the engine can't build {image} from {place}\n  {}", error.trim());
    };
    let log: String = step.log.iter().map(|line| format!("  | {line}\n")).collect();
    let shared =
        if step.is_log_shared { "  (printed by this step or by steps that ran at the same time)\n" } else { "" };
    anyhow!("the build of {image} failed at {place}\n  {}\n{log}{shared}  {}", clip(&step.name), reason(&error))
}
