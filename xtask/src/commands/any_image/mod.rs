//! `cargo xtask new NODE --image …`: makes any image a node. The image is examined and run once, in the same isolation
//! as by `verify`; what it says and shows becomes a manifest and a template, which are the user's from then on.

mod options;
mod proposal;
mod texts;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::commands::args::{NodeArgs, RecipeArgs, consent};
use crate::commands::flow::Inspected;
use crate::commands::running_nodes::helper_image;
use crate::commands::session::Session;
use crate::engine::Engine;
use crate::engine::images::base;
use crate::engine::images::prebuilt::{self, Candidate};
use crate::engine::images::said::Said;
use crate::lab::{HostAccess, Lab, Measured, Measuring, Refused};
use catalog::names::Name;
use catalog::prebuilt::{From, without_tag};
use definitions::container::Container;
use digests::Digest;
use files::Tree;
pub use options::ImageArgs;
use options::{Console, Named, named, wishes};
use proposal::{Proposal, Wishes, before_running, propose, remarks};
use texts::Place;

/// The folder of archives in a repository, and what keeps git away from them.
const ARCHIVES: &str = "images";
const IGNORE: &str = "# Vendors seldom allow you to pass their images on.\n*\n";

/// Longer remarks are broken for a terminal.
const WIDTH: usize = 80;

/// CML's own platform.
const PLATFORM: &str = "linux/amd64";

/// What the user named, in the engine.
struct Found<'a> {
    /// Its name there.
    name: String,
    /// Keeps it there under that name.
    _candidate: Option<Candidate<'a>>,
    image_id: Digest,
    /// The archive that it was loaded from.
    archive: Option<PathBuf>,
    /// The name of the image that may have its version as its tag.
    tag: String,
}

pub async fn run(session: &Session<'_>, node: &Name, args: &ImageArgs) -> Result<()> {
    let mut wishes = wishes(node, args)?;
    refuse_existing(session, node)?;
    let named = named(&args.image)?;
    let engine = session.ensure_engine(consent(args.yes)).await?;
    let found = find(session, &engine, &named).await?;
    wishes.image.clone_from(&found.tag);
    make(session, &engine, node, args, &wishes, &found).await
}

/// Refuses a node that is there already, and says how to make it again.
fn refuse_existing(session: &Session<'_>, node: &Name) -> Result<()> {
    let files = [format!("docker/{node}"), format!("node-definitions/{node}.yaml")];
    let mut there = Vec::new();
    for file in files {
        if session.repository.tree.kind(session.repository.root.join(&file))?.is_some() {
            there.push(file);
        }
    }
    let Some(first) = there.first().map(|file| session.repository.root.join(file)) else { return Ok(()) };
    let prebuilt = session.repository.node(Some(node.as_str())).ok().into_iter().flat_map(|made| &made.variants);
    there.extend(prebuilt.filter_map(|variant| match &variant.prebuilt.as_ref()?.from {
        From::Archive(archive) => Some(archive.as_str().to_owned()),
        _ => None,
    }));
    bail!(
        "{} already exists: choose another name; or, to make {node} again, delete {} first",
        first.display(),
        there.join(", ")
    )
}

/// Brings the image into the engine: a file is loaded, a name that the engine does not have is fetched.
async fn find<'e>(session: &Session<'_>, engine: &'e Engine, named: &Named) -> Result<Found<'e>> {
    let image = match named {
        Named::Archive(path) => return load(session, engine, path).await,
        Named::Image(name) => name.as_str(),
    };
    if engine.image(image).await?.is_none() {
        let spinner = session.ui.spinner(format!("fetching {image}"));
        let fetched = base::fetch(engine, image, PLATFORM).await;
        spinner.finish_and_clear();
        if let Err(error) = fetched {
            let others = others(engine, image).await;
            return Err(error.context(format!(
                "the engine has no image {image}, and it is not the name of an archive (`docker save`) either{others}"
            )));
        }
    }
    let there = engine.image(image).await?.with_context(|| format!("the engine got {image}, but does not have it"))?;
    refuse_empty(there.layers.len(), image)?;
    let image_id = prebuilt::exported_id(engine, session.ui, image).await?;
    Ok(Found { name: image.to_owned(), _candidate: None, image_id, archive: None, tag: image.to_owned() })
}

/// What the engine has of the same name, as the end of a message.
async fn others(engine: &Engine, image: &str) -> String {
    let name = without_tag(image.split('@').next().unwrap_or_default());
    let known = engine.images_named(name).await.unwrap_or_default();
    let mut tags: Vec<String> = known.into_iter().flat_map(|image| image.tags).collect();
    tags.retain(|tag| archive::shortened(without_tag(tag)) == archive::shortened(name));
    tags.sort();
    tags.truncate(5);
    if tags.is_empty() { String::new() } else { format!("; the engine has {}", tags.join(", ")) }
}

/// Engines can't export such an image, and nothing is in it that could run.
fn refuse_empty(layers: usize, image: &str) -> Result<()> {
    ensure!(layers > 0, "the image {image} has no layers: it has no files, so nothing in it can run");
    Ok(())
}

async fn load<'e>(session: &Session<'_>, engine: &'e Engine, path: &Path) -> Result<Found<'e>> {
    let spinner = session.ui.spinner(format!("reading {}", path.display()));
    let file = path.to_owned();
    let examined = tokio::task::spawn_blocking(move || archive::examine_file(&file)).await;
    spinner.finish_and_clear();
    let contents = examined.context("reading the archive")??;
    if let Some(platform) = contents.platform.filter(|platform| platform != PLATFORM) {
        bail!("{} is an image for {platform}; CML runs {PLATFORM}: get the image for that", path.display());
    }
    refuse_empty(contents.layers, &path.display().to_string())?;
    let candidate = Candidate::of(engine, &contents.image_id);
    let name = candidate.name.clone();
    let file = path.to_owned();
    let spinner = session.ui.spinner(format!("loading {}", path.display()));
    let loaded = engine.load(path, move || archive::open(&file), &name).await;
    spinner.finish_and_clear();
    let tag = contents.tags.into_iter().next().unwrap_or_default();
    loaded.map(|()| Found {
        name,
        _candidate: Some(candidate),
        image_id: contents.image_id,
        archive: Some(path.to_owned()),
        tag,
    })
}

async fn make(
    session: &Session<'_>,
    engine: &Engine,
    node: &Name,
    args: &ImageArgs,
    wishes: &Wishes,
    found: &Found<'_>,
) -> Result<()> {
    let said = engine.said_by(&found.name).await?;
    let measured = measure(session, engine, args, wishes, &said, &found.name).await?;
    ensure!(
        args.console != Some(Console::Sh) || measured.shell.is_some(),
        "the image has no shell for a second console: leave out --console"
    );
    let proposal = propose(&said, &measured, wishes);
    let place = place(session, args, found, &said);
    let mut written = Written { tree: &session.repository.tree, paths: Vec::new() };
    let made = match write(session, node, &proposal, found, &place, &mut written.paths) {
        Ok(()) => take(session, node, args).await,
        failed => failed,
    };
    made.with_context(|| format!("the node {node} cannot be made, and nothing of it was kept"))?;
    for path in written.keep() {
        session.ui.result(path.display())?;
    }
    tell(session, node, &remarks(&said, &measured, &proposal), &place);
    Ok(())
}

/// The files of a node that is not complete yet. They are removed when this is dropped, also because of Ctrl-C.
struct Written<'a> {
    tree: &'a Tree,
    paths: Vec<PathBuf>,
}

impl Written<'_> {
    /// The node is complete.
    fn keep(mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.paths)
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        for path in &self.paths {
            // Nobody is left to whom an error could be reported; `new` itself names a file that is there.
            let _ = self.tree.remove_with_folders(path);
        }
    }
}

/// Runs the image, and shows why if that is not possible.
async fn measure(
    session: &Session<'_>,
    engine: &Engine,
    args: &ImageArgs,
    wishes: &Wishes,
    said: &Said,
    image: &str,
) -> Result<Measured> {
    let helper = helper_image(session, consent(args.yes)).await?;
    session.ui.headline(format_args!("running {} for a trial", text::excerpt(&args.image, 200)));
    let trial = Container::read(&texts::trial(&wishes.node, &before_running(said, wishes)), "the trial run")?;
    let lab = Lab::open(engine, session.ui, &session.cache, &helper, HostAccess::Refused).await?;
    let text = wishes.ready.clone().map(|text| (text, Duration::from_secs(wishes.timeout.into())));
    let needs_shell = args.console == Some(Console::Sh);
    let measuring = Measuring { interfaces: wishes.interfaces, text, needs_shell };
    let measured = lab.measure(trial, image, &measuring).await;
    let closed = lab.close().await;
    if let (Err(left), Err(_)) = (&closed, &measured) {
        // Why the trial ended says more.
        session.ui.warn(format_args!("{left:#}"));
    }
    let measured = measured.map_err(|error| {
        let advice = advice(&error);
        error.context(advice)
    })?;
    closed.map(|_| measured)
}

/// What a failed trial run means.
fn advice(error: &anyhow::Error) -> &'static str {
    if error.downcast_ref::<Refused>().is_some_and(|refused| refused.is_of_image) {
        return "the image itself is at fault, and no option of `new` changes that (correct it where it is made; or \
                in a Dockerfile that begins with `FROM` it: `cargo xtask new` without --image)";
    }
    "the image does not run by itself (--env KEY=VALUE sets a variable that it needs; an image that needs arguments \
     or files needs a Dockerfile: `cargo xtask new` without --image)"
}

/// Where another clone of the repository can have the image.
fn place(session: &Session<'_>, args: &ImageArgs, found: &Found<'_>, said: &Said) -> Place {
    if let Some(archive) = &found.archive {
        let inner = archive.strip_prefix(&session.repository.root).ok().and_then(Path::to_str).map(str::to_owned);
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        return Some(("archive", inner.unwrap_or_else(|| format!("{ARCHIVES}/{name}"))));
    }
    let name = args.image.split('@').next().unwrap_or_default();
    let short = archive::shortened(without_tag(name));
    let mut digests = said.registry_digests.iter().filter_map(|pinned| pinned.split_once('@'));
    let (_, digest) = digests.find(|(repository, _)| archive::shortened(repository) == short)?;
    let reference = format!("{name}@{digest}");
    let is_valid = catalog::prebuilt::Reference::try_from(reference.clone()).is_ok();
    is_valid.then_some(("registry", reference))
}

/// Writes the files of the node, and notes which.
fn write(
    session: &Session<'_>,
    node: &Name,
    proposal: &Proposal,
    found: &Found<'_>,
    place: &Place,
    written: &mut Vec<PathBuf>,
) -> Result<()> {
    let (root, tree) = (&session.repository.root, &session.repository.tree);
    let texts = [
        (format!("docker/{node}/node.yaml"), texts::manifest(node.as_str(), proposal, &found.image_id, place)),
        (format!("node-definitions/{node}.yaml"), texts::template(node.as_str(), proposal)),
    ];
    for (inner, text) in texts {
        tree.write(root.join(&inner), 0o644, text)?;
        written.push(root.join(inner));
    }
    let Some((archive, ("archive", inner))) = found.archive.as_ref().zip(place.as_ref().map(|(k, v)| (*k, v))) else {
        return Ok(());
    };
    let target = root.join(inner);
    if target == *archive {
        return Ok(());
    }
    let ignore = root.join(ARCHIVES).join(".gitignore");
    if tree.kind(&ignore)?.is_none() {
        tree.write(&ignore, 0o644, IGNORE)?;
    }
    if tree.kind(&target)?.is_none() {
        copy(session, archive, &target)?;
        written.push(target);
    } else {
        let there = archive::examine(archive::unpacked(std::io::BufReader::new(tree.open(&target)?))?)?;
        ensure!(
            there.image_id == found.image_id,
            "{} is there already, and holds another image: rename your archive",
            target.display()
        );
    }
    Ok(())
}

/// Copies the archive into the repository, where every clone looks for it.
fn copy(session: &Session<'_>, from: &Path, to: &Path) -> Result<()> {
    let copied = || -> Result<()> {
        let mut draft = session.repository.tree.draft(to, 0o644)?;
        let (tree, path) = Tree::around(from)?;
        std::io::copy(&mut tree.open(path)?, &mut draft)?;
        draft.flush()?;
        files::publish(draft, to)
    };
    copied().with_context(|| format!("could not copy {} to {}", from.display(), to.display()))
}

/// Takes the image as every later command does. The program must be able to read what it wrote.
async fn take(session: &Session<'_>, node: &Name, args: &ImageArgs) -> Result<()> {
    let fresh = session.elsewhere(session.ui, &session.repository.root, &session.dist.root)?;
    let recipe = RecipeArgs { yes: args.yes, ..RecipeArgs::default() };
    Inspected::up_to_date(&fresh, &NodeArgs { recipe, ..NodeArgs::of(node.as_str()) }).await.map(drop)
}

fn tell(session: &Session<'_>, node: &Name, remarks: &[String], place: &Place) {
    let ui = session.ui;
    ui.note(format_args!("created the node {node}:"));
    for remark in remarks {
        let width = if ui.is_terminal() { WIDTH } else { usize::MAX };
        text::wrapped(&format!("  {remark}"), width).iter().for_each(|line| ui.note(line));
    }
    match place {
        Some(("archive", inner)) => {
            ui.note(format_args!("  its archive is {inner}, which git ignores: another clone needs that file, too"));
        }
        Some(_) => {}
        None => ui.warn(format_args!(
            "the image is in this engine alone: for other machines, write it to a file in the repository (`docker \
             save`) and set `archive` in docker/{node}/node.yaml, or push it to a registry"
        )),
    }
    ui.note("Next:");
    ui.note(format_args!("  edit node-definitions/{node}.yaml and docker/{node}/node.yaml, if you want to"));
    ui.note(format_args!("  run `cargo xtask save {node}`, which writes the files for CML to dist/"));
    ui.note(format_args!("  run `cargo xtask verify {node}`, which boots it as CML does"));
    ui.note("  run `cargo xtask lint`, which checks its definitions");
}
