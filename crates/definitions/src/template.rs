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

/// An error of rendering a node definition that versions share, with the reason if it uses what they do not.
pub(crate) fn explained(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    // The actions in the line of the template, with which the message ends.
    let actions = text.split("{{").flat_map(|text| text.split("{%")).skip(1);
    let actions = actions.map(|text| text.find("}}").or_else(|| text.find("%}")).map_or(text, |end| &text[..end]));
    let mut words = actions.flat_map(|action| action.split(|c: char| !c.is_alphanumeric() && c != '_'));
    let Some(name) = words.find(|word| OF_ONE_VERSION.contains(word)) else { return error };
    anyhow!(
        "{text}\n  `{name}` differs between the versions that share this node definition (`shared_node`): \
         put what needs it between {{% if not shared %}} and {{% endif %}}"
    )
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

/// A template, with those of its folder that it includes. A mistake in any other stops nothing.
pub(crate) struct Templates {
    tera: Tera,
    path: PathBuf,
    name: String,
    folder: PathBuf,
    sources: HashMap<String, String>,
}

impl Templates {
    /// The template of that name in a folder of `tree`, and what it includes.
    pub fn load(tree: &Tree, folder: &Path, name: &str) -> Result<Self> {
        let (mut names, path) = (Vec::new(), folder.join(name));
        find_templates(tree, folder, folder, &mut names)?;
        anyhow::ensure!(names.iter().any(|other| other == name), "there is no template {}", path.display());
        let sources = read_with_included(tree, folder, name, &names)?;
        let mut tera = templates::engine();
        tera.register_filter("json", json);
        let named = sources.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        tera.add_raw_templates(named.collect::<Vec<_>>()).map_err(|error| located(&path, folder, &sources, &error))?;
        Ok(Self { tera, path, name: name.to_owned(), folder: folder.to_owned(), sources })
    }

    pub fn render(self, context: tera::TeraResult<tera::Context>) -> Result<Rendered> {
        let Self { tera, path, name, folder, sources } = self;
        let text = context.and_then(|context| templates::render(&tera, &name, &context));
        let text = text.map_err(|error| located(&path, &folder, &sources, &error))?;
        let origin = Origin::new(&sources, &name, &text);
        let document = Document::read(text.as_bytes());
        Ok(Rendered { path, text, document, origin })
    }
}

/// Tera's error, with its line and its place in the form that editors can jump to. `of` is what was read or rendered.
fn located(of: &Path, folder: &Path, sources: &HashMap<String, String>, error: &tera::Error) -> anyhow::Error {
    let Some(Wrong { template, line, column, message }) = Wrong::of(sources, error) else {
        return anyhow!("{}: {error}", of.display());
    };
    let source = sources.get(&template).and_then(|text| text.lines().nth(line.saturating_sub(1)));
    let (path, source) = (folder.join(template), source.unwrap_or_default().trim());
    anyhow!("{}:{line}:{column}: {message}\n  {source}", path.display())
}

/// What is wrong in a template.
struct Wrong {
    template: String,
    line: usize,
    column: usize,
    message: String,
}

impl Wrong {
    /// Nothing if Tera does not tell the place.
    fn of(sources: &HashMap<String, String>, error: &tera::Error) -> Option<Self> {
        use tera::ErrorKind::{CircularInclude, MissingParent, Msg, RenderingError, SyntaxError};
        match error.kind() {
            SyntaxError(report) | RenderingError(report) => Some(Self {
                template: report.filename().to_owned(),
                line: report.span().start_line,
                column: report.span().start_col + 1,
                message: report.message().to_owned(),
            }),
            CircularInclude { tpl, include_chain } => {
                let next = include_chain.get(1)?;
                Self::at_name(sources, tpl, next, format!("it includes itself: {}", include_chain.join(", ")))
            }
            MissingParent { current, parent } => {
                Self::at_name(sources, current, parent, format!("Unknown template `{parent}`"))
            }
            Msg(report) => Self::first_of_report(report),
            _ => None,
        }
    }

    /// The place in a template where it names another one.
    fn at_name(sources: &HashMap<String, String>, template: &str, name: &str, message: String) -> Option<Self> {
        let mut lines = sources.get(template)?.lines().enumerate();
        let (line, column) = lines.find_map(|(index, line)| Some((index + 1, line.find(name)?)))?;
        Some(Self { template: template.to_owned(), line, column, message })
    }

    /// Of filters, functions and included files that do not exist Tera has a text alone, for all of them.
    fn first_of_report(report: &str) -> Option<Self> {
        let (message, place) = report.strip_prefix("error: ")?.split_once('\n')?;
        let (place, _) = place.trim_start().strip_prefix("--> ")?.split_once('\n')?;
        let mut parts = place.rsplitn(3, ':');
        let (column, line, template) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        Some(Self { template: template.to_owned(), line, column, message: message.to_owned() })
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

/// The names of all templates in a folder, which may include each other.
fn find_templates(tree: &Tree, root: &Path, folder: &Path, into: &mut Vec<String>) -> Result<()> {
    for (name, kind) in tree.entries(folder)? {
        let path = folder.join(name);
        tree.refuse_links(&path)?;
        if kind == Kind::Folder {
            find_templates(tree, root, &path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            into.push(path.strip_prefix(root)?.to_string_lossy().replace('\\', "/"));
        }
    }
    Ok(())
}

/// A template and every one that it names, which those are that it can include.
fn read_with_included(tree: &Tree, folder: &Path, name: &str, all: &[String]) -> Result<HashMap<String, String>> {
    let (mut sources, mut wanted) = (HashMap::new(), vec![name]);
    while let Some(name) = wanted.pop() {
        if sources.contains_key(name) {
            continue;
        }
        let text = tree.read_to_string(folder.join(name), LARGEST)?;
        let names =
            |other: &&String| ['"', '\'', '`'].iter().any(|quote| text.contains(&format!("{quote}{other}{quote}")));
        wanted.extend(all.iter().filter(names).map(String::as_str));
        sources.insert(name.to_owned(), text);
    }
    Ok(sources)
}
