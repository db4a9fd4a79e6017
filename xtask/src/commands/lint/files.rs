//! Definitions in files, and the files beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::commands::WrongUsage;
use crate::commands::lint::report::Report;
use definitions::Document;
use definitions::lint::{self, Archive, Subject, Surroundings};
use files::{Kind, Tree};

/// The most definitions beside the judged ones that are compared with them.
const MOST_BESIDE: usize = 1000;

/// A path that is judged, and its document.
type Read = (PathBuf, Document);

/// The findings in files, and in every `.yaml` and `.yml` file of folders; they are judged together. A file that cannot
/// be read is a finding, also one beside an image definition, where CML looks for definitions.
///
/// # Errors
/// If a path does not exist, or a folder has no such file.
pub(super) fn lint(paths: &[PathBuf]) -> Result<Vec<Report>> {
    let mut found = Found::default();
    for path in paths {
        let (tree, absolute) = Tree::around(path)?;
        match tree.kind(absolute).with_context(|| format!("cannot read {}", path.display())).map_err(WrongUsage)? {
            Some(Kind::Folder) => {
                let before = found.files.len() + found.unreadable.len();
                found.collect(path);
                if found.files.len() + found.unreadable.len() == before {
                    return Err(WrongUsage(anyhow!("there is no .yaml or .yml file in {}", path.display())).into());
                }
            }
            Some(_) => found.files.push(path.clone()),
            None => {
                let hint = "lint takes files and folders; `cargo xtask lint` without arguments judges every node";
                let why = anyhow!("cannot read {}: there is no such file; {hint}", path.display());
                return Err(WrongUsage(why).into());
            }
        }
    }
    let mut known = BTreeSet::new();
    found.files.retain(|path| known.insert(identity(path)));
    let mut judged = read_all(found.files)?;
    judged.extend(found.unreadable.into_iter().map(|(folder, why)| (folder, Document::unusable(why))));
    // Whatever is wrong with a file there, CML would look at it too.
    let (unknown, beside): (Vec<Read>, _) =
        beside(&judged, &known).into_iter().partition(|(_, document)| document.is_unknown());
    judged.extend(unknown);
    let beside: Vec<Document> =
        beside.into_iter().map(|(_, document)| document).filter(|document| document.as_node().is_some()).collect();
    let mut folders = Folders::default();
    let subject = |(path, document)| Subject { document, around: surroundings(path, document, &mut folders) };
    let subjects: Vec<Subject<'_>> =
        judged.iter().map(|(path, document)| (path.as_path(), document)).map(subject).collect();
    let findings = lint::judge(&subjects, &beside);
    let reports = judged.iter().zip(findings).map(|((path, document), findings)| Report {
        path: path.display().to_string(),
        kind: document.definition.kind(),
        findings,
        silenced: 0,
    });
    Ok(reports.collect())
}

/// The same for all names of a file.
fn identity(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// What is in the folders that the user has named.
#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    /// Folders, and why they cannot be read.
    unreadable: Vec<(PathBuf, String)>,
}

impl Found {
    /// Adds the YAML files below a folder, in order. Links are not followed: those to folders are passed over. A link
    /// or a folder with a file's name is refused when it is read.
    fn collect(&mut self, folder: &Path) {
        let entries = fs::read_dir(folder).and_then(|entries| {
            let typed = entries.map(|entry| {
                let entry = entry?;
                Ok((entry.path(), entry.file_type()?.is_dir()))
            });
            typed.collect::<std::io::Result<Vec<_>>>()
        });
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                let why = format!("cannot read {}: {error}", folder.display());
                return self.unreadable.push((folder.to_owned(), why));
            }
        };
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (path, is_folder) in entries {
            if is_yaml(&path) {
                self.files.push(path.clone());
            }
            if is_folder {
                self.collect(&path);
            }
        }
    }
}

fn read_all(files: Vec<PathBuf>) -> Result<Vec<Read>> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = files.len().div_ceil(threads).max(1);
    let documents = std::thread::scope(|scope| {
        let read_share = |share: &[PathBuf]| share.iter().map(|path| Document::examine(path)).collect::<Vec<_>>();
        let readers: Vec<_> = files.chunks(share).map(|share| scope.spawn(move || read_share(share))).collect();
        let mut documents = Vec::with_capacity(files.len());
        for reader in readers {
            documents.extend(reader.join().map_err(|_| anyhow!("reading the definitions failed"))?);
        }
        anyhow::Ok(documents)
    })?;
    Ok(files.into_iter().zip(documents).collect())
}

/// The names of the files in each folder, read once.
type Folders = BTreeMap<PathBuf, BTreeSet<String>>;

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn surroundings(path: &Path, document: &Document, folders: &mut Folders) -> Surroundings {
    let Some(image) = document.as_image() else { return Surroundings::default() };
    let folder = folder_of(path);
    // A path could lead out of the folder.
    let disk = image.disk_image.as_ref().filter(|name| !name.value.contains('/'));
    let names = folders.entry(folder.to_owned()).or_insert_with(|| names_in(folder)).clone();
    // A folder, a link or a pipe of that name is refused when it is read.
    let disk = disk.filter(|name| names.contains(&name.value)).map(|name| folder.join(&name.value));
    let archive = disk.filter(|disk| is_archive(disk));
    Surroundings { folder: Some(names), archive: archive.map(|disk| examine(&disk)), image_files: None }
}

fn is_archive(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".tar") || name.ends_with(".tar.gz")
}

fn examine(path: &Path) -> Archive {
    match archive::examine_file(path) {
        Ok(contents) => Archive::Image {
            image_id: contents.image_id.hex().to_owned(),
            tags: contents.tags,
            platform: contents.platform,
        },
        Err(error) => Archive::Unreadable(format!("{error:#}")),
    }
}

/// The definitions beside image definitions that are not judged by themselves: in their folders, and where CML keeps
/// the node definitions that they may belong to. [docs/cml.md 1]
fn beside(judged: &[Read], known: &BTreeSet<PathBuf>) -> Vec<Read> {
    let images = judged.iter().filter(|(_, document)| document.as_image().is_some());
    let around = |folder: &Path| {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let of_nodes = folder.ancestors().nth(2).map(|server| server.join("node-definitions"));
        [Some(folder), of_nodes].into_iter().flatten()
    };
    let folders: BTreeSet<PathBuf> = images.flat_map(|(path, _)| around(folder_of(path))).collect();
    let files = |folder: &PathBuf| {
        // Those beside a file are in a tree that has more than this folder.
        let tree = Tree::at(folder.parent().unwrap_or(folder));
        let entries = tree.entries(folder).unwrap_or_default();
        let folder = folder.clone();
        entries.into_iter().map(move |(name, _)| folder.join(name))
    };
    let others = folders.iter().flat_map(files).filter(|path| is_yaml(path) && !known.contains(&identity(path)));
    others.take(MOST_BESIDE).map(|path| (path.clone(), Document::examine(&path))).collect()
}
