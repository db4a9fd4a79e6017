//! Definitions in files, and the files beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::commands::lint::report::Report;
use definitions::Document;
use definitions::lint::{self, Archive, Subject, Surroundings};
use files::{Kind, Tree};

/// The most definitions beside the judged ones that are compared with them.
const MOST_BESIDE: usize = 1000;

/// The findings in files, and in every `.yaml` and `.yml` file of folders; they are judged together.
pub(super) fn lint(paths: &[PathBuf]) -> Result<Vec<Report>> {
    let mut files = Vec::new();
    for path in paths {
        let (tree, absolute) = Tree::around(path)?;
        if tree.kind(absolute)? == Some(Kind::Folder) {
            let before = files.len();
            collect(path, &mut files)?;
            if files.len() == before {
                let message = format!("there is no .yaml or .yml file in {}", path.display());
                return Err(std::io::Error::new(std::io::ErrorKind::NotFound, message).into());
            }
        } else {
            files.push(path.clone());
        }
    }
    let mut known = BTreeSet::new();
    files.retain(|path| known.insert(identity(path)));
    let documents = read_all(&files)?;
    let mut folders = Folders::default();
    let subject = |(path, document)| Subject { document, around: surroundings(path, document, &mut folders) };
    let subjects: Vec<Subject<'_>> = files.iter().map(PathBuf::as_path).zip(&documents).map(subject).collect();
    let beside = beside(&files, &documents, &known);
    let findings = lint::judge(&subjects, &beside);
    let reports = files.iter().zip(&documents).zip(findings).map(|((path, document), findings)| Report {
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

/// The YAML files below a folder, in order. Links are not followed: those to folders are passed over, a link with a
/// file's name is refused when it is read.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut entries = entries.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if is_yaml(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn read_all(files: &[PathBuf]) -> Result<Vec<Document>> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = files.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let read_share = |share: &[PathBuf]| share.iter().map(|path| Document::open(path)).collect::<Result<Vec<_>>>();
        let readers: Vec<_> = files.chunks(share).map(|share| scope.spawn(move || read_share(share))).collect();
        let mut documents = Vec::with_capacity(files.len());
        for reader in readers {
            let read = reader.join().map_err(|_| anyhow!("reading the definitions failed"))?;
            documents.extend(read?);
        }
        Ok(documents)
    })
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
    let has_file = |disk: &PathBuf| Tree::around(disk).is_ok_and(|(tree, disk)| tree.has_file(disk));
    let disk = disk.map(|name| folder.join(&name.value));
    let archive = disk.filter(|disk| is_archive(disk) && has_file(disk));
    let names = folders.entry(folder.to_owned()).or_insert_with(|| names_in(folder)).clone();
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

/// The node definitions that image definitions may belong to: in their folders, and where CML keeps them.
/// [docs/cml.md 1]
fn beside(files: &[PathBuf], documents: &[Document], judged: &BTreeSet<PathBuf>) -> Vec<Document> {
    let images = files.iter().zip(documents).filter(|(_, document)| document.as_image().is_some());
    let around = |folder: &Path| {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let of_nodes = folder.ancestors().nth(2).map(|server| server.join("node-definitions"));
        [Some(folder), of_nodes].into_iter().flatten()
    };
    let folders: BTreeSet<PathBuf> = images.flat_map(|(path, _)| around(folder_of(path))).collect();
    let files = |folder: &PathBuf| {
        // Those beside a file are in a tree that has more than this folder.
        let tree = Tree::at(folder.parent().unwrap_or(folder));
        let entries = tree.entries(folder).unwrap_or_default().into_iter().filter(|(_, kind)| *kind == Kind::File);
        let folder = folder.clone();
        entries.map(move |(name, _)| folder.join(name))
    };
    let others = folders.iter().flat_map(files).filter(|path| is_yaml(path) && !judged.contains(&identity(path)));
    let documents = others.take(MOST_BESIDE).filter_map(|path| Document::open(&path).ok());
    documents.filter(|document| document.as_node().is_some()).collect()
}
