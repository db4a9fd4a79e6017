//! A repository of nodes: the folders below `docker/`, and what they share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::context::{self, ContextFile};
use crate::image_name;
use crate::manifest::{MANIFEST, Manifest, Names, Variant};
use files::{Kind, Tree};

const DEFAULT_NODE: &str = "frr";

/// What nodes share: a folder below `docker/`, and a folder in the build context.
const COMMON: &str = "common";

/// The program's own images, as this crate's folder sees them.
const TOOLS: &str = "../../xtask/helper";

pub struct Repository {
    pub root: PathBuf,
    /// The same, as the only way to read what is in it.
    pub tree: Tree,
    /// The folder that holds the folder [`COMMON`].
    shared: Tree,
    nodes: BTreeMap<String, Manifest>,
    /// Why the other nodes cannot be used.
    broken: BTreeMap<String, String>,
    /// The names of folders that have files, but no manifest.
    passed_over: Vec<String>,
    /// Whether its images are the program's own tools.
    is_own: bool,
}

impl Repository {
    /// Reads every manifest below `root`. A node whose manifest is wrong, or claims an id or tag of another, is refused
    /// by whatever needs that node; the others can be worked on.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_sharing(root, &root.join("docker"))
    }

    /// A repository whose nodes share the folder `common` in `shared`, which may be another repository's.
    pub fn open_sharing(root: &Path, shared: &Path) -> Result<Self> {
        let root = root.canonicalize().with_context(|| format!("could not open {}", root.display()))?;
        let (tree, docker) = (Tree::at(&root), root.join("docker"));
        anyhow::ensure!(
            tree.kind(&docker)?.is_some(),
            "{} is not a repository of nodes: it has no folder docker/",
            root.display()
        );
        let (mut nodes, mut broken, mut passed_over) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (name, kind) in tree.entries(&docker)? {
            // What is wrong with the shared files is found for each node that takes some.
            if name == COMMON && tree.kind(docker.join(COMMON).join(MANIFEST)).is_err() {
                continue;
            }
            match read_manifest(&tree, &docker.join(&name)) {
                Ok(None) if kind == Kind::Folder && name != COMMON => {
                    // git leaves empty folders behind.
                    let has_files = tree.entries(docker.join(&name)).is_ok_and(|entries| !entries.is_empty());
                    passed_over.extend(has_files.then(|| text::excerpt(&name.to_string_lossy(), 100)));
                }
                Ok(None) => {}
                Ok(Some(manifest)) => drop(nodes.insert(manifest.node.to_string(), manifest)),
                Err(error) => drop(broken.insert(text::excerpt(&name.to_string_lossy(), 100), format!("{error:#}"))),
            }
        }
        let has_none = nodes.is_empty() && broken.is_empty();
        anyhow::ensure!(!has_none, "{} has no nodes: no file docker/<node>/{MANIFEST}", root.display());
        let shared = shared.canonicalize().with_context(|| format!("could not open {}", shared.display()))?;
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(TOOLS).canonicalize();
        let is_own = own.is_ok_and(|own| own == root);
        let mut repository = Self { root, tree, shared: Tree::at(shared), nodes, broken, passed_over, is_own };
        for (node, why) in repository.wrong_claims() {
            repository.refuse(&node, why);
        }
        let refused = |(name, node): (&String, &Manifest)| Some((name.clone(), repository.check_common(node).err()?));
        let wrong: Vec<(String, anyhow::Error)> = repository.nodes.iter().filter_map(refused).collect();
        wrong.into_iter().for_each(|(node, why)| repository.refuse(&node, format!("{why:#}")));
        Ok(repository)
    }

    /// Lets nothing be done with this node.
    pub fn refuse(&mut self, node: &str, why: String) {
        self.nodes.remove(node);
        self.broken.entry(node.to_owned()).or_insert(why);
    }

    /// The repository around the working folder, else the one that this program was built from.
    pub fn find_root() -> Result<PathBuf> {
        let here = std::env::current_dir().context("the working folder no longer exists")?;
        let is_root = |path: &&Path| path.join("docker").is_dir() && path.join("node-definitions").is_dir();
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
        match here.ancestors().find(is_root).or(built_from.filter(|path| is_root(path))) {
            Some(root) => Ok(root.to_owned()),
            None => bail!(
                "{} is not inside a repository of nodes (folders docker/ and node-definitions/); \
                 change to one, or name it with --root",
                here.display()
            ),
        }
    }

    /// Refuses a name that a node cannot have although it is well formed.
    pub fn check_name(name: &str) -> Result<()> {
        anyhow::ensure!(name != COMMON, "a node cannot be called `{COMMON}`: docker/{COMMON} holds what nodes share");
        anyhow::ensure!(
            image_name::is_tag(&format!("{name}:1")),
            "a node cannot be called `{name}`: its image would have that name, and engines refuse one that ends in `-`"
        );
        Ok(())
    }

    /// The node of that name; without a name `DEFAULT_NODE`, or the only one there is.
    pub fn node(&self, name: Option<&str>) -> Result<&Manifest> {
        let only = self.node_names().next().filter(|_| self.node_names().count() == 1);
        let name = match (name, only) {
            (Some(name), _) => name,
            (None, _) if self.node_names().any(|name| name == DEFAULT_NODE) => DEFAULT_NODE,
            (None, Some(only)) => only,
            (None, None) => bail!("which node? {}", text::near("", self.node_names())),
        };
        if let Some(why) = self.broken.get(name) {
            bail!("{why}");
        }
        self.nodes.get(name).with_context(|| {
            let folder = self.root.join("docker");
            format!("there is no node `{name}` in {}: {}", folder.display(), text::near(name, self.node_names()))
        })
    }

    /// The nodes of these names, each once; without names the default of [`Self::node`].
    pub fn named(&self, names: &[String]) -> Result<Vec<&Manifest>> {
        if names.is_empty() {
            return Ok(vec![self.node(None)?]);
        }
        let mut seen = BTreeSet::new();
        names.iter().filter(|name| seen.insert(*name)).map(|name| self.node(Some(name))).collect()
    }

    /// All nodes that can be worked on.
    pub fn nodes(&self) -> impl Iterator<Item = &Manifest> {
        self.nodes.values()
    }

    /// Every node.
    ///
    /// # Errors
    /// If one of them cannot be worked on.
    pub fn all(&self) -> Result<Vec<&Manifest>> {
        // One mistake may concern several nodes.
        let mut known = BTreeSet::new();
        let reasons: Vec<&str> = self.broken().map(|(_, why)| why).filter(|why| known.insert(*why)).collect();
        anyhow::ensure!(reasons.is_empty(), "{}", reasons.join("\n"));
        Ok(self.nodes().collect())
    }

    /// The names of the other nodes, those of their folders, and why nothing can be done with them.
    pub fn broken(&self) -> impl Iterator<Item = (&str, &str)> {
        self.broken.iter().map(|(name, why)| (name.as_str(), why.as_str()))
    }

    /// The folders below `docker/` that look like nodes but have no manifest.
    pub fn passed_over(&self) -> impl Iterator<Item = &str> {
        self.passed_over.iter().map(String::as_str)
    }

    fn node_names(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().chain(self.broken.keys()).map(String::as_str)
    }

    pub fn folder(&self, node: &Manifest) -> PathBuf {
        self.root.join("docker").join(node.node.as_str())
    }

    /// The files of a node's build context: its own, without the manifest, and what it takes from `docker/common`.
    pub fn context(&self, node: &Manifest) -> Result<Vec<ContextFile>> {
        let folder = self.folder(node);
        let mut files = context::scan(&self.tree, &folder, &folder)?;
        files.retain(|file| file.path != MANIFEST);
        files.iter().filter(|file| decides_the_context(&file.path)).try_for_each(|file| file.refuse_link())?;
        files.extend(self.common_files(node)?);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// What a node takes from `docker/common`, as files `common/…`.
    pub fn common_files(&self, node: &Manifest) -> Result<Vec<ContextFile>> {
        let mut files = Vec::new();
        for entry in &node.common {
            let path = self.shared.root().join(COMMON).join(entry.as_str());
            files.extend(context::scan(&self.shared, self.shared.root(), &path)?);
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        Ok(files)
    }

    /// The names of a variant at some version.
    ///
    /// # Errors
    /// If CML or an engine would refuse one of them; and if the image would replace one that others are built on.
    pub fn names(&self, node: &Manifest, variant: &Variant, version: &str) -> Result<Names> {
        let names = Names::of(node, variant, version)?;
        let image = &names.image;
        anyhow::ensure!(
            self.is_own || !image_name::is_own(image),
            "`image` becomes `{image}`, but cml-nodes/ is for images that this program makes for itself: \
             choose another name"
        );
        let users = self.nodes().flat_map(|node| node.variants.iter().map(move |variant| (node, variant)));
        for (user, variant) in users {
            let base = variant.base.as_ref().map(|base| image_name::plain(&base.image));
            anyhow::ensure!(
                base.as_ref() != Some(image),
                "`image` becomes `{image}`, which is the base of docker/{}/{MANIFEST}, variant {}: choose another name",
                user.node,
                variant.name
            );
        }
        Ok(names)
    }

    /// Whether `image` is the name that a node of this repository has at this version.
    pub fn makes(&self, image: &str, node: &str, version: &str) -> bool {
        self.nodes.get(node).is_some_and(|node| {
            let mut names = node.variants.iter().map(|variant| self.names(node, variant, version));
            names.any(|names| names.is_ok_and(|names| names.image == image_name::plain(image)))
        })
    }

    /// The nodes whose names are not allowed, or claimed by another one, which is then among them. Two variants with
    /// one id would overwrite each other on the server. CML accepts ids that differ only in case, but a person
    /// confuses them.
    fn wrong_claims(&self) -> Vec<(String, String)> {
        let (mut claimed, mut wrong) = (BTreeMap::<String, (String, String)>::new(), Vec::new());
        let mut claim = |claim: String, node: &Manifest, claimant: &str, wrong: &mut Vec<(String, String)>| {
            let by = (node.node.to_string(), claimant.to_owned());
            if let Some((other, place)) = claimed.insert(claim.to_lowercase(), by.clone()) {
                let why = format!("two nodes claim the {claim}: {place}, and {claimant}");
                wrong.extend([other, by.0].map(|node| (node, why.clone())));
            }
        };
        for node in self.nodes() {
            if let Some(shared) = &node.shared_node {
                let claimant = format!("docker/{}/{MANIFEST}, shared_node", node.node);
                claim(format!("id `{}`", shared.id), node, &claimant, &mut wrong);
            }
            for variant in &node.variants {
                let claimant = format!("docker/{}/{MANIFEST}, variant {}", node.node, variant.name);
                let names = match self.names(node, variant, &variant.version) {
                    Ok(names) => names,
                    Err(error) => {
                        let why = format!("{}: {error:#}", self.root.join(&claimant).display());
                        wrong.push((node.node.to_string(), why));
                        continue;
                    }
                };
                for what in [format!("id `{}`", names.id), format!("image `{}`", names.image)] {
                    claim(what, node, &claimant, &mut wrong);
                }
            }
        }
        wrong
    }

    /// What a manifest takes from `docker/common` is there, and nothing of the node's own is in its place.
    fn check_common(&self, node: &Manifest) -> Result<()> {
        if node.common.is_empty() {
            return Ok(());
        }
        let (folder, own) = (self.shared.root().join(COMMON), self.folder(node));
        let manifest = own.join(MANIFEST).display().to_string();
        for entry in &node.common {
            let path = folder.join(entry.as_str());
            self.shared.refuse_links(&path).with_context(|| format!("{manifest}: common"))?;
            if self.shared.kind(&path)?.is_none() {
                let entries = self.shared.entries(&folder).unwrap_or_default();
                let names: Vec<String> = entries.iter().map(|(name, _)| name.display().to_string()).collect();
                let near = text::near(entry.as_str(), names.iter().map(String::as_str));
                bail!("{manifest}: common: there is no {}: {near}", path.display());
            }
        }
        let own = own.join(COMMON);
        anyhow::ensure!(
            self.tree.kind(&own)?.is_none(),
            "{manifest}: common: the build finds the shared files in {COMMON}/, but the node has a folder of that \
             name: rename {}",
            own.display()
        );
        Ok(())
    }
}

/// The manifest in a folder, if it is that of a node.
fn read_manifest(tree: &Tree, folder: &Path) -> Result<Option<Manifest>> {
    let path = folder.join(MANIFEST);
    if tree.kind(&path)?.is_none() {
        return Ok(None);
    }
    let manifest = Manifest::read(tree, &path)?;
    Repository::check_name(manifest.node.as_str()).with_context(|| path.display().to_string())?;
    Ok(Some(manifest))
}

/// Whether an engine reads this file of a build context before the build, or the build finds files of this program's at
/// that place: a link there could lead the engine out of the context.
fn decides_the_context(path: &str) -> bool {
    [COMMON, context::SOURCES].contains(&path) || path.ends_with(".dockerignore") || path == ".containerignore"
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::manifest::tests::GOOD;

    /// The nodes `one`, which takes `shell/` and `links.sh` from `docker/common`, and `two`, which takes nothing.
    pub(crate) fn repository() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for node in ["one", "two"] {
            let text = GOOD.replace("tiny", node).replace("    source: ", "    # ");
            write(folder.path(), &format!("{node}/Dockerfile"), "FROM scratch\n");
            write(folder.path(), &format!("{node}/node.yaml"), &text);
        }
        let manifest = folder.path().join("docker/one/node.yaml");
        let text = std::fs::read_to_string(&manifest).unwrap() + "common: [shell, links.sh, shell/rc]\n";
        std::fs::write(manifest, text).unwrap();
        for file in ["shell/rc", "shell/lib/say.sh", "links.sh", "unused"] {
            write(folder.path(), &format!("common/{file}"), file);
        }
        folder
    }

    pub(crate) fn write(root: &Path, file: &str, text: &str) {
        let path = root.join("docker").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn error(root: &Path) -> String {
        let repository = Repository::open(root).unwrap();
        let reasons: Vec<&str> = repository.broken().map(|(_, why)| why).collect();
        reasons.join("\n")
    }

    #[test]
    fn an_image_cannot_have_the_name_of_a_base_or_of_the_programs_own_images() {
        for (image, why) in [
            ("cml-nodes/debian:trixie", "cml-nodes/ is for images that this program makes"),
            ("cml-nodes/link-helper:1", "cml-nodes/ is for images that this program makes"),
            ("debian:trixie-slim", "which is the base of docker/one/node.yaml, variant only"),
            ("localhost/cml-nodes/debian:trixie", "engines leave out"),
            ("docker.io/library/debian:trixie-slim", "engines leave out"),
        ] {
            let folder = repository();
            let path = folder.path().join("docker/two/node.yaml");
            let text = std::fs::read_to_string(&path).unwrap().replace("two:{{ version }}", image);
            std::fs::write(path, text).unwrap();
            let error = error(folder.path());
            assert!(error.contains("docker/two/node.yaml, variant only") && error.contains(why), "{image}: {error}");
        }
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(TOOLS);
        assert_eq!(error(&tools), "", "the program's own");
    }

    #[test]
    fn an_image_name_that_only_another_version_has_is_refused_too() {
        let folder = repository();
        write(folder.path(), "two/node.yaml", &GOOD.replace("tiny:", "debian:").replace("tiny", "two"));
        let repository = Repository::open(folder.path()).unwrap();
        let node = repository.node(Some("two")).unwrap();
        let names = |version| repository.names(node, &node.variants[0], version);
        assert!(names("trixie-slim").unwrap_err().to_string().contains("which is the base of"));
        assert!(names("2").is_ok() && repository.makes("debian:2", "two", "2"));
        assert!(!repository.makes("debian:2", "one", "2") && !repository.makes("debian:2", "two", "1"));
    }

    #[test]
    fn a_context_has_the_nodes_files_and_the_shared_ones_without_the_manifest() {
        let folder = repository();
        let repository = Repository::open(folder.path()).unwrap();
        let paths = |node: &str| -> Vec<String> {
            let files = repository.context(repository.node(Some(node)).unwrap()).unwrap();
            files.into_iter().map(|file| file.path).collect()
        };
        assert_eq!(paths("one"), ["Dockerfile", "common/links.sh", "common/shell/lib/say.sh", "common/shell/rc"]);
        assert_eq!(paths("two"), ["Dockerfile"]);
    }

    #[test]
    fn a_shared_file_that_is_not_there_is_reported_with_a_suggestion() {
        let folder = repository();
        std::fs::rename(folder.path().join("docker/common/links.sh"), folder.path().join("docker/common/link.sh"))
            .unwrap();
        let error = error(folder.path());
        assert!(error.contains("one/node.yaml: common: there is no "), "{error}");
        assert!(error.contains("common/links.sh: did you mean `link.sh`?"), "{error}");
    }

    #[test]
    fn a_nodes_own_folder_cannot_take_the_place_of_the_shared_one() {
        let folder = repository();
        write(folder.path(), "one/common/links.sh", "own");
        assert!(error(folder.path()).contains("the node has a folder of that name"));
        // A node that shares nothing may call its folders as it likes.
        let folder = repository();
        write(folder.path(), "two/common/links.sh", "own");
        assert_eq!(error(folder.path()), "");
    }

    #[test]
    fn a_broken_node_leaves_the_others_usable() {
        let folder = repository();
        write(folder.path(), "one/node.yaml", "node: [\n");
        let repository = Repository::open(folder.path()).unwrap();
        assert!(repository.node(Some("two")).is_ok());
        assert_eq!(repository.nodes().count(), 1);
        for refused in [repository.node(Some("one")).err(), repository.all().err()] {
            assert!(refused.unwrap().to_string().contains("one/node.yaml:2:1: "));
        }
        assert!(repository.node(None).unwrap_err().to_string().contains("which node?"), "there are two");
    }

    #[test]
    fn a_folder_without_a_manifest_is_no_node_but_is_not_forgotten() {
        let folder = repository();
        write(folder.path(), "toy/Dockerfile", "FROM scratch\n");
        write(folder.path(), "README.md", "text\n");
        std::fs::create_dir(folder.path().join("docker/empty")).unwrap();
        let repository = Repository::open(folder.path()).unwrap();
        assert_eq!(repository.passed_over().collect::<Vec<_>>(), ["toy"]);
        assert_eq!((repository.nodes().count(), repository.broken().count()), (2, 0));
    }

    #[test]
    fn both_nodes_that_claim_one_id_are_refused() {
        let folder = repository();
        let text = GOOD.replace("node: tiny", "node: two").replace("tiny:", "two:").replace("id: tiny", "id: ONE");
        write(folder.path(), "two/node.yaml", &text);
        let repository = Repository::open(folder.path()).unwrap();
        assert_eq!(repository.nodes().count(), 0);
        for node in ["one", "two"] {
            let why = repository.node(Some(node)).unwrap_err().to_string();
            assert!(
                why.contains("two nodes claim the id") && why.contains("docker/one/node.yaml, variant only"),
                "{why}"
            );
        }
    }

    #[test]
    fn the_folder_of_shared_files_is_not_a_node() {
        let folder = repository();
        write(folder.path(), "common/Dockerfile", "FROM scratch\n");
        write(folder.path(), "common/node.yaml", &GOOD.replace("tiny", "common"));
        assert!(error(folder.path()).contains("a node cannot be called `common`"));
    }
}
