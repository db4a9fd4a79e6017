//! Building, next to the recipe that this project replaces.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xshell::{Shell, cmd};

use crate::commands::args::NodeArgs;
use crate::commands::flow::Built;
use crate::commands::session::Session;
use crate::dev::bench::figures::{Figure, Times, figure, ratio};
use crate::engine::connect::find::EngineChoice;
use files::Tree;

/// One stage, plain `make`, with the build tools left in the image: the recipe that this project replaces, for the same
/// version of FRR.
const ONE_STAGE: &str = include_str!("one-stage.Dockerfile");

/// Builds from nothing but the base: no cached step, no compiler cache, no downloaded package.
pub async fn against_one_stage(session: &Session<'_>, node: &NodeArgs) -> Result<Vec<Figure>> {
    // Gets the base, which both start from, so that it counts for neither.
    let built = Built::up_to_date(session, node).await?;
    let ours = from_nothing(session, node).await?;
    let copy = Copy::of(session, &built)?;
    copy.edit(&built.plan.dockerfile, |_| ONE_STAGE.to_owned())?;
    let theirs = copy.build(session, node, true).await?;
    let part = ratio(&ours, &theirs);
    Ok(vec![
        figure("cold build", ours, ""),
        figure("cold build in one stage, plain make", theirs, ""),
        figure("cold build / one stage", format!("{part:.2}"), "at most 0.6"),
    ])
}

/// The start of the embedded engine, and a build from nothing on it and on Docker.
pub async fn on_both_engines(session: &Session<'_>, node: &NodeArgs, rounds: u32) -> Result<Vec<Figure>> {
    let (docker, embedded) = (session.with_engine(EngineChoice::Docker)?, session.with_engine(EngineChoice::Embedded)?);
    let (on_docker, on_ours) = (from_nothing(&docker, node).await?, from_nothing(&embedded, node).await?);
    embedded.disconnect();
    let mut starts = Times::default();
    for _ in 0..rounds {
        starts.measure(embedded.engine()).await?;
        embedded.disconnect();
    }
    let part = ratio(&on_ours, &on_docker);
    Ok(vec![
        figure("embedded engine: start", starts, "at most 1.5 s"),
        figure("cold build on Docker", on_docker, ""),
        figure("cold build on the embedded engine", on_ours, ""),
        figure("embedded / Docker", format!("{part:.2}"), "at most 1.25"),
    ])
}

async fn from_nothing(session: &Session<'_>, node: &NodeArgs) -> Result<Times> {
    let built = Built::up_to_date(session, node).await?;
    let copy = Copy::of(session, &built)?;
    copy.give_caches_new_names()?;
    copy.build(session, node, true).await
}

/// Builds after a change to the entry script alone.
pub async fn after_a_change(session: &Session<'_>, node: &NodeArgs) -> Result<Vec<Figure>> {
    let built = Built::up_to_date(session, node).await?;
    let copy = Copy::of(session, &built)?;
    let script = copy.change_a_script()?;
    let times = copy.build(session, node, false).await?;
    Ok(vec![figure(format!("rebuild after a change to {script}"), times, "at most 10 s")])
}

/// A copy of the repository to change, whose images have names of their own.
struct Copy {
    folder: tempfile::TempDir,
    node: String,
}

impl Copy {
    fn of(session: &Session<'_>, built: &Built) -> Result<Self> {
        let copy = Self { folder: tempfile::tempdir_in(&session.cache)?, node: built.plan.node.clone() };
        let folders =
            ["docker", "node-definitions", "image-definitions"].map(|name| session.repository.root.join(name));
        let (sh, to) = (Shell::new()?, copy.folder.path());
        cmd!(sh, "cp -a {folders...} {to}").quiet().run()?;
        copy.edit("node.yaml", |text| {
            let own = text.replace("\nimage: \"", "\nimage: \"cml-nodes-bench/").replace("\nid: \"", "\nid: \"bench-");
            // The one-stage image is far larger, and has nothing that the checks look for.
            let (head, rest) = own.split_once("\nchecks:").unwrap_or((&own, ""));
            let limits = rest.split_once("\nlimits:").map_or("", |_| "\n");
            format!("{head}{limits}")
        })?;
        Ok(copy)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("docker").join(&self.node)
    }

    fn edit(&self, file: &str, change: impl FnOnce(String) -> String) -> Result<()> {
        let path = self.path().join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?;
        Ok(std::fs::write(&path, change(text))?)
    }

    /// Cache mounts survive `--no-cache`; with a new name each is empty.
    fn give_caches_new_names(&self) -> Result<()> {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let own = format!("id=cml-nodes-bench-{}-", since_1970.as_secs());
        for name in self.files()?.iter().filter(|name| name.starts_with("Dockerfile")) {
            self.edit(name, |text| text.replace("id=cml-nodes-", &own))?;
        }
        Ok(())
    }

    /// The node's files, but for links, which may lead out of the copy.
    fn files(&self) -> Result<Vec<String>> {
        let files = catalog::context::scan(&Tree::at(self.path()), &self.path(), &self.path())?;
        Ok(files.into_iter().filter(|file| file.link_target().is_none()).map(|file| file.path).collect())
    }

    fn change_a_script(&self) -> Result<String> {
        let is_script = |path: &Path| std::fs::read(path).is_ok_and(|text| text.starts_with(b"#!"));
        let script = self
            .files()?
            .into_iter()
            .filter(|path| path.starts_with("rootfs/"))
            .max_by_key(|path| (is_script(&self.path().join(path)), path.contains("start")))
            .context("the node has no rootfs/")?;
        self.edit(&script, |text| format!("{text}# changed\n"))?;
        Ok(script)
    }

    async fn build(&self, session: &Session<'_>, node: &NodeArgs, no_cache: bool) -> Result<Times> {
        let copy = session.elsewhere(session.ui, self.folder.path(), &self.folder.path().join("dist"))?;
        let mut args = node.clone();
        args.recipe.no_cache = no_cache;
        let mut time = Times::default();
        let built = time.measure(Built::up_to_date(&copy, &args)).await?;
        built.engine.remove_image(&built.plan.names.image).await?;
        Ok(time)
    }
}
