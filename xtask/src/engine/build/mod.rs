//! Builds a plan's image, through BuildKit or through Buildah as the engine can.

pub mod checks;
pub mod dockerfile;
mod progress;
mod proxy;
mod small_build;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::query_parameters::{BuildImageOptions, BuildImageOptionsBuilder, BuilderVersion};
use futures_util::StreamExt;
use tempfile::NamedTempFile;
use tokio_util::io::ReaderStream;

use crate::engine::build::progress::{FailedStep, Progress};
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
/// engine too.
///
/// # Errors
/// If a source can't be packed, the build or a check fails, the engine goes away, or the tag
/// belongs to an image that this project did not make.
pub async fn build(
    engine: &Engine,
    ui: &Ui,
    plan: &BuildPlan,
    base: &str,
    sources: &Sources<'_>,
    job: &Job<'_>,
) -> Result<Image> {
    let before = engine.image(&plan.names.image).await?;
    refuse_foreign(plan, before.as_ref())?;
    let context = pack_context(plan, sources, job.scratch, engine.abilities.locks_caches())?;
    let candidate = format!("{CANDIDATE}:{}", plan.recipe.short());
    make(engine, ui, plan, options(engine, plan, base, job.no_cache), &context, &candidate).await?;
    let built = accept(engine, ui, plan, &candidate).await;
    engine.remove_image(&candidate).await?;
    let built = built?;
    if let Some(before) = before.filter(|before| before.engine_id != built.engine_id) {
        // Without a tag it would only take up room. In use by a container it stays, for `clean`.
        let _ = engine.remove_image(&before.engine_id).await;
    }
    Ok(built)
}

/// How to go about one build.
pub struct Job<'a> {
    pub no_cache: bool,
    /// A folder for files that only the build needs.
    pub scratch: &'a Path,
}

/// A tag that somebody else made is theirs.
fn refuse_foreign(plan: &BuildPlan, before: Option<&Image>) -> Result<()> {
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
    let image = engine.image(candidate).await?.context("the engine built the image, but does not have it")?;
    if let Some(limit) = plan.limits.image_mb {
        anyhow::ensure!(
            image.size <= limit * 1_000_000,
            "the image has {}, its manifest allows {limit} MB (limits.image_mb)",
            text::size(image.size)
        );
    }
    crate::engine::build::checks::run(engine, ui, plan, &image.engine_id).await?;
    engine.tag(candidate, &plan.names.image).await?;
    engine.image(&plan.names.image).await?.context("the tag that was just set is gone")
}

/// The context goes to a file first: its size may be that of a source tree, and bollard's body
/// must not borrow.
fn pack_context(plan: &BuildPlan, sources: &Sources<'_>, scratch: &Path, with_locks: bool) -> Result<NamedTempFile> {
    let mut files = Vec::new();
    for (name, pin) in &plan.sources {
        if let Some(path) = sources.as_file(name, pin, scratch)? {
            files.push(SourceFile { name: name.clone(), path });
        }
    }
    let unlocked = if with_locks { None } else { Some(without_locks(plan, scratch)?) };
    let instead = unlocked.as_ref().map(|file| (plan.dockerfile.as_str(), file.path()));
    let file = NamedTempFile::new_in(scratch).context("making a file for the build context")?;
    context::write(std::io::BufWriter::new(file.as_file()), &plan.files, instead, &files, plan.epoch)
        .with_context(|| format!("writing the build context below {}", scratch.display()))?;
    Ok(file)
}

/// The Dockerfile, line by line the same, without the locks of caches. Whoever builds so builds alone.
fn without_locks(plan: &BuildPlan, scratch: &Path) -> Result<NamedTempFile> {
    let path = plan.folder.join(&plan.dockerfile);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
    let file = NamedTempFile::new_in(scratch).context("making a file for the build")?;
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
async fn make(
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
    let id =
        run_undisturbed(engine, ui, plan, options, context).await?.context("the engine does not say what it built")?;
    label(engine, &id, &plan.platform, &image_labels, candidate).await
}

/// Buildah looks through all images for steps that it knows, and gives up when one of them is removed meanwhile. What is built by then is
/// found again.
async fn run_undisturbed(
    engine: &Engine,
    ui: &Ui,
    plan: &BuildPlan,
    options: BuildImageOptions,
    context: &NamedTempFile,
) -> Result<Option<String>> {
    let disturbed = |built: &Result<_>| {
        let disturbed = built.as_ref().is_err_and(|error| is_disturbed(&format!("{error:#}")));
        if disturbed {
            ui.note("an image was removed while the engine looked at it; once more");
        }
        disturbed
    };
    retry_while(disturbed, || run(engine, ui, plan, options.clone(), context)).await
}

/// Only the finished image gets labels: its steps stay in the engine's cache, and are no images of a node.
async fn label(engine: &Engine, id: &str, platform: &str, labels: &BTreeMap<String, String>, tag: &str) -> Result<()> {
    let words: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{}={}", small_build::quoted(key), small_build::quoted(value)))
        .collect();
    let id = id.trim_start_matches("sha256:");
    let outcome =
        small_build::run(engine, &format!("FROM {id}\nLABEL {}\n", words.join(" ")), platform, Some(tag), "none")
            .await?;
    match outcome.error {
        Some(error) => bail!("the image can't be labelled: {}", error.trim()),
        None => Ok(()),
    }
}

/// One session a build: two builds at once must not take each other's.
fn session_id() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("cml-nodes-{}-{}", std::process::id(), now.as_nanos())
}

/// A client for builds. Podman takes more than Docker's API has: that stages which don't need each
/// other are built side by side, and that its own version is not written onto the image as a label.
/// In a chroot it builds only by an API of its own, which takes the same and answers the same.
pub(super) fn client(engine: &Engine) -> Docker {
    let docker = engine.docker().clone();
    if engine.abilities.has_buildkit() {
        return docker;
    }
    let in_chroot = engine.abilities.runs_containers.is_err();
    docker.with_request_modifier(move |mut request| {
        if let Ok(uri) = podmans_address(&request.uri().to_string(), in_chroot).parse() {
            *request.uri_mut() = uri;
        }
        request
    })
}

fn podmans_address(docker_s: &str, in_chroot: bool) -> String {
    let address = format!("{docker_s}&jobs=0&identitylabel=false");
    match address.split_once("/build?") {
        Some((host, query)) if in_chroot => {
            // …/v1.41 → …/v4.0.0/libpod
            let host = host.rsplit_once("/v").map_or(host, |(host, _version)| host);
            let format = "application%2Fvnd.docker.distribution.manifest.v2%2Bjson";
            format!("{host}/v4.0.0/libpod/build?{query}&isolation=chroot&layers=true&outputformat={format}")
        }
        _ => address,
    }
}

/// Carries the build out; yields the engine's ID of the image, where it says one.
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
    let dockerfile = std::fs::read_to_string(plan.folder.join(&plan.dockerfile)).unwrap_or_default();
    let mut progress = Progress::new(ui, &engine.abilities, &dockerfile, &plan.build_args);
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
                id = small_build::id_in(&message).or(id);
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
    if let Some(step) = progress.failed(&error) {
        return anyhow!("{}", failure(plan, &step, &error));
    }
    let file = plan.folder.join(&plan.dockerfile);
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let line = dockerfile::line_of_error(&error).or_else(|| dockerfile::line_of_unknown(&text, &error));
    let line = line.map_or_else(String::new, |line| format!(":{line}"));
    anyhow!("the engine can't build {} from {}{line}\n  {}", plan.names.image, file.display(), error.trim())
}

fn failure(plan: &BuildPlan, step: &FailedStep, error: &str) -> String {
    let file = plan.folder.join(&plan.dockerfile);
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let place = match step.line.or_else(|| dockerfile::line_of_step(&text, &step.name)) {
        Some(line) => format!("{}:{line}", file.display()),
        None => file.display().to_string(),
    };
    let log: String = step.log.iter().map(|line| format!("  | {line}\n")).collect();
    let shared = if step.shared_log { "  (printed by this step and those beside it)\n" } else { "" };
    format!(
        "the build of {} failed at {place}\n  {}\n{log}{shared}  {}",
        plan.names.image,
        progress::clip(&step.name),
        progress::reason(error)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_in_a_chroot_go_to_podman_s_own_api() {
        let address = "http://2f72756e/v1.41/build?dockerfile=Dockerfile";
        assert_eq!(podmans_address(address, false), format!("{address}&jobs=0&identitylabel=false"));
        let own = podmans_address(address, true);
        assert!(own.starts_with("http://2f72756e/v4.0.0/libpod/build?dockerfile=Dockerfile&jobs=0"), "{own}");
        assert!(own.contains("&isolation=chroot&"), "{own}");
    }
}
