//! Builds, checks and tags the image of a plan.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bollard::errors::Error as EngineError;
use bollard::query_parameters::{BuildImageOptions, BuilderVersion};
use futures_util::StreamExt;
use tokio_util::io::ReaderStream;

use crate::engine::build::checks;
use crate::engine::build::dockerfile;
use crate::engine::build::host_files;
use crate::engine::build::progress::log::{FailedStep, Progress, clip};
use crate::engine::build::progress::{reason, show_progress};
use crate::engine::build::request::{client, id_in, proxy_args, quoted, small_build};
use crate::engine::errors::{is_disturbed, retry_while};
use crate::engine::handle::Engine;
use crate::engine::images::store::{CANDIDATE, Image};
use catalog::context::{self, SourceFile};
use catalog::source::Sources;
use catalog::{BuildPlan, image_name, labels};
use ui::Ui;

/// One build of a plan's image.
pub struct Job<'a> {
    pub engine: &'a Engine,
    pub ui: &'a Ui,
    pub plan: &'a BuildPlan,
    /// The image to build on.
    pub base: &'a str,
    pub sources: &'a Sources<'a>,
    pub no_cache: bool,
    /// A folder for files that only the build needs.
    pub scratch: &'a Path,
}

impl Job<'_> {
    /// Builds, checks and tags the image. The tag moves only when the image has passed its checks, so that a tag of
    /// this project is always an image that did. A dropped future closes the connection, which ends the build on the
    /// engine too.
    pub async fn build(&self) -> Result<Image> {
        let name = &self.plan.names.image;
        let before = self.engine.image(name).await?;
        // The program's own images are replaced even if another took their names.
        let is_replaceable = |image: &Image| image_name::is_own(name) || image.is_built_as(name, &self.plan.node);
        if before.as_ref().is_some_and(|image| !is_replaceable(image)) {
            bail!(
                "the engine has an image {name} that was not built from the node {}, and it will not be replaced; \
                 give it another name first:\n  docker tag {name} {name}-mine && docker rmi {name}",
                self.plan.node
            );
        }
        let candidate = format!("{CANDIDATE}:{}", self.plan.recipe.short());
        let origins = self.origins().await?;
        self.refuse_host_files()?;
        self.build_candidate(&self.pack_context(&origins)?, &candidate, &origins).await?;
        let built = self.accept(&candidate).await;
        self.engine.remove_image(&candidate).await?;
        let built = built?;
        if let Some(before) = before.filter(|before| before.engine_id != built.engine_id) {
            // Without a tag it only wastes space. If a container uses it, it stays until `clean`.
            let _ = self.engine.remove_image(&before.engine_id).await;
        }
        Ok(built)
    }

    /// Checks the candidate and gives it its name.
    async fn accept(&self, candidate: &str) -> Result<Image> {
        let (engine, plan) = (self.engine, self.plan);
        let image = engine.image(candidate).await?.context("the engine built the image, but it is gone")?;
        checks::accept(engine, self.ui, plan, &image).await?;
        engine.tag(candidate, &plan.names.image).await?;
        engine.image(&plan.names.image).await?.context("the tag was set, but it is gone")
    }

    /// What the image is made from; the base is in the engine already, unless the build fetches it.
    async fn origins(&self) -> Result<sbom::Origins> {
        let (name, wanted) = (self.base, &self.plan.base);
        if name == "scratch" {
            return Ok(self.plan.origins(None));
        }
        let digest = self.engine.image(name).await?.and_then(|image| sbom::Base::chain_id(&image.layers));
        let instead_of = (name != wanted).then(|| wanted.clone());
        Ok(self.plan.origins(Some(sbom::Base { name: name.to_owned(), digest, instead_of })))
    }

    /// Writes the build context to a file: it may be as large as a source tree.
    fn pack_context(&self, origins: &sbom::Origins) -> Result<PathBuf> {
        let mut archives = Vec::new();
        for (name, pin) in &self.plan.sources {
            if let Some(path) = self.sources.as_file(name, pin, self.scratch)? {
                archives.push(SourceFile { name: format!("{name}.tar"), path });
            }
        }
        let told = self.scratch.join("origins.json");
        std::fs::write(&told, format!("{}\n", serde_json::to_string_pretty(origins)?))
            .with_context(|| format!("could not write {}", told.display()))?;
        archives.push(SourceFile { name: "origins.json".to_owned(), path: told });
        let mut files = self.plan.files.clone();
        if !self.engine.abilities.locks_caches
            && let Some(file) = files.iter_mut().find(|file| file.path == self.plan.dockerfile)
        {
            file.replaced_by(self.dockerfile_without_locks()?);
        }
        let path = self.scratch.join("context.tar");
        let file = File::create(&path).with_context(|| format!("could not create {}", path.display()))?;
        context::write(BufWriter::new(file), &files, &archives, self.plan.epoch)
            .with_context(|| format!("writing the build context below {}", self.scratch.display()))?;
        Ok(path)
    }

    /// The Dockerfile with the same lines, but without locks of caches. Instead, the caller allows one build at a time.
    fn dockerfile_without_locks(&self) -> Result<PathBuf> {
        let unlocked = self.scratch.join("Dockerfile.without-locks");
        std::fs::write(&unlocked, without_locks(&self.plan.dockerfile_text()?))
            .context("writing the Dockerfile for the engine")?;
        Ok(unlocked)
    }

    /// Fails if the Dockerfile could reach files of the machine, on an engine that does not prevent it.
    fn refuse_host_files(&self) -> Result<()> {
        if self.engine.abilities.confines_builds {
            return Ok(());
        }
        let file = self.plan.folder.join(&self.plan.dockerfile);
        let file = file.display();
        // Its preprocessor could include files of the machine.
        ensure!(!self.plan.dockerfile.ends_with(".in"), "{file}: this engine preprocesses `.in` files; rename it");
        let text = without_locks(&self.plan.dockerfile_text()?);
        host_files::judge(&text, &self.build_args()).map_err(|error| anyhow!("{file}{error}"))
    }

    fn build_args(&self) -> BTreeMap<String, String> {
        let mut args: BTreeMap<String, String> = proxy_args().into_iter().collect();
        args.extend(self.plan.build_args.clone());
        args.insert("BASE".to_owned(), self.base.to_owned());
        args.insert("FRESH".to_owned(), if self.no_cache { "1" } else { "" }.to_owned());
        args
    }

    fn options(&self) -> BuildImageOptions {
        let has_buildkit = self.engine.abilities.has_buildkit;
        BuildImageOptions {
            version: if has_buildkit { BuilderVersion::BuilderBuildKit } else { BuilderVersion::BuilderV1 },
            // One for each build: two builds at once must not use each other's.
            session: has_buildkit.then(|| format!("cml-nodes-{}-{:x}", std::process::id(), fastrand::u64(..))),
            dockerfile: self.plan.dockerfile.clone(),
            platform: self.plan.platform.clone(),
            nocache: self.no_cache,
            rm: true,
            forcerm: true,
            buildargs: Some(self.build_args().into_iter().collect()),
            ..BuildImageOptions::default()
        }
    }

    /// Builds the candidate, with its labels.
    async fn build_candidate(&self, context: &Path, candidate: &str, origins: &sbom::Origins) -> Result<()> {
        let mut image_labels = self.plan.labels();
        image_labels.insert(labels::ORIGINS.to_owned(), serde_json::to_string(origins)?);
        image_labels.insert(labels::RECIPE.to_owned(), self.plan.recipe.hex().to_owned());
        image_labels.insert(labels::CHECKS.to_owned(), self.plan.checks_digest()?.hex().to_owned());
        if !self.engine.abilities.caches_steps_as_images {
            let (t, labels) = (Some(candidate.to_owned()), Some(image_labels.into_iter().collect()));
            return self.run(BuildImageOptions { t, labels, ..self.options() }, context).await.map(drop);
        }
        // Buildah looks for cached steps in all images, and gives up if one of them is removed meanwhile. A retry finds
        // cached what was built by then.
        let disturbed = |built: &Result<_>| {
            let disturbed = built.as_ref().is_err_and(|error| is_disturbed(&format!("{error:#}")));
            if disturbed {
                self.ui.note("an image was removed while the engine was reading it; trying again");
            }
            disturbed
        };
        let build = async || {
            let id = self.run(self.options(), context).await?;
            self.label(&id.context("the engine did not report the ID of the image")?, &image_labels, candidate).await
        };
        retry_while(disturbed, build).await
    }

    /// Adds labels to the finished image only: its steps stay in the engine's cache, and are not images of a node.
    async fn label(&self, id: &str, labels: &BTreeMap<String, String>, tag: &str) -> Result<()> {
        let pair = |(key, value): (&String, &String)| format!("{}={}", quoted(key), quoted(value));
        let pairs: Vec<_> = labels.iter().map(pair).collect();
        let dockerfile = format!("FROM {}\nLABEL {}\n", id.trim_start_matches("sha256:"), pairs.join(" "));
        match small_build(self.engine, &dockerfile, &self.plan.platform, Some(tag)).await?.error {
            Some(error) => bail!("could not label the image: {}", error.trim()),
            None => Ok(()),
        }
    }

    /// Runs the build. Returns the engine's ID of the image, if the engine reports one.
    async fn run(&self, options: BuildImageOptions, context: &Path) -> Result<Option<String>> {
        let context = tokio::fs::File::open(context).await.context("reading the build context")?;
        let body = bollard::body_try_stream(ReaderStream::with_capacity(context, 1 << 16));
        let docker = client(self.engine);
        let mut stream = std::pin::pin!(docker.build_image(options, None, Some(body)));
        let mut progress = show_progress(self.ui, &self.engine.abilities);
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
                    progress.show(message);
                }
                Some(Err(error)) => return Err(explain(self.plan, &mut *progress, error)),
                None => return Ok(id),
            }
        }
    }
}

fn without_locks(dockerfile: &str) -> String {
    dockerfile.replace(",sharing=locked", "")
}

fn explain(plan: &BuildPlan, progress: &mut dyn Progress, error: EngineError) -> anyhow::Error {
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
    let text = plan.dockerfile_text().unwrap_or_default();
    let step = progress.failed(&error);
    let line_of = |step: &FailedStep| {
        let line = |stage| dockerfile::line_of(&text, stage, &step.instruction);
        line(step.stage.as_deref()).or_else(|| line(None))
    };
    let line = step
        .as_ref()
        .and_then(line_of)
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
