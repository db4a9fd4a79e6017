//! From templates to definitions.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use tera::{Kwargs, State, Tera, Value};

use super::check;
use super::finding::Finding;
use super::lint::{self, Document, ImageFile, Subject, Surroundings};
use super::origin::Origin;
use super::yaml::Mark;
use digests::Digest;

/// What a template can use.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
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
}

/// Both definitions, as text.
pub struct Definitions {
    pub node: String,
    pub image: String,
    rendered: [Rendered; 2],
}

impl std::fmt::Debug for Definitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Definitions").field("node", &self.node).field("image", &self.image).finish_non_exhaustive()
    }
}

/// Stands for the image ID in definitions that are rendered before the image exists.
pub fn unknown_image_id() -> Digest {
    Digest::of("not known yet")
}

impl Definitions {
    /// These definitions with an image ID instead of [`unknown_image_id`], with which they were rendered.
    ///
    /// # Errors
    /// If a template uses a part of the image ID only, which cannot be filled in afterwards.
    pub fn with_image_id(mut self, image_id: &Digest) -> Result<Self> {
        let unknown = unknown_image_id();
        let digits = unknown.hex();
        let has_a_part = |text: &str| (0..digits.len() - 8).any(|at| text.contains(&digits[at..at + 8]));
        for (text, rendered) in [&mut self.node, &mut self.image].into_iter().zip(&mut self.rendered) {
            *text = text.replace(digits, image_id.hex());
            let is_whole = !has_a_part(&text.to_lowercase());
            anyhow::ensure!(is_whole, "{}: `image_id` cannot be used in part", rendered.path.display());
            rendered.text.clone_from(text);
        }
        Ok(self)
    }

    /// Judges both, with what is known of the files that the image is made of.
    pub fn lint(&self, image_files: Vec<ImageFile>) -> Vec<Placed> {
        let mut files = Some(image_files);
        let subjects = [0, 1].map(|index| Subject {
            document: Document::read(self.rendered[index].text.as_bytes()),
            around: Surroundings { image_files: files.take(), ..Surroundings::default() },
        });
        let findings = lint::judge(&subjects, &[]);
        let mut placed = Vec::new();
        for ((rendered, subject), findings) in self.rendered.iter().zip(&subjects).zip(findings) {
            placed.extend(findings.into_iter().map(|mut finding| {
                let (file, at) = rendered.place(finding.at);
                finding.at = at;
                Placed { file, kind: subject.document.definition.kind(), finding }
            }));
        }
        placed
    }

    /// The templates of both.
    pub fn templates(&self) -> [&Path; 2] {
        [&self.rendered[0].path, &self.rendered[1].path]
    }
}

/// Renders and checks the two definitions that `facts` describe.
///
/// # Errors
/// With file and line: if a template is wrong, or renders to what is no definition of this node.
pub fn render(repository: &Path, node_template: &str, image_template: &str, facts: &Facts<'_>) -> Result<Definitions> {
    let render = |folder: &str, template: &str| {
        let templates = Templates::load(&repository.join(folder))?;
        templates.render(template, facts)
    };
    let node = render("node-definitions", node_template)?;
    check::node_definition(&node, facts)?;
    let image = render("image-definitions", image_template)?;
    check::image_definition(&image, facts)?;
    Ok(Definitions { node: node.text.clone(), image: image.text.clone(), rendered: [node, image] })
}

/// A rendered template that remembers where it came from.
pub(crate) struct Rendered {
    pub path: PathBuf,
    pub text: String,
    origin: Origin,
}

impl Rendered {
    /// The template's place behind a place of the text.
    pub fn place(&self, at: Mark) -> (PathBuf, Mark) {
        let (name, line) = self.origin.of_line(at.line);
        // The path of this template is that of its folder and its name.
        let folder = self.path.ancestors().nth(Path::new(&self.origin.template).components().count());
        (folder.unwrap_or(Path::new("")).join(name), Mark { line, column: at.column })
    }

    /// The same, in the form that editors can jump to.
    pub fn show(&self, at: Mark) -> String {
        let (path, at) = self.place(at);
        format!("{}:{at}", path.display())
    }
}

/// What was found in a rendered definition, at its place in a template.
#[derive(Clone, Debug)]
pub struct Placed {
    pub file: PathBuf,
    pub kind: &'static str,
    pub finding: Finding,
}

/// All templates of a folder, so that they can include each other.
struct Templates {
    tera: Tera,
    folder: PathBuf,
    sources: HashMap<String, String>,
}

impl Templates {
    fn load(folder: &Path) -> Result<Self> {
        let mut sources = HashMap::new();
        read_templates(folder, folder, &mut sources)?;
        let mut tera = Tera::new();
        tera.autoescape_on(Vec::<String>::new());
        tera.register_filter("json", json);
        let named = sources.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        tera.add_raw_templates(named.collect::<Vec<_>>()).map_err(|error| located(folder, &sources, &error))?;
        Ok(Self { tera, folder: folder.to_owned(), sources })
    }

    fn render(&self, name: &str, facts: &Facts<'_>) -> Result<Rendered> {
        let path = self.folder.join(name);
        anyhow::ensure!(self.sources.contains_key(name), "there is no template {}", path.display());
        let text =
            self.tera.render(name, &context(facts)).map_err(|error| located(&self.folder, &self.sources, &error))?;
        let origin = Origin::new(&self.sources, name, &text);
        Ok(Rendered { path, text, origin })
    }
}

/// Tera's error, with its line and its place in the form that editors can jump to.
fn located(folder: &Path, sources: &HashMap<String, String>, error: &tera::Error) -> anyhow::Error {
    use tera::ErrorKind::{RenderingError, SyntaxError};
    match error.kind() {
        SyntaxError(report) | RenderingError(report) => {
            let (path, at) = (folder.join(report.filename()), report.span());
            let source =
                sources.get(report.filename()).and_then(|text| text.lines().nth(at.start_line.saturating_sub(1)));
            let (line, column) = (at.start_line, at.start_col + 1);
            let source = source.unwrap_or_default().trim();
            anyhow!("{}:{line}:{column}: {}\n  {source}", path.display(), report.message())
        }
        _ => anyhow!("the templates in {} can't be used: {error}", folder.display()),
    }
}

fn context(facts: &Facts<'_>) -> tera::Context {
    let mut context = tera::Context::new();
    context.insert("id", facts.id);
    context.insert("image", facts.image);
    context.insert("image_id", facts.image_id.hex());
    context.insert("archive", facts.archive);
    context.insert("node", facts.node);
    context.insert("variant", facts.variant);
    context.insert("version", facts.version);
    context.insert("label", facts.label);
    context.insert("title", facts.title);
    context.insert("description", facts.description);
    context.insert("switches", facts.switches);
    context
}

/// `{{ text | json }}`: quoted so that it is one scalar in YAML as in JSON.
#[expect(clippy::needless_pass_by_value, reason = "Tera's signature of a filter")]
fn json(value: Value, _: Kwargs, _: &State<'_>) -> tera::TeraResult<String> {
    if value.is_undefined() {
        return Err(tera::Error::message("`json` was given a variable that does not exist"));
    }
    serde_json::to_string(&value).map_err(|error| tera::Error::message(error.to_string()))
}

fn read_templates(root: &Path, folder: &Path, into: &mut HashMap<String, String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read_templates(root, &path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let name = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            let text = std::fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
            into.insert(name, text);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = r#"id: {{ id }}
configuration:
  provisioning:
    files:
      - name: config.json
        content: |
          {"docker": {"image": "{{ image }}", "env": ["N={% raw %}{{ dev (index .Devices 0).DeviceName }}{% endraw %}"]}}
ui:
  label: {{ label | json }}
"#;
    const IMAGE: &str =
        "id: {{ id }}\nnode_definition_id: {{ id }}\ndisk_image: {{ archive }}\nsha256: {{ image_id }}\n";

    fn rendered(node: &str, image: &str) -> Result<Definitions> {
        rendered_for(node, image, &Digest::of("config"))
    }

    fn rendered_for(node: &str, image: &str, image_id: &Digest) -> Result<Definitions> {
        let root = tempfile::tempdir().unwrap();
        for (folder, text) in [("node-definitions", node), ("image-definitions", image)] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
            std::fs::write(root.path().join(folder).join("t.yaml"), text).unwrap();
        }
        let facts = Facts {
            id: "tiny-1-0",
            image: "tiny:1.0",
            image_id,
            archive: "tiny-1-0.tar.gz",
            node: "tiny",
            variant: "only",
            version: "1.0",
            label: "Tiny: 1.0",
            title: "Tiny",
            description: "",
            switches: &BTreeMap::new(),
        };
        render(root.path(), "t.yaml", "t.yaml", &facts)
    }

    fn complaint(node: &str, image: &str) -> String {
        format!("{:#}", rendered(node, image).unwrap_err())
    }

    #[test]
    fn go_template_actions_survive_and_strings_are_quoted() {
        let definitions = rendered(NODE, IMAGE).unwrap();
        assert!(definitions.node.contains("{{ dev (index .Devices 0).DeviceName }}"), "{}", definitions.node);
        assert!(definitions.node.contains(r#"label: "Tiny: 1.0""#));
        assert!(definitions.image.contains(&format!("sha256: {}", Digest::of("config"))));
    }

    #[test]
    fn the_image_id_is_filled_in_afterwards_but_only_as_a_whole() {
        let id = Digest::of("another config");
        let known = rendered_for(NODE, IMAGE, &id).unwrap();
        let filled_in = rendered_for(NODE, IMAGE, &unknown_image_id()).unwrap().with_image_id(&id).unwrap();
        assert_eq!((filled_in.node, filled_in.image), (known.node, known.image));
        let part = format!("{IMAGE}label: '{{{{ image_id | upper | truncate(length=12) }}}}'\n");
        let error = rendered_for(NODE, &part, &unknown_image_id()).unwrap().with_image_id(&id).unwrap_err();
        assert!(format!("{error}").contains("`image_id` cannot be used in part"), "{error}");
    }

    #[test]
    fn a_template_that_is_broken_is_shown_with_its_line() {
        let said = complaint(&NODE.replace("{{ label | json }}", "{{ label | json"), IMAGE);
        assert!(said.contains("node-definitions") && said.contains("t.yaml:9"), "{said}");
        let said = complaint(&NODE.replace("label | json", "lable | json"), IMAGE);
        assert!(said.contains("lable") && said.contains("t.yaml:9"), "{said}");
    }

    #[test]
    fn yaml_that_is_broken_points_back_into_the_template() {
        let said = complaint(&NODE.replace("ui:", "ui: ["), IMAGE);
        assert!(said.contains("t.yaml"), "{said}");
        let said = complaint(&format!("{NODE}  broken: 'x\n"), IMAGE);
        assert!(said.contains("t.yaml:10"), "{said}");
    }

    #[test]
    fn a_definition_of_something_else_is_refused() {
        assert!(
            complaint(&NODE.replace("id: {{ id }}", "id: frr"), IMAGE).contains("`id` is `frr`, it must be `tiny-1-0`")
        );
        assert!(complaint(&NODE.replace("{{ image }}", "frr:1"), IMAGE).contains("docker.image"));
        assert!(complaint(&NODE.replace("\"env\"", "env"), IMAGE).contains("config.json is not JSON"));
        assert!(complaint(NODE, &IMAGE.replace("{{ image_id }}", "0000")).contains("`sha256`"));
        assert!(complaint(NODE, &IMAGE.replace("disk_image: {{ archive }}\n", "")).contains("`disk_image` is missing"));
    }
}
