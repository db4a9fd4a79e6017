//! `cargo xtask new`: the files of a further node, as data that builds and is proved as it stands.
//!
//! They are copied from a node, with its name replaced where it is the node's: from the one that
//! comes with this program, or from any other of the repository.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::commands::session::Session;
use catalog::names::Name;
use catalog::{Manifest, Repository, context};

#[derive(clap::Args)]
pub struct Args {
    /// What the node shall be called: a-z, 0-9 and `-`
    node: String,
    /// A node of this repository to start from [default: a host on Debian with a shell]
    #[arg(long, value_name = "NODE")]
    from: Option<String>,
}

/// The keys of a manifest that hold the node's name.
const NAMED: [&str; 6] = ["node:", "image:", "id:", "label:", "title:", "node_definition:"];

/// # Errors
/// If the name is none, or is taken; or a file can't be written.
pub fn run(session: &Session<'_>, args: Args) -> Result<()> {
    let name = Name::try_from(args.node).map_err(anyhow::Error::msg)?;
    let own = Repository::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scaffold"))?;
    let (from, source) = match &args.from {
        Some(node) => (&session.repository, session.repository.node(Some(node))?),
        None => (&own, own.node(None)?),
    };
    let files = copies(from, source, &session.repository.root, name.as_str())?;
    for Copy { path, .. } in &files {
        anyhow::ensure!(!path.exists(), "{} is there already: choose another name", path.display());
    }
    for Copy { path, text, executable } in &files {
        write(path, text, *executable)?;
        session.ui.result(path.display())?;
    }
    // What was written must be what the program reads.
    Repository::open(&session.repository.root)?;
    session.ui.note(format_args!("made the node {name}. Next:"));
    session.ui.note(format_args!(
        "  edit docker/{name}/node.yaml (title, description, what it must prove), and its Dockerfile"
    ));
    session.ui.note(format_args!("  cargo xtask lint             its definitions, judged"));
    session.ui.note(format_args!("  cargo xtask verify {name}   builds, saves, boots and proves it"));
    Ok(())
}

/// A file that is to be written.
struct Copy {
    path: PathBuf,
    text: Vec<u8>,
    executable: bool,
}

fn copies(from: &Repository, source: &Manifest, root: &Path, name: &str) -> Result<Vec<Copy>> {
    let (old, folder) = (source.node.as_str(), from.folder(source));
    let mut copies = Vec::new();
    for file in context::scan(&folder, &[])? {
        let path = folder.join(&file.path);
        let text = std::fs::read(&path).with_context(|| format!("{} can't be read", path.display()))?;
        let text = match file.path.as_str() {
            "node.yaml" => edited(text, |text| manifest(text, old, name)),
            path if path.starts_with("Dockerfile") => edited(text, |text| dockerfile(text, old, name)),
            _ => text,
        };
        let path = root.join("docker").join(name).join(&file.path);
        copies.push(Copy { path, executable: text.starts_with(b"#!"), text });
    }
    let template =
        source.node_definition.as_ref().map_or_else(|| format!("{old}.yaml"), |path| path.as_str().to_owned());
    let path = from.root.join("node-definitions").join(template);
    let text = std::fs::read(&path).with_context(|| format!("{} can't be read", path.display()))?;
    let text = edited(text, |text| text.replace(&format!("\"{old}-\""), &format!("\"{name}-\"")));
    copies.push(Copy { path: root.join("node-definitions").join(format!("{name}.yaml")), text, executable: false });
    Ok(copies)
}

/// Text is edited, anything else stays.
fn edited(bytes: Vec<u8>, edit: impl FnOnce(&str) -> String) -> Vec<u8> {
    match String::from_utf8(bytes) {
        Ok(text) => edit(&text).into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

/// The name is replaced where it is the node's own, not where it is that of a package or a program.
fn manifest(text: &str, old: &str, new: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let is_named = NAMED.iter().find(|key| line.starts_with(*key));
        lines.push(match is_named {
            // The new node has a template of its own, under the name that is taken without this key.
            Some(&"node_definition:") => continue,
            Some(&key @ ("label:" | "title:")) => format!("{key} {}", relabelled(&line[key.len()..], new)),
            Some(_) => line.replace(old, new),
            None => line.replace(&format!("verify {old}`"), &format!("verify {new}`")),
        });
    }
    lines.join("\n") + "\n"
}

/// `"FRR {{ version }}"` → `"my-frr {{ version }}"`
fn relabelled(value: &str, new: &str) -> String {
    let rest = value.find("{{").map_or("", |at| value[at..].trim().trim_end_matches('"'));
    format!("\"{new} {rest}\"").replace(" \"", "\"")
}

fn dockerfile(text: &str, old: &str, new: &str) -> String {
    text.replace(&format!("sources/{old}.tar"), &format!("sources/{new}.tar"))
        .replace(&format!("id=cml-nodes-{old}-"), &format!("id=cml-nodes-{new}-"))
}

fn write(path: &Path, text: &[u8], executable: bool) -> Result<()> {
    let folder = path.parent().context("a path without a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    std::fs::write(path, text).with_context(|| format!("{} can't be written", path.display()))?;
    #[cfg(unix)]
    if executable {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
            .with_context(|| format!("{} can't be made executable", path.display()))?;
    }
    #[cfg(not(unix))]
    let _ = executable;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_replaced_where_it_is_the_nodes() {
        let text = "node: frr\ntitle: Free Range Routing (FRR)\nimage: \"frr:{{ version }}\"\nlabel: \"FRR {{ version }}{{ suffix }}\"\n\
                    node_definition: router.yaml\nvariants:\n  - source: {package: frr}\nchecks:\n  - run: [/usr/lib/frr/zebra]\n";
        assert_eq!(
            manifest(text, "frr", "spine"),
            "node: spine\ntitle: \"spine\"\nimage: \"spine:{{ version }}\"\nlabel: \"spine {{ version }}{{ suffix }}\"\n\
             variants:\n  - source: {package: frr}\nchecks:\n  - run: [/usr/lib/frr/zebra]\n"
        );
    }

    #[test]
    fn the_source_of_a_node_is_called_as_the_node() {
        assert_eq!(
            dockerfile("COPY sources/frr.tar /usr/lib/frr", "frr", "spine"),
            "COPY sources/spine.tar /usr/lib/frr"
        );
    }
}
