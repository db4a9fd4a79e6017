//! `docker/<node>/node.yaml`, the manifest: everything that tells one node from another. `docs/manifest.md` explains
//! its keys.
//!
//! Unknown and missing keys are refused. Single values are checked while they are read, so that the error has
//! serde_yaml's position (line and column).

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::image_name::{self, is_tag};
use crate::names::{InnerPath, Name, Pattern, line, one_line, one_line_if_any, version_id};
use crate::place::{Place, Wrong};
use crate::prebuilt::Prebuilt;
use crate::scene::Scene;
use crate::url::{NO_CREDENTIALS, NOT_REMOTE, has_credentials, is_remote};
use definitions::yaml::{self, Mark, Node};
use files::Tree;

pub use crate::names::MANIFEST;

/// The largest manifest has a fraction of this.
pub const LARGEST: u64 = 1 << 20;

/// The most characters of serde_yaml's message: longer than its lists of keys.
const LONGEST_MESSAGE: usize = 1500;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub node: Name,
    #[serde(deserialize_with = "one_line")]
    pub title: String,
    pub description: String,
    #[serde(deserialize_with = "one_line")]
    pub image: Pattern,
    #[serde(deserialize_with = "one_line")]
    pub id: Pattern,
    #[serde(deserialize_with = "one_line")]
    pub label: Pattern,
    #[serde(default, deserialize_with = "a_shared_node")]
    pub shared_node: Option<SharedNode>,
    pub node_definition: Option<InnerPath>,
    pub image_definition: Option<InnerPath>,
    #[serde(default = "cml_platform", deserialize_with = "one_line")]
    pub platform: String,
    #[serde(default)]
    pub switches: BTreeMap<String, bool>,
    pub version_from: Option<VersionFrom>,
    #[serde(default)]
    pub common: Vec<InnerPath>,
    #[serde(default)]
    pub build_args: BTreeMap<String, String>,
    #[serde(default)]
    pub checks: Vec<Check>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub scenes: Vec<Scene>,
    #[serde(default)]
    pub silenced: Vec<Silenced>,
    #[serde(deserialize_with = "some_variants")]
    pub variants: Vec<Variant>,
}

/// The one node definition of all versions and variants, on servers where each image definition can name its own tag.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedNode {
    #[serde(deserialize_with = "an_id")]
    pub id: String,
    #[serde(deserialize_with = "a_label")]
    pub label: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    pub name: Name,
    #[serde(deserialize_with = "one_line")]
    pub summary: String,
    #[serde(deserialize_with = "one_line")]
    pub version: String,
    #[serde(default, deserialize_with = "one_line")]
    pub suffix: String,
    #[serde(default = "default_dockerfile")]
    pub dockerfile: InnerPath,
    /// What the image is built on; missing if there is nothing to build.
    pub base: Option<Base>,
    /// The image, if it is taken as it is.
    pub prebuilt: Option<Prebuilt>,
    pub source: Option<Source>,
    #[serde(default)]
    pub sources: BTreeMap<Name, Source>,
    #[serde(default)]
    pub build_args: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "one_line_if_any")]
    pub untested: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    #[serde(deserialize_with = "one_line")]
    pub image: String,
    pub bootstrap: Option<Bootstrap>,
}

/// A Debian base made with `mmdebstrap` or `debootstrap`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    pub suite: Name,
    #[serde(default)]
    pub packages: Vec<Name>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "RawSource")]
pub enum Source {
    /// The distribution's own source package, fetched inside the build.
    Package(Name),
    /// A git repository, fetched on the host and pinned to a commit.
    Git { url: String, reference: Pattern },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    package: Option<Name>,
    git: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
}

impl TryFrom<RawSource> for Source {
    type Error = String;

    fn try_from(raw: RawSource) -> Result<Self, Self::Error> {
        raw.git.iter().chain(&raw.reference).try_for_each(|text| line(text))?;
        match (raw.package, raw.git, raw.reference) {
            (None, Some(url), _) if has_credentials(&url) => Err(NO_CREDENTIALS.to_owned()),
            (None, Some(url), _) if !is_remote(&url) => Err(NOT_REMOTE.to_owned()),
            (Some(package), None, None) => Ok(Self::Package(package)),
            // An option of git's would otherwise be hidden in what looks like a branch.
            (None, Some(url), Some(reference)) if !reference.starts_with('-') => {
                Ok(Self::Git { url, reference: Pattern::try_from(reference)? })
            }
            _ => Err("a source is either `package: NAME` or `git: URL` together with `ref: BRANCH-OR-TAG`".to_owned()),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionFrom {
    pub file: InnerPath,
    pub pattern: VersionPattern,
}

/// A regular expression whose only group is the version.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct VersionPattern(regex_lite::Regex);

impl VersionPattern {
    pub fn find(&self, text: &str) -> Option<String> {
        Some(self.0.captures(text)?.get(1)?.as_str().to_owned())
    }
}

impl TryFrom<String> for VersionPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let regex =
            regex_lite::Regex::new(&text).map_err(|error| format!("`{text}` is not a regular expression: {error}"))?;
        match regex.captures_len() {
            2 => Ok(Self(regex)),
            _ => Err(format!("`{text}` is not a version pattern: it must have exactly one (group), the version")),
        }
    }
}

/// A command that is run in a container of the new image.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    #[serde(deserialize_with = "one_line")]
    pub name: String,
    #[serde(deserialize_with = "some_args")]
    pub run: Vec<String>,
    #[serde(default, deserialize_with = "some_text")]
    pub prints: Option<Pattern>,
    #[serde(default)]
    pub exits: i64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silenced {
    #[serde(deserialize_with = "one_line")]
    pub rule: String,
    #[serde(deserialize_with = "a_reason")]
    pub reason: String,
}

/// Upper limits; sizes in megabytes (10⁶ bytes).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub image_mb: Option<u64>,
    pub archive_mb: Option<u64>,
    /// At most 600 s.
    #[serde(default, deserialize_with = "some_seconds")]
    pub stop_seconds: Option<f64>,
}

impl Manifest {
    /// Reads and checks one manifest. Errors name file, line and column.
    pub fn read(tree: &Tree, path: &Path) -> Result<Self> {
        let text = tree.read_to_string(path, LARGEST)?;
        // serde_yaml takes hours for what is nested deeply.
        let document = yaml::read(text.as_bytes())
            .map_err(|problem| anyhow!("{}:{}: {}", path.display(), problem.at, problem.message))?;
        let manifest: Self =
            serde_yaml::from_str(&text).map_err(|error| located(path, &text, &document.root, &error))?;
        manifest.check(tree, path).map_err(|Wrong { at, why }| {
            let (mark, shown) = at.find(&document.root);
            anyhow!("{}:{mark}: {shown}: {why}", path.display())
        })?;
        Ok(manifest)
    }

    /// The template of its node definition, in `node-definitions/`.
    pub fn node_template(&self) -> String {
        self.node_definition.as_ref().map_or_else(|| format!("{}.yaml", self.node), |path| path.as_str().to_owned())
    }

    /// The variant of that name. Fails with the most similar name.
    pub fn variant(&self, name: &str) -> Result<&Variant> {
        let names = self.variants.iter().map(|variant| variant.name.as_str());
        let variant = self.variants.iter().find(|variant| variant.name.as_str() == name);
        variant.ok_or_else(|| anyhow!("node {} has no variant `{name}`: {}", self.node, text::near(name, names)))
    }

    /// The switches, with these values. Fails with the most similar name.
    pub fn switches_with(&self, values: &BTreeMap<String, bool>) -> Result<BTreeMap<String, bool>> {
        if let Some(name) = values.keys().find(|name| !self.switches.contains_key(*name)) {
            let near = text::near(name, self.switches.keys().map(String::as_str));
            anyhow::bail!("node {} has no switch `{name}`: {near}", self.node);
        }
        Ok(self.switches.iter().chain(values).map(|(name, value)| (name.clone(), *value)).collect())
    }

    fn check(&self, tree: &Tree, path: &Path) -> Result<(), Wrong> {
        let (folder, top) = (path.parent().and_then(Path::file_name).unwrap_or_default(), Place::default());
        if folder != self.node.as_str() {
            let why = format!("`{}` must be the name of its folder, `{}`", self.node, folder.display());
            return Err(top.key("node").wrong(why));
        }
        for (index, variant) in self.variants.iter().enumerate() {
            let at = top.key("variants").index(index);
            if self.variants[..index].iter().any(|other| other.name == variant.name) {
                return Err(at.key("name").wrong(format!("another variant is called `{}`", variant.name)));
            }
            variant.check(tree, path).map_err(|error| at.wrong(format!("{error:#}")))?;
        }
        for (index, scene) in self.scenes.iter().enumerate() {
            let at = top.key("scenes").index(index);
            scene.check(&at)?;
            if self.scenes[..index].iter().any(|other| other.name == scene.name) {
                return Err(at.key("name").wrong(format!("two scenes are called `{}`", scene.name)));
            }
        }
        Ok(())
    }
}

impl Variant {
    /// Either there is a Dockerfile and its base, or an image to take.
    fn check(&self, tree: &Tree, path: &Path) -> Result<()> {
        if self.prebuilt.is_some() {
            let builds = self.base.is_some() || self.source.is_some();
            anyhow::ensure!(
                !builds && self.sources.is_empty() && self.build_args.is_empty(),
                "its image is `prebuilt`, so there is nothing to build: remove base, source, sources and build_args"
            );
            return Ok(());
        }
        anyhow::ensure!(
            self.base.is_some(),
            "missing field `base`, what its Dockerfile builds on; or `prebuilt`, an image to take as it is"
        );
        let file = path.with_file_name(self.dockerfile.as_str());
        anyhow::ensure!(tree.kind(&file)?.is_some(), "dockerfile: there is no file {}", file.display());
        tree.open(&file).context("dockerfile").map(drop)
    }
}

/// The names of a variant at some version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub id: String,
    pub image: String,
    pub label: String,
}

impl Names {
    /// Fills in the manifest's patterns; refuses names that CML or Docker would refuse.
    pub fn of(node: &Manifest, variant: &Variant, version: &str) -> Result<Self> {
        let context = tera::context! {
            node => &node.node, title => &node.title, variant => &variant.name, suffix => &variant.suffix,
            version, version_id => &version_id(version)
        };
        let fill =
            |key: &str, pattern: &Pattern| pattern.render(&context).with_context(|| format!("the pattern `{key}`"));
        let names =
            Self { id: fill("id", &node.id)?, image: fill("image", &node.image)?, label: fill("label", &node.label)? };
        definitions::id::check(&names.id).map_err(anyhow::Error::msg).context("the pattern `id`")?;
        let image = &names.image;
        let why = if is_tag(image) { image_name::refusal(image) } else { Some("which is not a NAME:TAG") };
        if let Some(why) = why {
            anyhow::bail!("`image` becomes `{}`, {why}", text::excerpt(image, 100));
        }
        line(&names.label).map_err(|why| anyhow!("`label` becomes {why}"))?;
        check_label(&names.label).map_err(|why| anyhow!("`label` becomes {why}"))?;
        Ok(names)
    }
}

fn check_label(label: &str) -> Result<(), String> {
    let length = label.chars().count();
    let why = || format!("`{label}`, which has {length} characters; CML accepts 1 to 32");
    if (1..=32).contains(&length) { Ok(()) } else { Err(why()) }
}

/// A key without a value is not one that is left out.
fn a_shared_node<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SharedNode>, D::Error> {
    SharedNode::deserialize(from).map(Some)
}

fn an_id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let id: String = one_line(from)?;
    definitions::id::check(&id).map_err(de::Error::custom)?;
    // A template writes an id as it is.
    let read = yaml::read(id.as_bytes()).map_err(|problem| de::Error::custom(problem.message))?;
    if read.root.text().is_none() {
        let what = read.root.describe();
        return Err(de::Error::custom(format!("`{id}` is no id: YAML reads {what}, not a text; add a letter")));
    }
    Ok(id)
}

fn a_label<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let label: String = one_line(from)?;
    check_label(&label).map_err(|why| de::Error::custom(format!("`label` is {why}")))?;
    Ok(label)
}

/// serde_yaml's error, with its position in a form that editors can jump to.
fn located(path: &Path, text: &str, root: &Node, error: &serde_yaml::Error) -> anyhow::Error {
    let message = error.to_string();
    let Some(at) = error.location() else { return anyhow!("{}: {}", path.display(), plain(&message)) };
    let message = message.strip_suffix(&format!(" at line {} column {}", at.line(), at.column())).unwrap_or(&message);
    let at = Mark { line: at.line(), column: at.column() };
    let (at, message) = placed_in_step(root, message)
        .unwrap_or_else(|| (position_of_value(text, message, at.line).unwrap_or(at), message.to_owned()));
    // It may quote a key or value of any length, with ends of lines; the lines of a broken pattern are indented.
    let shown = text::printable(&plain(&message)).replace('\n', "\n  ");
    let shown: String = shown.chars().take(LONGEST_MESSAGE).collect();
    anyhow!("{}:{at}: {shown}", path.display())
}

/// What is wrong with a step of a scene, for which serde_yaml has only the place of the scene.
fn placed_in_step(root: &Node, message: &str) -> Option<(Mark, String)> {
    let (scene, step) = message.strip_prefix("scenes[")?.split_once("]: steps[")?;
    let (step, why) = step.split_once("]: ")?;
    let at = Place::default().key("scenes").index(scene.parse().ok()?).key("steps").index(step.parse().ok()?);
    let (mark, shown) = at.find(root);
    let key = why.strip_prefix('`').and_then(|why| why.split_once('`')).map(|(key, _)| at.key(key).find(root).0);
    Some((key.unwrap_or(mark), format!("{shown}: {why}")))
}

/// serde's message without the words of Rust.
fn plain(message: &str) -> String {
    const WORDS: [(&str, &str); 11] = [
        (r"\bexpected struct \w+", "expected a mapping"),
        (r"\bexpected a map\b", "expected a mapping"),
        (r"\bexpected a sequence\b", "expected a list"),
        (r"\bexpected an array of length 2\b", "expected two names"),
        (r"\bexpected [iu](8|16|32|64|size)\b", "expected a whole number"),
        (r"\bexpected f64\b", "expected a number"),
        (r"\bexpected a boolean\b", "expected true or false"),
        (r"\binvalid type: (unit value|null)\b", "invalid type: nothing"),
        (r"\binvalid type: map\b", "invalid type: a mapping"),
        (r"\binvalid type: sequence\b", "invalid type: a list"),
        (
            r"^(.*: )?data did not match any variant of untagged enum OneOrMore$",
            "${1}`on`, `prints` and `lacks` are a text, or a list of texts",
        ),
    ];
    WORDS.iter().fold(message.to_owned(), |message, (rust, word)| match regex_lite::Regex::new(rust) {
        Ok(rust) => rust.replace(&message, *word).into_owned(),
        Err(_) => message,
    })
}

/// Line and column of the value in a message "`VALUE` is …". serde_yaml reports a value that a type of this crate
/// refuses at the mapping around it; the value is the next occurrence of the quoted text.
fn position_of_value(text: &str, message: &str, from: usize) -> Option<Mark> {
    let value = message.split_once('`').filter(|(before, _)| before.is_empty() || before.ends_with(": "))?.1;
    let value = value.split_once("` is ")?.0;
    let mut lines = text.lines().enumerate().skip(from.saturating_sub(1));
    lines.find_map(|(index, line)| Some(Mark { line: index + 1, column: line.find(value)? + 1 }))
}

fn some_variants<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Variant>, D::Error> {
    at_least_one(from, "variants")
}

fn some_args<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    at_least_one(from, "run")
}

fn at_least_one<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D, key: &str) -> Result<Vec<T>, D::Error> {
    let list = Vec::deserialize(from)?;
    if list.is_empty() {
        return Err(de::Error::custom(format!("`{key}` is empty, but must have at least one element")));
    }
    Ok(list)
}

fn a_reason<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let reason: String = one_line(from)?;
    let empty = || de::Error::custom("`reason` is empty: say why the rule does not apply to this node");
    if reason.trim().is_empty() { Err(empty()) } else { Ok(reason) }
}

fn some_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Pattern>, D::Error> {
    let pattern = Option::<Pattern>::deserialize(from)?;
    if pattern.as_ref().is_some_and(Pattern::is_empty) {
        return Err(de::Error::custom("`prints` is empty, which every output contains"));
    }
    Ok(pattern)
}

/// The longest that a node may take to stop, in seconds.
const LONGEST_STOP: f64 = 600.0;

fn some_seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let seconds = Option::<f64>::deserialize(from)?;
    // Not a number is not in a range either.
    if let Some(found) = seconds.filter(|seconds| !(*seconds > 0.0 && *seconds <= LONGEST_STOP)) {
        let found = if found.is_nan() { ".nan".to_owned() } else { found.to_string() };
        let message = format!("`stop_seconds` is {found}; expected more than 0 and at most {LONGEST_STOP}");
        return Err(de::Error::custom(message));
    }
    Ok(seconds)
}

fn cml_platform() -> String {
    "linux/amd64".to_owned()
}

fn default_dockerfile() -> InnerPath {
    // The literal is a valid path.
    InnerPath::try_from("Dockerfile".to_owned()).unwrap_or_else(|_| unreachable!())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn a_node_stops_within_some_seconds() {
        let read = |seconds: &str| {
            let text = format!("{GOOD}limits:\n  stop_seconds: {seconds}\n");
            let root = yaml::read(text.as_bytes()).ok().unwrap().root;
            serde_yaml::from_str::<Manifest>(&text)
                .map_err(|error| located(Path::new("node.yaml"), &text, &root, &error))
        };
        for seconds in ["0.5", "13", "600"] {
            assert!(read(seconds).unwrap().limits.stop_seconds.is_some(), "{seconds}");
        }
        for seconds in [".nan", "-1", "0", ".inf", "601"] {
            let said = read(seconds).err().unwrap().to_string();
            assert!(said.contains("`stop_seconds` is ") && said.contains("expected more than 0"), "{seconds}: {said}");
            assert!(said.starts_with("node.yaml:15:"), "{seconds}: {said}");
        }
    }

    pub(crate) const GOOD: &str = "
node: tiny
title: Tiny
description: A node
image: tiny:{{ version }}
id: tiny-{{ version_id }}
label: Tiny
variants:
  - name: only
    summary: The only one
    version: '1.0'
    base: {image: 'debian:trixie-slim'}
    source: {git: 'https://example.org/tiny.git', ref: main}
";

    fn read(text: &str) -> Result<Manifest> {
        let folder = tempfile::tempdir().unwrap();
        let node = folder.path().join("tiny");
        std::fs::create_dir(&node).unwrap();
        std::fs::write(node.join("Dockerfile"), "FROM scratch\n").unwrap();
        std::fs::write(node.join("node.yaml"), text).unwrap();
        Manifest::read(&Tree::at(folder.path()), &node.join("node.yaml"))
    }

    fn error_of(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn a_good_manifest_is_read() {
        let manifest = read(GOOD).unwrap();
        assert_eq!(manifest.platform, "linux/amd64");
        assert_eq!(manifest.variants[0].dockerfile.as_str(), "Dockerfile");
    }

    #[test]
    fn a_shared_node_has_an_id_and_a_label_that_cml_accepts() {
        let with = |shared: &str| read(&format!("{GOOD}shared_node: {shared}\n"));
        let shared = with("{id: tiny, label: Tiny}").unwrap().shared_node.unwrap();
        assert_eq!((shared.id.as_str(), shared.label.as_str()), ("tiny", "Tiny"));
        for (shared, why) in [
            ("{id: a/b, label: Tiny}", "is not an id"),
            ("{id: tiny}", "missing field `label`"),
            ("{id: tiny, label: ''}", "CML accepts 1 to 32"),
            ("", "shared_node: missing field `id`"),
            ("~", "shared_node: invalid type: nothing, expected a mapping"),
            ("{id: 5, label: Tiny}", "`5` is no id: YAML reads the number 5"),
            ("{id: 'true', label: Tiny}", "`true` is no id: YAML reads the boolean true"),
        ] {
            let error = with(shared).unwrap_err().to_string();
            assert!(error.contains("node.yaml:14:") && error.contains(why), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_position() {
        let error = error_of(&GOOD.replace("title:", "titel:"));
        assert!(error.contains("node.yaml:3:1: unknown field `titel`, expected"), "{error}");
        let error = error_of(&GOOD.replace("    summary:", "    sumary:"));
        assert!(error.contains("node.yaml:10:5: ") && error.contains("unknown field `sumary`"), "{error}");
    }

    #[test]
    fn a_missing_key_is_named_with_its_position() {
        let error = error_of(&GOOD.replace("    version: '1.0'\n", ""));
        assert!(error.contains("node.yaml:9:5: ") && error.contains("missing field `version`"), "{error}");
    }

    #[test]
    fn wrong_values_are_refused_with_their_position() {
        let error = error_of(&GOOD.replace("name: only", "name: Only One"));
        assert!(error.contains("node.yaml:9:11: ") && error.contains("`Only One` is not a valid name"), "{error}");
        let error = error_of(&GOOD.replace("tiny:{{ version }}", "'tiny:{{ version'"));
        assert!(error.contains("node.yaml:5:9: ") && error.contains("is not a Tera pattern"), "{error}");
        let error = error_of(&GOOD.replace(", ref: main", ""));
        assert!(error.contains("node.yaml:9:5: variants[0]: a source is either"), "{error}");
        let error = error_of(&GOOD.replace("ref: main", "ref: --upload-pack=x"));
        assert!(error.contains("a source is either"), "{error}");
        let error = error_of(&GOOD.replace("https://", "https://me:s3cret@"));
        assert!(error.contains("must not contain a password") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_text_that_could_pass_for_a_line_of_the_program_is_refused_with_its_place() {
        let hostile = r#""a\nerror: b""#;
        for (from, to) in [
            ("title: Tiny", format!("title: {hostile}")),
            ("label: Tiny", format!("label: {hostile}")),
            ("image: tiny:{{ version }}", format!("image: {hostile}")),
            ("summary: The only one", format!("summary: {hostile}")),
            ("version: '1.0'", format!("version: {hostile}")),
            ("'debian:trixie-slim'", hostile.to_owned()),
            ("    summary:", format!("    untested: {hostile}\n    summary:")),
            ("'https://example.org/tiny.git'", r#""https://example.org/a\nb""#.to_owned()),
            ("variants:", format!("checks: [{{name: {hostile}, run: [x]}}]\nvariants:")),
            ("variants:", format!("silenced: [{{rule: x, reason: {hostile}}}]\nvariants:")),
            ("variants:", format!("scenes: [{{name: {hostile}, nodes: {{}}, steps: []}}]\nvariants:")),
            (
                "variants:",
                format!(
                    "scenes: [{{name: x, nodes: {{}}, steps: [{{check: {hostile}, on: a, run: [x]}}]}}]\nvariants:"
                ),
            ),
            ("title: Tiny", "title: \"a\\u202eb\"".to_owned()),
            ("title: Tiny", format!("title: {}", "x".repeat(1_000_000))),
        ] {
            let error = error_of(&GOOD.replace(from, &to));
            assert!(error.contains("is not one line of at most 500 characters"), "{from}: {error:.300}");
            assert!(
                error.contains("node.yaml:") && error.len() < 1000 && !error.contains('\n'),
                "{from}: {error:.300}"
            );
        }
    }

    #[test]
    fn an_unknown_key_cannot_fill_the_screen_or_begin_a_line() {
        let error = error_of(&format!("{GOOD}\"a\\nerror: b\": 1\n"));
        assert!(error.contains("unknown field") && !error.contains("\nerror"), "{error:.300}");
        let error = error_of(&format!("{GOOD}limits: {{image_mb: {}}}\n", "x".repeat(100_000)));
        assert!(error.contains("invalid type") && error.len() < 2000, "{error:.300}");
    }

    #[test]
    fn a_mistake_in_a_scene_is_shown_at_its_key() {
        let good = "scenes:\n  - name: s\n    nodes: {a: {}, b: {}}\n    links: [[a, b]]\n    steps:\n\
                    \x20     - restart: a\n\
                    \x20     - {check: c, on: a, run: [x]}\n";
        let with = |from: &str, to: &str| error_of(&format!("{GOOD}{}", good.replace(from, to)));
        for (from, to, said) in [
            ("[[a, b]]", "[[a, b], [a, d]]", "17:25: scenes[0].links[1][1]: scene `s` has no node `d`"),
            ("[[a, b]]", "[[a, a]]", "17:13: scenes[0].links[0]: `a` cannot be linked to itself"),
            ("[[a, b]]", "[[a]]", "scenes[0].links[0]: invalid length 1, expected two names"),
            ("on: a", "on: d", "20:24: scenes[0].steps[1].on: scene `s` has no node `d`"),
            ("restart: a", "restart: d", "19:18: scenes[0].steps[0].restart: scene `s` has no node `d`"),
            ("name: s", "name: ''", "15:11: scenes[0].name: it is empty"),
            ("[x]}", "[x], times: 2}", "20:44: scenes[0].steps[1]: `times` is not allowed"),
            ("[x]", "[]", "20:32: scenes[0].steps[1]: `run` must not be empty"),
            ("on: a", "on: []", "20:24: scenes[0].steps[1]: `on` must name a node"),
            ("on: a, ", "", "20:9: scenes[0].steps[1]: this step needs the key `on`"),
        ] {
            let error = with(from, to);
            assert!(error.contains(&format!("node.yaml:{said}")) || error.contains(said), "{to}: {error}");
        }
    }

    #[test]
    fn what_a_value_must_be_is_said_without_words_of_rust() {
        for (key, said) in [
            ("shared_node: 5", "expected a mapping"),
            ("limits: {image_mb: x}", "expected a whole number"),
            ("limits: {stop_seconds: x}", "expected a number"),
            ("checks: [{name: c, run: [x], exits: x}]", "expected a whole number"),
            ("switches: {a: 5}", "expected true or false"),
            ("common: 5", "expected a list"),
            (
                "scenes: [{name: s, nodes: {a: {}}, steps: [{check: c, on: {}, run: [x]}]}]",
                "steps[0]: `on`, `prints` and `lacks` are a text, or a list of texts",
            ),
            ("switches: []", "invalid type: a list, expected a mapping"),
        ] {
            let error = error_of(&format!("{GOOD}{key}\n"));
            assert!(error.contains("node.yaml:14:") && error.contains(said), "{key}: {error}");
        }
    }

    #[test]
    fn deeply_nested_yaml_is_refused_with_its_place() {
        let error = error_of(&format!("{GOOD}scenes: {}", "[".repeat(300_000)));
        assert!(error.contains("node.yaml:14:") && error.len() < 1000, "{error:.300}");
    }

    #[test]
    fn malformed_yaml_is_refused_with_its_position() {
        let error = error_of(&GOOD.replace("title: Tiny", "title: [Tiny"));
        assert!(error.contains("node.yaml:"), "{error}");
    }

    #[test]
    fn names_and_files_must_agree() {
        assert!(error_of(&GOOD.replace("node: tiny", "node: huge")).contains("must be the name of its folder"));
        let error = error_of(&GOOD.replace("    summary:", "    dockerfile: Dockerfile.none\n    summary:"));
        assert!(error.contains("there is no file"), "{error}");
    }
}
