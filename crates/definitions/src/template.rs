//! Templates, and what they render to.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use serde::Serialize;
use tera::{Kwargs, State, Tera, Value};

use crate::document::Document;
use crate::origin::Origin;
use crate::yaml::Mark;
use digests::Digest;
use files::{Kind, Tree};

/// The largest template has a fraction of this.
const LARGEST: u64 = 1 << 20;

/// What a template can use.
#[derive(Clone, Debug, Serialize)]
pub struct Facts<'a> {
    /// Of the image definition; and of the node definition, unless that is shared.
    pub id: &'a str,
    /// The image's tag.
    pub image: &'a str,
    pub image_id: &'a Digest,
    /// The archive's file name.
    pub archive: &'a str,
    pub node: &'a str,
    pub variant: &'a str,
    pub version: &'a str,
    pub label: &'a str,
    pub title: &'a str,
    pub description: &'a str,
    pub switches: &'a BTreeMap<String, bool>,
    /// The node definition that this image definition shares with those of other versions, if it does.
    #[serde(skip)]
    pub shared: Option<SharedNode<'a>>,
}

/// A node definition that serves every version of a node. CML 2.10 and newer allow that. [docs/cml.md 3]
#[derive(Clone, Copy, Debug)]
pub struct SharedNode<'a> {
    pub id: &'a str,
    pub label: &'a str,
}

/// What differs between the versions of a node, and so cannot be in a node definition that they share.
const OF_ONE_VERSION: [&str; 5] = ["image", "image_id", "archive", "variant", "version"];

impl Facts<'_> {
    /// The id of the node definition.
    pub fn node_id(&self) -> &str {
        self.shared.map_or(self.id, |shared| shared.id)
    }

    fn context(&self) -> tera::TeraResult<tera::Context> {
        let mut context = tera::Context::from_serialize(self)?;
        context.insert("node_id", self.node_id());
        context.insert("shared", &self.shared.is_some());
        Ok(context)
    }

    /// What the template of an image definition can use.
    pub(crate) fn for_image(&self) -> tera::TeraResult<tera::Context> {
        self.context()
    }

    /// What the template of a node definition can use: nothing of one version, if others share it.
    pub(crate) fn for_node(&self) -> tera::TeraResult<tera::Context> {
        let mut context = self.context()?;
        if let Some(SharedNode { id, label }) = self.shared {
            context.insert("id", id);
            context.insert("label", label);
            for name in OF_ONE_VERSION {
                context.remove(name);
            }
        }
        Ok(context)
    }
}

/// A rendered template, which knows the source of each of its lines.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub path: PathBuf,
    pub text: String,
    pub document: Document,
    origin: Origin,
}

impl Rendered {
    /// Replaces the text by one with the same lines, but for single values.
    pub fn set_text(&mut self, text: String) {
        self.document = Document::read(text.as_bytes());
        self.text = text;
    }

    /// The place in a template that a place of the text came from.
    pub fn place(&self, at: Mark) -> (PathBuf, Mark) {
        let (name, line) = self.origin.of_line(at.line);
        // The path of this template is its folder followed by its name.
        let folder = self.path.ancestors().nth(Path::new(&self.origin.template).components().count());
        (folder.unwrap_or(Path::new("")).join(name), Mark { line, column: at.column })
    }

    /// The same, in the form that editors can jump to.
    pub fn show(&self, at: Mark) -> String {
        let (path, at) = self.place(at);
        format!("{}:{at}", path.display())
    }
}

/// All templates of a folder, so that they can include each other.
pub(crate) struct Templates {
    tera: Tera,
    folder: PathBuf,
    sources: HashMap<String, String>,
}

impl Templates {
    /// The templates in a folder of `tree`.
    pub fn load(tree: &Tree, folder: &Path) -> Result<Self> {
        let mut sources = HashMap::new();
        read_templates(tree, folder, folder, &mut sources)?;
        let mut tera = templates::engine();
        tera.register_filter("json", json);
        let named = sources.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        tera.add_raw_templates(named.collect::<Vec<_>>()).map_err(|error| located(folder, folder, &sources, &error))?;
        Ok(Self { tera, folder: folder.to_owned(), sources })
    }

    pub fn render(&self, name: &str, context: tera::TeraResult<tera::Context>) -> Result<Rendered> {
        let path = self.folder.join(name);
        anyhow::ensure!(self.sources.contains_key(name), "there is no template {}", path.display());
        let text = context.and_then(|context| templates::render(&self.tera, name, &context));
        let text = text.map_err(|error| located(&path, &self.folder, &self.sources, &error))?;
        let origin = Origin::new(&self.sources, name, &text);
        let document = Document::read(text.as_bytes());
        Ok(Rendered { path, text, document, origin })
    }
}

/// Tera's error, with its line and its place in the form that editors can jump to. `of` is what was read or rendered.
fn located(of: &Path, folder: &Path, sources: &HashMap<String, String>, error: &tera::Error) -> anyhow::Error {
    use tera::ErrorKind::{RenderingError, SyntaxError};
    match error.kind() {
        SyntaxError(report) | RenderingError(report) => {
            let (path, line, column) =
                (folder.join(report.filename()), report.span().start_line, report.span().start_col + 1);
            let source = sources.get(report.filename()).and_then(|text| text.lines().nth(line.saturating_sub(1)));
            let source = source.unwrap_or_default().trim();
            anyhow!("{}:{line}:{column}: {}\n  {source}", path.display(), report.message())
        }
        _ => anyhow!("{}: {error}", of.display()),
    }
}

/// `{{ text | json }}`: quoted so that it is one scalar in YAML as in JSON.
#[expect(clippy::needless_pass_by_value, reason = "Tera's signature of a filter")]
fn json(value: Value, _: Kwargs, _: &State<'_>) -> tera::TeraResult<String> {
    if value.is_undefined() {
        return Err(tera::Error::message("`json` got a variable that does not exist"));
    }
    serde_json::to_string(&value).map_err(|error| tera::Error::message(error.to_string()))
}

fn read_templates(tree: &Tree, root: &Path, folder: &Path, into: &mut HashMap<String, String>) -> Result<()> {
    for (name, kind) in tree.entries(folder)? {
        let path = folder.join(name);
        tree.refuse_links(&path)?;
        if kind == Kind::Folder {
            read_templates(tree, root, &path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let name = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            into.insert(name, tree.read_to_string(&path, LARGEST)?);
        }
    }
    Ok(())
}
