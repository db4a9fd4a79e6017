//! `cargo xtask new`: the files of a new node, which builds and passes `verify` as it is.
//!
//! They are copied from a node, and its name is replaced where it names the node: from the one that comes with this
//! program, or from another node of the repository.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use crate::commands::any_image::{self, ImageArgs};
use crate::commands::session::Session;
use catalog::context::{self, ContextFile};
use catalog::manifest::MANIFEST;
use catalog::names::Name;
use catalog::{Manifest, Repository};
use files::Tree;

/// The largest file that is copied.
const LARGEST: u64 = 1 << 30;

#[derive(clap::Args)]
pub struct Args {
    /// Name of the new node: a-z, 0-9 and `-`
    #[arg(value_parser = new_name)]
    node: Name,
    /// Node of this repository to copy from [default: a host on Debian with a shell]
    #[arg(long, value_name = "NODE", conflicts_with = "image")]
    from: Option<String>,
    #[command(flatten)]
    image: Option<ImageArgs>,
}

/// The keys of a manifest that contain the node's name.
const NAMED: [&str; 6] = ["node:", "image:", "id:", "label:", "title:", "node_definition:"];

pub async fn run(session: &Session<'_>, args: Args) -> Result<()> {
    match &args.image {
        Some(image) => any_image::run(session, &args.node, image).await,
        None => copy(session, &args.node, args.from.as_deref()),
    }
}

/// A name that a node can have, also as the name of its image.
fn new_name(text: &str) -> Result<Name, String> {
    let name = Name::try_from(text.to_owned())?;
    Repository::check_name(name.as_str()).map_err(|error| error.to_string())?;
    Ok(name)
}

/// A node whose files are those of another.
fn copy(session: &Session<'_>, name: &Name, from: Option<&str>) -> Result<()> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = Repository::open_sharing(&program.join("scaffold"), &program.join("../docker"))?;
    let (from, source) = match from {
        Some(node) => (&session.repository, session.repository.node(Some(node))?),
        None => (&own, own.node(None)?),
    };
    let files = copies(from, source, &session.repository.root, name.as_str())?;
    let tree = &session.repository.tree;
    for (path, _) in &files {
        anyhow::ensure!(tree.kind(path)?.is_none(), "{} already exists: choose another name", path.display());
    }
    let shared = shared(from, source, tree)?;
    let all: Vec<&Copy> = files.iter().chain(&shared).collect();
    let written = all.iter().try_for_each(|(path, content)| write(tree, path, content));
    // The program must be able to read what it wrote, or no command would work.
    if let Err(error) = written.and_then(|()| usable(&session.repository.root, name.as_str())) {
        all.iter().try_for_each(|(path, _)| tree.remove_with_folders(path))?;
        return Err(error.context(format!("the node {name} cannot be made, and nothing of it was kept")));
    }
    for (path, _) in &all {
        session.ui.result(path.display())?;
    }
    session.ui.note(format_args!("created the node {name}. Next:"));
    session.ui.note(format_args!("  edit docker/{name}/node.yaml (title, description, scenes) and its Dockerfile"));
    session.ui.note(format_args!("  run `cargo xtask lint`, which checks its definitions"));
    session.ui.note(format_args!("  run `cargo xtask verify {name}`, which builds, saves, boots and checks it"));
    Ok(())
}

/// Fails if nothing could be done with the node.
fn usable(root: &Path, name: &str) -> Result<()> {
    Repository::open(root)?.node(Some(name)).map(drop)
}

/// A file to be written: where, and what.
type Copy = (PathBuf, Content);

enum Content {
    Bytes(Vec<u8>),
    /// A link to this.
    Link(PathBuf),
}

fn copies(from: &Repository, source: &Manifest, root: &Path, name: &str) -> Result<Vec<Copy>> {
    let (old, folder) = (source.node.as_str(), from.folder(source));
    let mut copies = Vec::new();
    for file in context::scan(&from.tree, &folder, &folder)? {
        let content = content(&folder, &file)?;
        let content = match file.path.as_str() {
            MANIFEST => content.edited(|text| manifest(text, old, name)),
            path if path.starts_with("Dockerfile") => content.edited(|text| dockerfile(text, old, name)),
            _ => content,
        };
        copies.push((root.join("docker").join(name).join(&file.path), content));
    }
    let text = from.tree.read(Path::new("node-definitions").join(source.node_template()), LARGEST)?;
    let text = Content::Bytes(text).edited(|text| template(text, old, name));
    copies.push((root.join("node-definitions").join(format!("{name}.yaml")), text));
    Ok(copies)
}

/// What the node takes from `docker/common` and the repository does not have yet.
fn shared(from: &Repository, source: &Manifest, to: &Tree) -> Result<Vec<Copy>> {
    let mut copies = Vec::new();
    for file in from.common_files(source)? {
        let path = to.root().join("docker").join(&file.path);
        if to.kind(&path)?.is_none() {
            copies.push((path, content(Path::new("docker"), &file)?));
        }
    }
    Ok(copies)
}

/// What is copied of a file in `folder`. A link stays one, if it leads to something in this folder.
fn content(folder: &Path, file: &ContextFile) -> Result<Content> {
    let Some(target) = file.link_target() else { return Ok(Content::Bytes(file.read(LARGEST)?)) };
    anyhow::ensure!(
        stays_inside(&file.path, target),
        "{} is a symbolic link to {}, which is outside of {} or may be: it is not copied; remove it, or replace it by \
         what it points to",
        folder.join(&file.path).display(),
        text::printable(&target.to_string_lossy()),
        folder.display()
    );
    Ok(Content::Link(target.to_owned()))
}

/// Whether the link at `path`, relative to some folder, leads to something in that folder, as far as its text says.
/// Behind a name, `..` could be the way out of what another link points to.
fn stays_inside(path: &str, target: &Path) -> bool {
    let parts = || target.components().filter(|part| *part != Component::CurDir);
    let ups = parts().take_while(|part| *part == Component::ParentDir).count();
    ups <= path.matches('/').count() && parts().skip(ups).all(|part| matches!(part, Component::Normal(_)))
}

impl Content {
    /// Edited, if it is text.
    fn edited(self, edit: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(match String::from_utf8(bytes) {
                Ok(text) => edit(&text).into_bytes(),
                Err(error) => error.into_bytes(),
            }),
            link @ Self::Link(_) => link,
        }
    }
}

/// The manifest with the node's name replaced, but not where a package or a program has the same name.
fn manifest(text: &str, old: &str, new: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let is_named = NAMED.iter().find(|key| line.starts_with(*key));
        lines.push(match is_named {
            // The new node has a template of its own, under the default name.
            Some(&"node_definition:") => continue,
            Some(&key @ ("label:" | "title:")) => format!("{key} {}", relabelled(&line[key.len()..], new)),
            Some(_) => line.replace(old, new),
            None => match line.split_once(" node. ") {
                // The heading, which says whose manifest it is.
                Some((heading, rest)) if heading.starts_with("# The ") => format!("# {rest}"),
                _ => line.replace(&format!("verify {old}`"), &format!("verify {new}`")),
            },
        });
    }
    lines.join("\n") + "\n"
}

/// `"FRR {{ version }}"` → `"my-frr {{ version }}"`
fn relabelled(value: &str, new: &str) -> String {
    let rest = value.find("{{").map_or("", |at| value[at..].trim().trim_end_matches('"'));
    format!("\"{new} {rest}\"").replace(" \"", "\"")
}

fn template(text: &str, old: &str, new: &str) -> String {
    text.replace(&format!("\"{old}-\""), &format!("\"{new}-\""))
        .replace(&format!("docker/{old}/"), &format!("docker/{new}/"))
        .replace(&format!("node definition of {old}."), &format!("node definition of {new}."))
}

fn dockerfile(text: &str, old: &str, new: &str) -> String {
    text.replace(&format!("sources/{old}.tar"), &format!("sources/{new}.tar"))
        .replace(&format!("id=cml-nodes-{old}-"), &format!("id=cml-nodes-{new}-"))
}

/// Writes a file, executable if it is a script, or a link.
fn write(tree: &Tree, path: &Path, content: &Content) -> Result<()> {
    match content {
        Content::Bytes(text) => tree.write(path, if text.starts_with(b"#!") { 0o755 } else { 0o644 }, text),
        Content::Link(target) => tree.write_link(path, target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_replaced_where_it_is_the_nodes() {
        let text = concat!(
            "node: frr\ntitle: Free Range Routing (FRR)\nimage: \"frr:{{ version }}\"\n",
            "label: \"FRR {{ version }}{{ suffix }}\"\nnode_definition: router.yaml\n",
            "variants:\n  - source: {package: frr}\nchecks:\n  - run: [/usr/lib/frr/zebra]\n"
        );
        let renamed = concat!(
            "node: spine\ntitle: \"spine\"\nimage: \"spine:{{ version }}\"\n",
            "label: \"spine {{ version }}{{ suffix }}\"\n",
            "variants:\n  - source: {package: frr}\nchecks:\n  - run: [/usr/lib/frr/zebra]\n"
        );
        assert_eq!(manifest(text, "frr", "spine"), renamed);
    }

    #[test]
    fn a_name_that_makes_no_name_of_an_image_is_refused() {
        for (text, why) in [
            ("web-", "ends in `-`"),
            ("My Node", "use up to 32 of a-z, 0-9 and `-`"),
            ("-web", "beginning with a letter"),
            ("", "is not a valid name"),
            ("common", "what nodes share"),
        ] {
            let error = new_name(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(new_name("web--1").is_ok());
    }

    #[test]
    fn links_that_lead_out_of_the_folder_or_may_are_told_from_others() {
        for (path, target, stays) in [
            ("a", "./b", true),
            ("etc/a", "../usr/b", true),
            ("etc/a", "../../b", false),
            ("a", "/etc/passwd", false),
            // If `b` is a link to the folder itself, this is beside the folder.
            ("a", "b/../c", false),
        ] {
            assert_eq!(stays_inside(path, Path::new(target)), stays, "{path} -> {target}");
        }
    }

    #[test]
    fn the_source_of_a_node_has_the_nodes_name() {
        assert_eq!(
            dockerfile("COPY sources/frr.tar /usr/lib/frr", "frr", "spine"),
            "COPY sources/spine.tar /usr/lib/frr"
        );
    }
}
