//! Definitions in files: what is there, and what stands beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::commands::lint::report::Report;
use definitions::lint::{self, Archive, Document, Subject, Surroundings};
use definitions::yaml;

/// Definitions that stand beside those to judge are only compared with them; more than this are no company.
const MOST_BESIDE: usize = 1000;

/// Judges files, and every `.yaml` and `.yml` of folders, all together.
///
/// # Errors
/// If a path is not there or can't be read.
pub(super) fn lint(paths: &[PathBuf]) -> Result<Vec<Report>> {
    let mut files = Vec::new();
    for path in paths {
        let metadata = fs::metadata(path).with_context(|| format!("{} can't be read", path.display()))?;
        if metadata.is_dir() {
            collect(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    let mut known = BTreeSet::new();
    files.retain(|path| known.insert(identity(path)));
    let mut folders = Folders::default();
    let mut subjects = Vec::new();
    for (path, document) in files.iter().zip(read_all(&files)?) {
        let around = surroundings(path, &document, &mut folders);
        subjects.push(Subject { document, around });
    }
    let beside = beside(&files, &subjects, &known);
    let findings = lint::judge(&subjects, &beside);
    let reports = files.iter().zip(&subjects).zip(findings).map(|((path, subject), findings)| Report {
        path: path.display().to_string(),
        kind: subject.document.definition.kind(),
        findings,
        silenced: 0,
    });
    Ok(reports.collect())
}

/// One file under two names is one file.
fn identity(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The YAML files below a folder, in order. Links to folders are not followed: they may lead in a circle.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))?;
    let mut entries = entries.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if is_yaml(&path) && path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

/// Reads files on all processors.
fn read_all(files: &[PathBuf]) -> Result<Vec<Document>> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = files.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let read_share = |share: &[PathBuf]| share.iter().map(|path| read(path)).collect::<Result<Vec<_>>>();
        let readers: Vec<_> = files.chunks(share).map(|share| scope.spawn(move || read_share(share))).collect();
        let mut documents = Vec::with_capacity(files.len());
        for reader in readers {
            let read = reader.join().map_err(|_| anyhow!("reading the definitions broke off"))?;
            documents.extend(read?);
        }
        Ok(documents)
    })
}

/// Reads no more of a file than a definition may have.
fn read(path: &Path) -> Result<Document> {
    let cant = || format!("{} can't be read", path.display());
    let file = fs::File::open(path).with_context(cant)?;
    let size = file.metadata().with_context(cant)?.len();
    let most = yaml::LARGEST as u64;
    if size > most {
        return Ok(Document::too_large(size));
    }
    let mut bytes = Vec::new();
    // A pipe has no size.
    file.take(most + 1).read_to_end(&mut bytes).with_context(cant)?;
    Ok(Document::read(&bytes))
}

/// The names of the files in each folder, read once.
#[derive(Default)]
struct Folders(BTreeMap<PathBuf, BTreeSet<String>>);

impl Folders {
    fn names(&mut self, folder: &Path) -> &BTreeSet<String> {
        self.0.entry(folder.to_owned()).or_insert_with(|| {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
        })
    }
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
    let disk = image.disk_images[0].as_ref().map(|name| folder.join(&name.value));
    let archive = disk.filter(|disk| disk.is_file() && is_archive(disk));
    Surroundings {
        folder: Some(folders.names(folder).clone()),
        archive: archive.map(|disk| examine(&disk)),
        image_files: None,
    }
}

fn is_archive(path: &Path) -> bool {
    let name = path.to_string_lossy();
    name.ends_with(".tar") || name.ends_with(".tar.gz")
}

fn examine(path: &Path) -> Archive {
    match archive::examine_file(path) {
        Ok(contents) => Archive::Image { image_id: contents.image_id.hex().to_owned(), tags: contents.tags },
        Err(error) => Archive::Unreadable(format!("the archive can't be used: {error:#}")),
    }
}

/// Node definitions that image definitions may belong to: in their folders, and where CML keeps them. [docs/cml.md 1]
fn beside(files: &[PathBuf], subjects: &[Subject], judged: &BTreeSet<PathBuf>) -> Vec<Document> {
    let images = files.iter().zip(subjects).filter(|(_, subject)| subject.document.as_image().is_some());
    let folders: BTreeSet<PathBuf> = images
        .flat_map(|(path, _)| {
            let folder = folder_of(path);
            [folder.to_owned(), folder.join("../../node-definitions")]
        })
        .collect();
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let others = entries.map(|entry| entry.path()).filter(|path| is_yaml(path) && !judged.contains(&identity(path)));
    let documents = others.take(MOST_BESIDE).filter_map(|path| read(&path).ok());
    documents.filter(|document| document.as_node().is_some()).collect()
}
