//! `docker/<node>/node.yaml`: everything that tells one node from another.
//!
//! Unknown and missing keys are refused. What can be checked value by value is checked while
//! reading, so that serde_yaml's position (line and column) goes with the error.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::names::{InnerPath, Name, Pattern};
use super::scene::Scene;

/// The manifest of a node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The node's name on the command line; also the name of its folder.
    pub node: Name,
    /// The full name, for titles and labels of images.
    pub title: String,
    pub description: String,
    /// Pattern of the image's tag, such as `frr:{{ version }}{{ suffix }}`.
    pub image: Pattern,
    /// Pattern of the id that node definition and image definition share.
    pub id: Pattern,
    /// Pattern of the name in CML's palette, at most 32 characters when filled in.
    pub label: Pattern,
    /// Template in `node-definitions/`; `<node>.yaml` when absent.
    pub node_definition: Option<InnerPath>,
    /// Template in `image-definitions/`; `container.yaml` when absent.
    pub image_definition: Option<InnerPath>,
    /// What the image is built for. CML's servers are `linux/amd64`.
    #[serde(default = "cml_platform")]
    pub platform: String,
    /// Yes-or-no questions that templates may ask, with the default answers.
    #[serde(default)]
    pub switches: BTreeMap<String, bool>,
    /// Where a source tree says which version it is.
    pub version_from: Option<VersionFrom>,
    /// Build arguments of every variant.
    #[serde(default)]
    pub build_args: BTreeMap<String, String>,
    /// What a fresh image must pass before it counts as built.
    #[serde(default)]
    pub checks: Vec<Check>,
    #[serde(default)]
    pub limits: Limits,
    /// What `cargo xtask verify` proves of the running node.
    #[serde(default)]
    pub scenes: Vec<Scene>,
    /// Rules of `lint` that don't hold for this node.
    #[serde(default)]
    pub silenced: Vec<Silenced>,
    /// In the order of preference.
    #[serde(deserialize_with = "some_variants")]
    pub variants: Vec<Variant>,
}

/// One way to make the node's image.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    pub name: Name,
    /// One line: what this variant is.
    pub summary: String,
    /// The version that is built when none is asked for.
    pub version: String,
    /// What sets this variant's image and ids apart from the default variant's, such as `-debian`.
    #[serde(default)]
    pub suffix: String,
    #[serde(default = "default_dockerfile")]
    pub dockerfile: InnerPath,
    pub base: Base,
    /// The node's main source; absent where the Dockerfile needs none.
    pub source: Option<Source>,
    /// Further sources, handed to the build as `sources/<name>.tar`.
    #[serde(default)]
    pub sources: BTreeMap<Name, Source>,
    #[serde(default)]
    pub build_args: BTreeMap<String, String>,
    /// Why nobody has seen this variant work yet; shown wherever it is chosen.
    pub untested: Option<String>,
}

/// The image that the build starts from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    pub image: String,
    /// How to make an equal image from the distribution's archive when no registry has it for us.
    pub bootstrap: Option<Bootstrap>,
}

/// A Debian base made with `mmdebstrap` or `debootstrap`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    pub suite: Name,
    /// Packages beyond the smallest system that has apt.
    #[serde(default)]
    pub packages: Vec<Name>,
}

/// Where source code comes from.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "RawSource")]
pub enum Source {
    /// The distribution's own source package, fetched inside the build.
    Package(Name),
    /// A git repository, fetched on the host and pinned to a commit. `reference` is a pattern.
    Git { url: String, reference: String },
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
    type Error = &'static str;

    fn try_from(raw: RawSource) -> Result<Self, Self::Error> {
        match (raw.package, raw.git, raw.reference) {
            (Some(package), None, None) => Ok(Self::Package(package)),
            // An option of git's would otherwise be hidden in what looks like a URL or a branch.
            (None, Some(url), Some(reference)) if !url.starts_with('-') && !reference.starts_with('-') => {
                Ok(Self::Git { url, reference })
            }
            _ => Err("a source is either `package: NAME` or `git: URL` together with `ref: BRANCH-OR-TAG`"),
        }
    }
}

/// The file of a source tree, and the regular expression whose first group is the version.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionFrom {
    pub file: InnerPath,
    pub pattern: VersionPattern,
}

/// A regular expression with one group.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct VersionPattern(regex_lite::Regex);

impl VersionPattern {
    /// The version that `text` states.
    pub fn find(&self, text: &str) -> Option<String> {
        Some(self.0.captures(text)?.get(1)?.as_str().to_owned())
    }
}

impl TryFrom<String> for VersionPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let regex =
            regex_lite::Regex::new(&text).map_err(|error| format!("`{text}` is no regular expression: {error}"))?;
        match regex.captures_len() {
            2 => Ok(Self(regex)),
            _ => Err(format!("`{text}` is not right: it must have exactly one (group), the version")),
        }
    }
}

/// A command that is run in a container of the fresh image.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub name: String,
    /// The command, one argument an element.
    #[serde(deserialize_with = "some_words")]
    pub run: Vec<String>,
    /// A pattern that stdout or stderr must contain.
    pub prints: Option<Pattern>,
    /// The exit code it must end with.
    #[serde(default)]
    pub exits: i64,
}

/// A rule of `lint` that does not hold for a node, and why.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silenced {
    pub rule: String,
    #[serde(deserialize_with = "a_reason")]
    pub reason: String,
}

/// What must not be exceeded; sizes in megabytes (10⁶ bytes).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub image_mb: Option<u64>,
    pub archive_mb: Option<u64>,
    /// Seconds that the running node may take to stop.
    pub stop_seconds: Option<f64>,
}

impl Manifest {
    /// Reads and checks one manifest.
    ///
    /// # Errors
    /// With file, line and column of what is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
        let manifest: Self = serde_yaml::from_str(&text).map_err(|error| located(path, &text, &error))?;
        manifest.check(path)?;
        Ok(manifest)
    }

    /// The variant of that name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name.as_str() == name)
    }

    fn check(&self, path: &Path) -> Result<()> {
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
        anyhow::ensure!(
            folder == self.node.as_str(),
            "{}: `node: {}` must be the name of its folder, `{}`",
            path.display(),
            self.node,
            folder.display()
        );
        for (index, variant) in self.variants.iter().enumerate() {
            let again = self.variants[..index].iter().any(|other| other.name == variant.name);
            anyhow::ensure!(
                !again,
                "{}: variants[{index}].name: `{}` stands there twice",
                path.display(),
                variant.name
            );
            let dockerfile = path.with_file_name(variant.dockerfile.as_str());
            anyhow::ensure!(
                dockerfile.is_file(),
                "{}: variants[{index}].dockerfile: there is no file {}",
                path.display(),
                dockerfile.display()
            );
        }
        for (index, scene) in self.scenes.iter().enumerate() {
            scene.check().map_err(|error| anyhow!("{}: {error}", path.display()))?;
            let again = self.scenes[..index].iter().any(|other| other.name == scene.name);
            anyhow::ensure!(!again, "{}: there are two scenes `{}`", path.display(), scene.name);
        }
        Ok(())
    }
}

/// serde_yaml's error, with its position in the form that editors can jump to.
fn located(path: &Path, text: &str, error: &serde_yaml::Error) -> anyhow::Error {
    let said = error.to_string();
    let Some(at) = error.location() else { return anyhow!("{}: {said}", path.display()) };
    let bare = said.strip_suffix(&format!(" at line {} column {}", at.line(), at.column())).unwrap_or(&said);
    let (line, column) = place_of_value(text, bare, at.line()).unwrap_or((at.line(), at.column()));
    anyhow!("{}:{line}:{column}: {bare}", path.display())
}

/// A value that a type here refuses is reported at the mapping around it. The message quotes the
/// value, so its own place is where that stands next.
fn place_of_value(text: &str, message: &str, from: usize) -> Option<(usize, usize)> {
    let value = message.split_once('`').filter(|(before, _)| before.is_empty() || before.ends_with(": "))?.1;
    let value = value.split_once("` is ")?.0;
    let mut lines = text.lines().enumerate().skip(from.saturating_sub(1));
    lines.find_map(|(index, line)| Some((index + 1, line.find(value)? + 1)))
}

fn some_variants<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Variant>, D::Error> {
    at_least_one(from, "variants")
}

fn some_words<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    at_least_one(from, "run")
}

fn at_least_one<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D, key: &str) -> Result<Vec<T>, D::Error> {
    let list = Vec::deserialize(from)?;
    if list.is_empty() {
        return Err(de::Error::custom(format!("`{key}` is empty, but needs at least one element")));
    }
    Ok(list)
}

fn a_reason<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let reason = String::deserialize(from)?;
    if reason.trim().is_empty() {
        return Err(de::Error::custom("`reason` is empty: say why the rule does not hold for this node"));
    }
    Ok(reason)
}

fn cml_platform() -> String {
    "linux/amd64".to_owned()
}

fn default_dockerfile() -> InnerPath {
    // The literal is a valid path.
    InnerPath::try_from("Dockerfile".to_owned()).unwrap_or_else(|_| unreachable!())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
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
        Manifest::read(&node.join("node.yaml"))
    }

    fn complaint(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn a_good_manifest_is_read() {
        let manifest = read(GOOD).unwrap();
        assert_eq!(manifest.platform, "linux/amd64");
        assert_eq!(manifest.variants[0].dockerfile.as_str(), "Dockerfile");
    }

    #[test]
    fn an_unknown_key_is_refused_at_its_place() {
        let said = complaint(&GOOD.replace("title:", "titel:"));
        assert!(said.contains("node.yaml:3:1: unknown field `titel`, expected"), "{said}");
        let said = complaint(&GOOD.replace("    summary:", "    sumary:"));
        assert!(said.contains("node.yaml:10:5: ") && said.contains("unknown field `sumary`"), "{said}");
    }

    #[test]
    fn a_missing_key_is_named_with_its_place() {
        let said = complaint(&GOOD.replace("    version: '1.0'\n", ""));
        assert!(said.contains("node.yaml:9:5: ") && said.contains("missing field `version`"), "{said}");
    }

    #[test]
    fn wrong_values_are_refused_at_their_place() {
        let said = complaint(&GOOD.replace("name: only", "name: Only One"));
        assert!(said.contains("node.yaml:9:11: ") && said.contains("`Only One` is no name"), "{said}");
        let said = complaint(&GOOD.replace("tiny:{{ version }}", "'tiny:{{ version'"));
        assert!(said.contains("node.yaml:5:9: ") && said.contains("is no Tera pattern"), "{said}");
        let said = complaint(&GOOD.replace(", ref: main", ""));
        assert!(said.contains("node.yaml:9:5: variants[0]: a source is either"), "{said}");
        let said = complaint(&GOOD.replace("ref: main", "ref: --upload-pack=x"));
        assert!(said.contains("a source is either"), "{said}");
    }

    #[test]
    fn yaml_that_is_broken_is_refused_with_its_place() {
        let said = complaint(&GOOD.replace("title: Tiny", "title: [Tiny"));
        assert!(said.contains("node.yaml:"), "{said}");
    }

    #[test]
    fn names_and_files_must_agree() {
        assert!(complaint(&GOOD.replace("node: tiny", "node: huge")).contains("must be the name of its folder"));
        let said = complaint(&GOOD.replace("    summary:", "    dockerfile: Dockerfile.none\n    summary:"));
        assert!(said.contains("there is no file"), "{said}");
    }
}
