//! The base image: from the engine, from its registry, or bootstrapped from the distribution's archive if the registry
//! is out of reach.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;
use tokio_util::io::ReaderStream;
use xshell::{Shell, cmd};

use crate::engine::handle::Engine;
use crate::engine::images::store::{BOOTSTRAPPED, Image};
use crate::engine::images::transports::refuse_places;
use catalog::manifest::Bootstrap;
use catalog::{Repository, labels};
use digests::Digest;
use ui::Ui;

/// To be raised when bootstrapping makes something else from the same data.
const FORMAT: u32 = 1;

/// Files that a container never reads, apart from documentation; Debian's own slim images leave the same out.
const UNREAD: [&str; 4] = ["/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*"];
/// The same, but for the licences.
const DOCUMENTATION: [&str; 2] = ["path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright"];

/// Where a base will come from.
pub struct Origin {
    /// The name to use in `FROM`.
    image: String,
    /// For people: which base, and where it comes from.
    pub description: String,
    /// Whether it must be fetched from its registry.
    remote: bool,
    /// Set if the engine cannot use it before it was bootstrapped.
    bootstrap: Option<Bootstrap>,
}

/// Where the base can be had; nothing is fetched. The error says what was tried.
pub async fn find(
    engine: &Engine,
    repository: &Repository,
    base: &str,
    bootstrap: Option<&Bootstrap>,
) -> Result<Origin> {
    let ready = |image: &str, from: &str| {
        let (image, description) = (image.to_owned(), format!("base {image}{from}"));
        Ok(Origin { image, description, remote: false, bootstrap: None })
    };
    if base == "scratch" {
        return ready(base, " from the engine");
    }
    if !engine.abilities.confines_builds {
        refuse_places(base)?;
    }
    if let Some(found) = engine.image(base).await? {
        refuse_nodes_of_others(&found, base, repository)?;
        return ready(base, " from the engine");
    }
    let unreachable = match engine.probe_registry(base).await {
        Ok(()) => return ready(base, " from its registry").map(|origin| Origin { remote: true, ..origin }),
        Err(error) => error,
    };
    let Some(bootstrap) = bootstrap else {
        bail!("its base {base} is not in the engine, and {unreachable:#}");
    };
    // One of this project's names, never the distribution's own.
    let image = format!("{BOOTSTRAPPED}:{}", bootstrap.suite);
    if engine.image(&image).await?.is_some_and(|found| is_bootstrapped(&found.labels, bootstrap)) {
        return ready(&image, ", bootstrapped before");
    }
    if tool().is_none() {
        bail!(
            "its base {base} is not in the engine, {unreachable:#}, and neither mmdebstrap nor debootstrap is \
             installed to make one (`cargo xtask setup` installs it)"
        );
    }
    let description = format!("base Debian {} bootstrapped from its archive", bootstrap.suite);
    Ok(Origin { image, description, remote: false, bootstrap: Some(bootstrap.clone()) })
}

/// Whether these are the labels of a bootstrapped base, not of a node's image, which inherits those of its base.
fn is_bootstrapped(labels: &BTreeMap<String, String>, bootstrap: &Bootstrap) -> bool {
    let is_same = |made: &String| made == identity(bootstrap).hex();
    labels.get(labels::BASE).is_some_and(is_same) && !labels.contains_key(labels::NODE)
}

/// Refuses an image that was built from a node which does not make this name: it may be a stranger's, who gave it the
/// name of a base that others build on.
fn refuse_nodes_of_others(found: &Image, base: &str, repository: &Repository) -> Result<()> {
    let label = |name| found.labels.get(name).map(String::as_str);
    let Some(node) = label(labels::NODE) else { return Ok(()) };
    anyhow::ensure!(
        repository.makes(base, node, label(labels::VERSION).unwrap_or_default()),
        "the engine's image {base} was built from a node `{}`, and no node of this repository makes that name, so \
         nothing is built on it; remove it, or give it another name first:\n  docker rmi {base}",
        text::excerpt(node, 64)
    );
    Ok(())
}

/// Makes sure that the engine can use the base. Returns the name to use in `FROM`.
pub async fn ensure(engine: &Engine, ui: &Ui, origin: Origin, platform: &str, scratch: &Path) -> Result<String> {
    if origin.remote {
        let spinner = ui.spinner(format!("fetching {}", origin.image));
        let fetched = fetch(engine, &origin.image, platform).await;
        spinner.finish_and_clear();
        fetched?;
    }
    if let Some(bootstrap) = &origin.bootstrap {
        let tarball = scratch.join("base.tar");
        let spinner = ui.spinner(format!("bootstrapping Debian {} from its archive", bootstrap.suite));
        let made = make_tarball(ui, bootstrap, platform, &tarball);
        spinner.finish_and_clear();
        made.with_context(|| format!("could not bootstrap Debian {}; is its archive reachable?", bootstrap.suite))?;
        import(engine, &origin.image, bootstrap, platform, &tarball).await?;
        ui.note(format_args!("bootstrapped {}", origin.image));
    }
    Ok(origin.image)
}

/// Fetches an image from its registry. A build would do so by itself, but then nobody could tell which image it was.
pub async fn fetch(engine: &Engine, image: &str, platform: &str) -> Result<()> {
    let is_complete = image.rsplit('/').next().is_some_and(|name| name.contains([':', '@']));
    // Without a tag, Docker would fetch every tag there is.
    let name = if is_complete { image.to_owned() } else { format!("{image}:latest") };
    let options = CreateImageOptionsBuilder::default().from_image(&name).platform(platform).build();
    let answers = engine.docker.create_image(Some(options), None, None);
    answers.try_for_each(|_| async { Ok(()) }).await.with_context(|| format!("the engine could not fetch {image}"))
}

fn packages(bootstrap: &Bootstrap) -> String {
    bootstrap.packages.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(",")
}

fn identity(bootstrap: &Bootstrap) -> Digest {
    Digest::of(format!("{FORMAT} {} {}", bootstrap.suite, packages(bootstrap)))
}

fn tool() -> Option<&'static str> {
    ["mmdebstrap", "debootstrap"].into_iter().find(|tool| crate::machine::is_installed(tool))
}

fn make_tarball(ui: &Ui, bootstrap: &Bootstrap, platform: &str, tarball: &Path) -> Result<()> {
    // linux/amd64 → amd64: Debian and Docker agree on this name for every CPU that CML knows.
    let cpu = platform.split('/').nth(1).unwrap_or(platform);
    let suite = bootstrap.suite.as_str();
    let include = (!bootstrap.packages.is_empty()).then(|| format!("--include={}", packages(bootstrap)));
    let sh = Shell::new()?;
    match tool() {
        Some("mmdebstrap") => {
            let unread = UNREAD.iter().map(|path| format!("--dpkgopt=path-exclude={path}"));
            let documentation = DOCUMENTATION.map(|option| format!("--dpkgopt={option}"));
            let options = ["--variant=minbase".to_owned(), format!("--arch={cpu}")].into_iter().chain(unread);
            process::read(ui, cmd!(sh, "mmdebstrap {options...} {documentation...} {include...} {suite} {tarball}"))
                .map(drop)
        }
        Some(_) => debootstrap(ui, &sh, cpu, include, suite, tarball),
        None => bail!("neither mmdebstrap nor debootstrap is installed"),
    }
}

/// debootstrap makes a folder, not an archive, and needs root. Documentation stays, since tar could not tell licences
/// from the rest of it; the nodes' own builds leave it out.
fn debootstrap(ui: &Ui, sh: &Shell, cpu: &str, include: Option<String>, suite: &str, tarball: &Path) -> Result<()> {
    let root = crate::machine::run_as_root()?;
    let folder = tarball.with_extension("root");
    let unread = UNREAD.map(|path| format!("--exclude=.{path}"));
    let lists = ["--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*_*"];
    let make = cmd!(sh, "{root} debootstrap --variant=minbase --arch={cpu} {include...} {suite} {folder}");
    let pack = cmd!(sh, "{root} tar --numeric-owner {unread...} {lists...} -C {folder} -cf {tarball} .");
    let made = process::read(ui, make).and_then(|_| process::read(ui, pack));
    process::read(ui, cmd!(sh, "{root} rm -rf --one-file-system {folder}"))?;
    made.map(drop)
}

async fn import(engine: &Engine, image: &str, bootstrap: &Bootstrap, platform: &str, tarball: &Path) -> Result<()> {
    let change = format!("LABEL {}={}", labels::BASE, identity(bootstrap));
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        // With its tag, and a single change: see `quirks.rs`.
        .repo(image)
        .platform(platform)
        .changes(vec![change])
        .build();
    let file = tokio::fs::File::open(tarball).await.context("reading the bootstrapped system")?;
    let body = bollard::body_try_stream(ReaderStream::with_capacity(file, 1 << 16));
    let answers = engine.docker.create_image(Some(options), Some(body), None);
    answers.try_for_each(|_| async { Ok(()) }).await.with_context(|| format!("importing {image} into the engine"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use catalog::names::Name;

    #[test]
    fn what_a_node_made_of_a_bootstrapped_base_is_no_bootstrapped_base() {
        let bootstrap = Bootstrap { suite: Name::try_from("trixie".to_owned()).unwrap(), packages: Vec::new() };
        let mut labels = BTreeMap::from([(labels::BASE.to_owned(), identity(&bootstrap).hex().to_owned())]);
        assert!(is_bootstrapped(&labels, &bootstrap));
        labels.insert(labels::NODE.to_owned(), "any".to_owned());
        assert!(!is_bootstrapped(&labels, &bootstrap));
    }
}
