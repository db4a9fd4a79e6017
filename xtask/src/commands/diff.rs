//! `cargo xtask diff`: what the next `inspect` or `save` would change in the definitions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use similar::{ChangeTag, TextDiff};

use crate::commands::session::Session;
use crate::commands::variant_definitions::Rendering;
use catalog::{Manifest, Names, Variant};
use definitions::{Definitions, Document, yaml};
use digests::Digest;
use files::Tree;
use ui::Ui;

/// The exit code is 0 with or without a difference.
#[derive(clap::Args)]
pub struct Args {
    /// The node, a folder of docker/ [default: frr]
    node: Option<String>,
    /// Only this variant [default: each that has definitions in dist/]
    #[arg(long)]
    variant: Option<String>,
    /// Set a switch of the manifest: vrf, or vrf=no
    #[arg(long = "switch", value_name = "NAME[=yes|no]", value_parser = crate::commands::args::switch)]
    switches: Vec<(String, bool)>,
    /// Compare with this definition instead of those in dist/
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

const CONTEXT: usize = 3;

pub fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let node = session.repository.node(args.node.as_deref())?;
    let variants = match &args.variant {
        None => node.variants.iter().collect(),
        Some(name) => vec![node.variant(name)?],
    };
    let switches = node.switches_with(&args.switches.into_iter().collect())?;
    let comparison = Comparison { session, node, variants, switches };
    let found = match &args.against {
        Some(file) => Some(comparison.against(file)?),
        None => comparison.with_dist()?,
    };
    if found == Some(false) {
        session.ui.note("no difference");
    }
    Ok(())
}

struct Comparison<'a> {
    session: &'a Session<'a>,
    node: &'a Manifest,
    variants: Vec<&'a Variant>,
    switches: BTreeMap<String, bool>,
}

impl Comparison<'_> {
    /// Compares each variant with dist/. Returns whether there is a difference, or nothing without definitions there.
    fn with_dist(&self) -> Result<Option<bool>> {
        let (dist, ui) = (&self.session.dist, self.session.ui);
        let mut found = None;
        for variant in &self.variants {
            let id = self.id(variant)?;
            let node_id = dist.node_id(&id);
            let paths = [dist.node_definition(&node_id), dist.image_definition(&id)];
            if !paths.iter().any(|path| dist.has_file(path)) {
                continue;
            }
            let old = paths.map(|path| (dist.read(&path).unwrap_or_default(), path));
            let definitions = self.render(variant, &old[1].0, &node_id)?;
            for ((old, path), new) in old.iter().zip([&definitions.node, &definitions.image]) {
                found = Some(show(ui, path, old, new, variant)? || found == Some(true));
            }
        }
        if found.is_none() {
            let node = &self.node.node;
            ui.note(format_args!("dist/ has no definitions of {node} yet; `cargo xtask inspect` writes them"));
        }
        Ok(found)
    }

    /// Compares one file with the definition of its kind. Returns whether there is a difference.
    fn against(&self, file: &Path) -> Result<bool> {
        let (tree, path) = Tree::around(file)?;
        let old = tree.read_to_string(path, yaml::LARGEST as u64)?;
        let document = Document::read(old.as_bytes());
        let id = match (document.as_node(), document.as_image()) {
            (Some(node), _) => node.id.as_ref(),
            (_, Some(image)) => image.id.as_ref(),
            _ => None,
        };
        let has_that_id = |variant: &&&Variant| {
            let own = self.id(variant).ok();
            own.zip(id).is_some_and(|(own, id)| own == id.value)
        };
        let variant = self.variants.iter().find(has_that_id).or(self.variants.first());
        let variant = variant.context("the node has no variant")?;
        let of = document.as_image().map_or(id, |image| image.node_definition_id.as_ref());
        let definitions = self.render(variant, &old, of.map_or("", |id| &id.value))?;
        let new = if document.as_image().is_some() { &definitions.image } else { &definitions.node };
        show(self.session.ui, file, &old, new, variant)
    }

    fn id(&self, variant: &Variant) -> Result<String> {
        Ok(Names::of(self.node, variant, &variant.version)?.id)
    }

    /// The definitions as they would be for the image ID in the image definition `old`, in the form with this node
    /// definition, else in that of the manifest.
    fn render(&self, variant: &Variant, old: &str, node_id: &str) -> Result<Definitions> {
        let document = Document::read(old.as_bytes());
        let stated = document.as_image().and_then(|image| Digest::parse(&image.sha256.as_ref()?.value));
        let image_id = stated.unwrap_or_else(definitions::unknown_image_id);
        let is_own = node_id == self.id(variant)?;
        let shared = self.node.shared_node.as_ref().filter(|_| !is_own);
        Rendering::of(self.node, variant, &self.switches, shared)?.render(&self.session.repository, &image_id)
    }
}

/// Prints the difference. Returns whether there is one.
fn show(ui: &Ui, path: &Path, old: &str, new: &str, variant: &Variant) -> Result<bool> {
    if old == new {
        return Ok(false);
    }
    ui.painted_result("1", format_args!("--- {}", path.display()))?;
    ui.painted_result("1", format_args!("+++ as rendered now, variant {}", variant.name))?;
    let diff = TextDiff::from_lines(old, new);
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        ui.painted_result("36", hunk.header())?;
        for change in hunk.iter_changes() {
            let (sign, colour) = match change.tag() {
                ChangeTag::Delete => ("-", "31"),
                ChangeTag::Insert => ("+", "32"),
                ChangeTag::Equal => (" ", "0"),
            };
            let line = change.value().trim_end_matches(['\r', '\n']);
            ui.painted_result(colour, format_args!("{sign}{line}"))?;
            if change.missing_newline() {
                ui.result("\\ No newline at end of file")?;
            }
        }
    }
    Ok(true)
}
