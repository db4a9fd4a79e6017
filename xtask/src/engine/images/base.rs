//! The base image: from the engine, from its registry, or bootstrapped from the distribution's archive if the registry
//! is out of reach.

use std::path::Path;

use anyhow::{Context, Result, bail};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt;
use tokio_util::io::ReaderStream;
use xshell::{Shell, cmd};

use crate::engine::handle::Engine;
use crate::engine::images::image::{BOOTSTRAPPED, Image};
use catalog::labels;
use catalog::manifest::Bootstrap;
use digests::Digest;
use ui::Ui;

/// To be raised when bootstrapping makes something else from the same data.
const FORMAT: u32 = 1;

/// Files that a container never reads; Debian's own slim images leave the same out.
const UNREAD: [&str; 5] =
    ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*"];

/// Where a base will come from.
pub enum Origin {
    /// The engine has it under this name.
    Engine(String),
    /// The engine has it under this name, since it was bootstrapped.
    Bootstrapped(String),
    /// The engine fetches it during the build.
    Registry(String),
    Bootstrap {
        image: String,
        bootstrap: Bootstrap,
    },
}

impl Origin {
    /// For people: which base, and where it comes from.
    pub fn describe(&self) -> String {
        match self {
            Self::Engine(image) => format!("base {image} from the engine"),
            Self::Bootstrapped(image) => format!("base {image}, bootstrapped before"),
            Self::Registry(image) => format!("base {image} from its registry"),
            Self::Bootstrap { bootstrap, .. } => {
                format!("base Debian {} bootstrapped from its archive", bootstrap.suite)
            }
        }
    }
}

/// Where the base can be had; nothing is fetched. The error says what was tried.
pub async fn find(engine: &Engine, base: &str, bootstrap: Option<&Bootstrap>) -> Result<Origin> {
    if engine.image(base).await?.is_some() || base == "scratch" {
        return Ok(Origin::Engine(base.to_owned()));
    }
    let unreachable = match engine.probe_registry(base).await {
        Ok(()) => return Ok(Origin::Registry(base.to_owned())),
        Err(error) => error,
    };
    let Some(bootstrap) = bootstrap else {
        bail!("its base {base} is not in the engine, and {unreachable:#}");
    };
    let image = own_name(bootstrap);
    let is_same = |found: Image| found.labels.get(labels::BASE).map(String::as_str) == Some(identity(bootstrap).hex());
    if engine.image(&image).await?.is_some_and(is_same) {
        return Ok(Origin::Bootstrapped(image));
    }
    if tool().is_none() {
        bail!(
            "its base {base} is not in the engine, {unreachable:#}, and neither mmdebstrap nor debootstrap is \
             installed to make one (`cargo xtask setup` installs it)"
        );
    }
    Ok(Origin::Bootstrap { image, bootstrap: bootstrap.clone() })
}

/// Makes sure that the engine can use the base. Returns the name to use in `FROM`.
pub async fn ensure(engine: &Engine, ui: &Ui, origin: Origin, platform: &str, scratch: &Path) -> Result<String> {
    match origin {
        Origin::Engine(image) | Origin::Bootstrapped(image) | Origin::Registry(image) => Ok(image),
        Origin::Bootstrap { image, bootstrap } => {
            let tarball = scratch.join("base.tar");
            let spinner = ui.spinner(format!("bootstrapping Debian {} from its archive", bootstrap.suite));
            let made = make_tarball(ui, &bootstrap, platform, &tarball);
            spinner.finish_and_clear();
            made.with_context(|| format!("could not bootstrap Debian {}; is its archive reachable?", bootstrap.suite))?;
            import(engine, &image, &bootstrap, platform, &tarball).await?;
            ui.note(format_args!("bootstrapped {image}"));
            Ok(image)
        }
    }
}

/// The name of a bootstrapped base: one of this project's, never the distribution's own.
fn own_name(bootstrap: &Bootstrap) -> String {
    format!("{BOOTSTRAPPED}:{}", bootstrap.suite)
}

fn identity(bootstrap: &Bootstrap) -> Digest {
    let packages: Vec<&str> = bootstrap.packages.iter().map(|name| name.as_str()).collect();
    Digest::of(format!("{FORMAT} {} {}", bootstrap.suite, packages.join(",")))
}

fn tool() -> Option<&'static str> {
    ["mmdebstrap", "debootstrap"].into_iter().find(|tool| crate::machine::is_installed(tool))
}

fn make_tarball(ui: &Ui, bootstrap: &Bootstrap, platform: &str, tarball: &Path) -> Result<()> {
    // linux/amd64 → amd64: Debian and Docker agree on this name for every CPU that CML knows.
    let cpu = platform.split('/').nth(1).unwrap_or(platform);
    let suite = bootstrap.suite.as_str();
    let packages: Vec<&str> = bootstrap.packages.iter().map(|name| name.as_str()).collect();
    let include = (!packages.is_empty()).then(|| format!("--include={}", packages.join(",")));
    let sh = Shell::new()?;
    match tool() {
        Some("mmdebstrap") => {
            let unread = UNREAD.iter().map(|path| format!("--dpkgopt=path-exclude={path}"));
            let copyright = "--dpkgopt=path-include=/usr/share/doc/*/copyright";
            process::read(
                ui,
                cmd!(
                    sh,
                    "mmdebstrap --variant=minbase --arch={cpu} {unread...} {copyright} {include...} {suite} {tarball}"
                ),
            )?;
        }
        Some(_) => debootstrap(ui, &sh, cpu, include, suite, tarball)?,
        None => bail!("neither mmdebstrap nor debootstrap is installed"),
    }
    Ok(())
}

/// debootstrap makes a folder, not an archive, and needs root.
fn debootstrap(ui: &Ui, sh: &Shell, cpu: &str, include: Option<String>, suite: &str, tarball: &Path) -> Result<()> {
    let root = crate::machine::run_as_root()?;
    let folder = tarball.with_extension("root");
    let unread = UNREAD.map(|path| format!("--exclude=.{path}"));
    let made =
        process::read(ui, cmd!(sh, "{root} debootstrap --variant=minbase --arch={cpu} {include...} {suite} {folder}"))
            .and_then(|_| {
                let lists = ["--exclude=./var/cache/apt/archives/*.deb", "--exclude=./var/lib/apt/lists/*_*"];
                process::read(
                    ui,
                    cmd!(sh, "{root} tar --numeric-owner {unread...} {lists...} -C {folder} -cf {tarball} ."),
                )
            });
    process::read(ui, cmd!(sh, "{root} rm -rf --one-file-system {folder}"))?;
    made.map(drop)
}

async fn import(engine: &Engine, image: &str, bootstrap: &Bootstrap, platform: &str, tarball: &Path) -> Result<()> {
    let change = format!("LABEL {}={}", labels::BASE, identity(bootstrap));
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        // With its tag: Podman ignores the separate parameter.
        .repo(image)
        .platform(platform)
        // A single change: Podman applies only one of several.
        .changes(vec![change])
        .build();
    let file = tokio::fs::File::open(tarball).await.context("reading the bootstrapped system")?;
    let body = bollard::body_try_stream(ReaderStream::with_capacity(file, 1 << 16));
    let answers = engine.docker().create_image(Some(options), Some(body), None);
    answers.try_for_each(|_| async { Ok(()) }).await.with_context(|| format!("importing {image} into the engine"))
}
