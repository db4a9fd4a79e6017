//! Arguments that several commands take.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use clap::ValueEnum;

use crate::setup::Consent;
use catalog::Overrides;

/// Which node, and how it is to differ from its manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct NodeArgs {
    /// The node, a folder of docker/ [default: frr]
    pub node: Option<String>,
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

/// How a node is to differ from its manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct RecipeArgs {
    /// The variant [default: the first of the manifest that can be built here]
    #[arg(long)]
    pub variant: Option<String>,
    /// The version instead of the manifest's, such as 10.7
    #[arg(long)]
    pub version: Option<String>,
    /// Where to take the source code: a git checkout, a bare repository, a git URL or a tarball
    #[arg(long, value_name = "PATH[#REF]")]
    pub source: Option<String>,
    /// The base image instead of the manifest's
    #[arg(long, value_name = "IMAGE")]
    pub base: Option<String>,
    /// A build argument for the Dockerfile
    #[arg(long = "build-arg", value_name = "KEY=VALUE", value_parser = key_value)]
    pub build_args: Vec<(String, String)>,
    /// Set a switch of the manifest: vrf, or vrf=no
    #[arg(long = "switch", value_name = "NAME[=yes|no]", value_parser = switch)]
    pub switches: Vec<(String, bool)>,
    /// Definitions for CML 2.9 or 2.10 [default: as the manifest says; for `upload`, as the server needs]
    #[arg(long = "for", value_name = "CML", hide_possible_values = true)]
    pub form: Option<CmlVersion>,
    /// The platform of the image [default: linux/amd64, CML's own]
    #[arg(long)]
    pub platform: Option<String>,
    /// Fetch git sources again, even if a pinned commit has been fetched
    #[arg(long)]
    pub refresh: bool,
    /// Build without any cache
    #[arg(long)]
    pub no_cache: bool,
    /// Install and start what is missing on this machine, without asking
    #[arg(long, short)]
    pub yes: bool,
}

/// The versions of CML for which definitions can differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CmlVersion {
    /// Each version of a node has a node definition of its own
    #[value(name = "2.9")]
    V2_9,
    /// Versions share a node definition, if the manifest names one
    #[value(name = "2.10")]
    V2_10,
}

impl NodeArgs {
    /// The node with that name, as in its manifest.
    pub(crate) fn of(node: &str) -> Self {
        Self { node: Some(node.to_owned()), ..Self::default() }
    }
}

impl RecipeArgs {
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            version: self.version.clone(),
            source: self.source.clone(),
            base: self.base.clone(),
            build_args: self.build_args.iter().cloned().collect::<BTreeMap<_, _>>(),
            platform: self.platform.clone(),
            switches: self.switches.iter().cloned().collect(),
            refresh: self.refresh,
        }
    }

    pub(crate) fn consent(&self) -> Consent {
        consent(self.yes)
    }
}

pub(crate) fn consent(yes: bool) -> Consent {
    if yes { Consent::Given } else { Consent::Ask }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it must be KEY=VALUE".to_owned()),
    }
}

/// A parser of whole numbers in a range.
pub(crate) fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: Clone + Display + FromStr + PartialOrd,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A name that engines accept for a container.
pub(crate) fn container_name(text: &str) -> Result<String, String> {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if is_plain && text.len() > 1 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err("expected at least two of a-z, A-Z, 0-9, `_`, `.` and `-`, of which the first is a letter or digit".to_owned())
}

pub(crate) fn switch(text: &str) -> Result<(String, bool), String> {
    match text.split_once('=').unwrap_or((text, "yes")) {
        (name, "yes" | "true" | "on") => Ok((name.to_owned(), true)),
        (name, "no" | "false" | "off") => Ok((name.to_owned(), false)),
        _ => Err("it must be NAME, NAME=yes or NAME=no".to_owned()),
    }
}
