//! The options of `new NODE --image …`, checked before anything is fetched or run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::commands::WrongUsage;
use crate::commands::any_image::proposal::{self, LONGEST_LABEL, LONGEST_TEXT, Wishes};
use crate::commands::any_image::texts::check_line;
use crate::commands::args::number;
use crate::engine::images::transports::refuse_places;
use catalog::image_name::is_reference;
use catalog::names::Name;
use definitions::container::MOST_INTERFACES;
use files::{Kind, Tree};

/// A node whose image is taken as it is.
#[derive(Clone, Debug, clap::Args)]
#[group(requires = "image")]
pub struct ImageArgs {
    /// Take this image as it is: a name, or an archive that `docker save` wrote
    #[arg(long, value_name = "IMAGE|FILE", required = false, value_parser = image)]
    pub image: String,
    /// What CML's palette calls it
    #[arg(long, value_name = "TEXT", value_parser = label)]
    pub label: Option<String>,
    /// How many interfaces it has [default: 4]
    #[arg(long, value_name = "COUNT", value_parser = number(1..=MOST_INTERFACES))]
    pub interfaces: Option<usize>,
    /// The second console [default: a shell, if the image has one]
    #[arg(long, value_enum)]
    pub console: Option<Console>,
    /// The text on its console that means that it is booted
    #[arg(long, value_name = "TEXT", value_parser = ready)]
    pub ready: Option<String>,
    /// How many seconds it may take to boot [default: 120]
    #[arg(long, value_name = "SECONDS", value_parser = number(1..=86_400_u32))]
    pub timeout: Option<u32>,
    /// A variable that it needs
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    pub env: Vec<String>,
    /// Install and start what is missing on this machine, without asking
    #[arg(long, short)]
    pub yes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Console {
    /// A shell of the image
    Sh,
    /// No second console
    None,
}

/// What `--image` names.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    /// An archive, by its absolute path without links.
    Archive(PathBuf),
    /// An image of the engine or a registry.
    Image(String),
}

fn image(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("expected the name of an image, or an archive that `docker save` wrote".to_owned());
    }
    Ok(text.to_owned())
}

fn label(text: &str) -> Result<String, String> {
    check_line(text, LONGEST_LABEL).map_err(|why| format!("{why}, which is what CML's palette shows"))?;
    if text.trim() != text {
        return Err("it begins or ends with a space".to_owned());
    }
    match ["{{", "{%", "{#"].iter().find(|&&begin| text.contains(begin)) {
        Some(begin) => Err(format!("it contains `{begin}`, which begins a pattern in the manifest")),
        None => Ok(text.to_owned()),
    }
}

fn ready(text: &str) -> Result<String, String> {
    check_line(text, LONGEST_TEXT)?;
    if text.trim().is_empty() {
        return Err("each console shows spaces: name a text that the image prints when it is ready".to_owned());
    }
    Ok(text.to_owned())
}

fn variable(text: &str) -> Result<String, String> {
    check_line(text, 1000)?;
    if text.contains("{{") {
        return Err("it contains `{{`, which begins a pattern in the node definition".to_owned());
    }
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("it must be KEY=VALUE".to_owned()),
    }
}

/// What the user wants of the node.
///
/// # Errors
/// If a variable is set twice.
pub fn wishes(node: &Name, args: &ImageArgs) -> Result<Wishes> {
    let mut keys = BTreeSet::new();
    for variable in &args.env {
        let key = variable.split('=').next().unwrap_or_default();
        if !keys.insert(key) {
            let why = anyhow!("--env sets `{}` twice: give it one value", text::excerpt(key, 100));
            return Err(WrongUsage(why).into());
        }
    }
    Ok(Wishes {
        image: String::new(),
        node: node.to_string(),
        label: args.label.clone(),
        ready: args.ready.clone(),
        without_shell: args.console == Some(Console::None),
        env: args.env.clone(),
        timeout: args.timeout.unwrap_or(proposal::TIMEOUT),
        interfaces: args.interfaces.unwrap_or(4).min(MOST_INTERFACES),
    })
}

/// What `--image` names: the archive that is there, else an image. A symbolic link to an archive is followed, since the
/// user names it on the command line.
///
/// # Errors
/// If it can be neither; with the path that was looked at.
pub fn named(image: &str) -> Result<Named> {
    let looks_like_a_file = image.ends_with(".tar") || image.ends_with(".gz") || image.starts_with(['/', '.', '~']);
    let path = std::path::absolute(image).with_context(|| format!("cannot read {image}"))?;
    let wrong = |why: &str| Err(WrongUsage(anyhow!("--image: {} {why}", path.display())).into());
    let real = path.canonicalize();
    let kind = real.as_ref().ok().and_then(|real| Tree::at(parent(real)).kind(real).ok().flatten());
    match (kind, real) {
        (Some(Kind::File), Ok(real)) => Ok(Named::Archive(real)),
        (Some(Kind::Folder), _) if looks_like_a_file => {
            wrong("is a folder: name the archive in it (what `docker save` wrote)")
        }
        (Some(Kind::Special), _) => {
            wrong("is a pipe or a device, which can be read once at most: save the archive to a file first")
        }
        (_, Err(error)) if looks_like_a_file && error.kind() != std::io::ErrorKind::NotFound => {
            wrong(&format!("cannot be read: {error}"))
        }
        _ if looks_like_a_file => wrong("is not there: check the name of the archive"),
        _ => name(image),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn name(image: &str) -> Result<Named> {
    if !is_reference(image) {
        let shown = text::excerpt(image, 200);
        let why = anyhow!(
            "--image: `{shown}` cannot be the name of an image, [registry/]name[:tag][@digest] with a name of a-z, 0-9 \
             and `.`, `_`, `-` between them; and there is no file with that name here"
        );
        return Err(WrongUsage(why).into());
    }
    refuse_places(image).map_err(WrongUsage)?;
    Ok(Named::Image(image.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_written_as_it_is_is_refused_with_the_reason() {
        for text in [r#"A "label" \"#, "50% off: #1", "'ü'"] {
            assert_eq!(label(text).unwrap(), text);
        }
        for (text, why) in [
            ("", "1 to 26"),
            ("x\ny", "not one line"),
            ("a {{ id }}", "begins a pattern"),
            (" a", "a space"),
            ("a label that CML would cut off", "palette"),
        ] {
            let error = label(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(ready("").is_err() && ready("  ").is_err() && ready("a \"b\"").is_ok());
        assert!(variable("FOO").is_err() && variable("=x").is_err() && variable("A={{ b }}").is_err());
        assert!(variable("A=").is_ok() && variable("A=b=c").is_ok());
        assert!(image("").is_err());
    }

    #[test]
    fn an_archive_is_found_behind_a_link_and_whatever_else_is_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(at("My image.tar"), "x").unwrap();
        std::os::unix::fs::symlink("My image.tar", at("link")).unwrap();
        std::os::unix::fs::symlink("nothing", at("dangling.tar")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let archive = folder.path().canonicalize().unwrap().join("My image.tar");
        for name in ["My image.tar", "link"] {
            assert_eq!(named(&at(name)).unwrap(), Named::Archive(archive.clone()), "{name}");
        }
        for (path, why) in [
            (at("."), "is a folder"),
            (at("fifo"), "is a pipe"),
            (at("missing.tar"), "missing.tar is not there"),
            (at("dangling.tar"), "is not there"),
            (at("link/x"), "cannot be read"),
            ("missing.tar.gz".to_owned(), "/missing.tar.gz is not there"),
            ("Nginx:1".to_owned(), "cannot be the name of an image"),
            ("oci:x".to_owned(), "is not the name of an image"),
        ] {
            let error = named(&path).unwrap_err();
            assert!(error.to_string().contains(why) && error.is::<WrongUsage>(), "{path}: {error}");
        }
        assert_eq!(named("nginx:1").unwrap(), Named::Image("nginx:1".to_owned()));
    }
}
