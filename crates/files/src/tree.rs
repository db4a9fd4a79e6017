//! Files that others have written, such as those of a pull request that was checked out. A link among them could lead
//! anywhere: what it points to would end up in a definition or an image, or be overwritten.
//!
//! So each folder on the way is opened relative to the one before it, and never through a link; and only regular files
//! with one name are read. What a file was when it was examined, it is when it is read.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::fs::{fstat, mkdirat, open, openat, readlinkat, statat, unlinkat};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use crate::write;

/// A folder whose content others have written. It may itself be reached through links, nothing below it.
///
/// The methods take a path below it: relative to it, or with it at the beginning.
#[derive(Clone, Debug)]
pub struct Tree {
    root: Arc<Path>,
}

/// What is at a path; a link is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link,
    /// A pipe, a socket or a device. Opening one can wait for ever.
    Special,
}

impl Tree {
    pub fn at(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().into() }
    }

    /// The tree of a file or folder that the user has named, and the absolute path of that: the outermost repository of
    /// nodes or git checkout around it, else the folder itself or the one in which the file is.
    pub fn around(named: &Path) -> Result<(Self, PathBuf)> {
        let path = std::path::absolute(named).with_context(|| format!("cannot read {}", named.display()))?;
        let parent = path.parent().unwrap_or(&path);
        let is_checkout = |folder: &&Path| {
            let has = |name: &str| folder.join(name).symlink_metadata().is_ok();
            has(".git") || (has("docker") && has("node-definitions"))
        };
        // Behind `..`, the folders of the path are not those on the way.
        let is_plain = path.components().all(|part| part != Component::ParentDir);
        let root = match parent.ancestors().filter(is_checkout).last().filter(|_| is_plain) {
            Some(checkout) => checkout,
            None if path.is_dir() => &path,
            None => parent,
        };
        Ok((Self::at(root), path.clone()))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is at this path, if anything.
    ///
    /// # Errors
    /// If a folder on the way is a link.
    pub fn kind(&self, path: impl AsRef<Path>) -> Result<Option<Kind>> {
        let path = path.as_ref();
        match self.find(path) {
            Ok(kind) => Ok(Some(kind)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(self.explained(error, path)),
        }
    }

    /// Whether a regular file is at this path.
    pub fn has_file(&self, path: impl AsRef<Path>) -> bool {
        self.kind(path).is_ok_and(|kind| kind == Some(Kind::File))
    }

    /// # Errors
    /// If something at or above this path is a link. Nothing needs to be there.
    pub fn refuse_links(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if self.kind(path)? == Some(Kind::Link) {
            return Err(self.link(path).into());
        }
        Ok(())
    }

    /// Opens a regular file.
    ///
    /// # Errors
    /// If there is none, or something on the way or the file itself is a link.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<File> {
        let path = path.as_ref();
        self.open_file(path).map_err(|error| self.explained(error, path))
    }

    /// The content of a regular file with at most `most` bytes.
    ///
    /// # Errors
    /// As [`Self::open`]; and if the file is larger.
    pub fn read(&self, path: impl AsRef<Path>, most: u64) -> Result<Vec<u8>> {
        let path = path.as_ref();
        let mut bytes = Vec::new();
        let read = self.open_file(path).and_then(|file| {
            let size = file.metadata()?.len();
            if size <= most {
                file.take(most + 1).read_to_end(&mut bytes)?;
            }
            Ok(size.max(bytes.len() as u64))
        });
        let size = read.map_err(|error| self.explained(error, path))?;
        let (shown, limit) = (self.shown(path), text::size(most));
        anyhow::ensure!(size <= most, "{shown} has {}, but such a file may have {limit} at most", text::size(size));
        Ok(bytes)
    }

    /// The same, as text.
    ///
    /// # Errors
    /// As [`Self::read`]; and if it is not UTF-8.
    pub fn read_to_string(&self, path: impl AsRef<Path>, most: u64) -> Result<String> {
        let path = path.as_ref();
        String::from_utf8(self.read(path, most)?).with_context(|| format!("{} is not UTF-8", self.shown(path)))
    }

    /// The names of what is in a folder, in order.
    ///
    /// # Errors
    /// If it is not a folder, or reached through a link.
    pub fn entries(&self, path: impl AsRef<Path>) -> Result<Vec<(OsString, Kind)>> {
        let path = path.as_ref();
        self.list(path).map_err(|error| self.explained(error, path))
    }

    /// What a link points to.
    ///
    /// # Errors
    /// If it is not a link.
    pub fn link_target(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let path = path.as_ref();
        self.target(path).map_err(|error| self.explained(error, path))
    }

    /// As [`crate::draft`]. Others who change the folders at the very same time are not guarded against.
    ///
    /// # Errors
    /// If a folder on the way is a link.
    pub fn draft(&self, path: impl AsRef<Path>, mode: u32) -> Result<NamedTempFile> {
        let path = path.as_ref();
        let inner = self.inner(path).map_err(|error| self.explained(error, path))?;
        self.create_folders(inner.parent().unwrap_or(Path::new(""))).map_err(|error| self.explained(error, path))?;
        write::draft(&self.root.join(inner), mode)
    }

    /// As [`crate::write()`]: a link at `path` is replaced, and what it points to stays as it is.
    ///
    /// # Errors
    /// As [`Self::draft`].
    pub fn write(&self, path: impl AsRef<Path>, mode: u32, content: impl AsRef<[u8]>) -> Result<()> {
        let path = path.as_ref();
        write::complete(self.draft(path, mode)?, &self.root.join(path), content.as_ref())
    }

    /// Makes a link.
    ///
    /// # Errors
    /// If something is there already, or a folder on the way is a link.
    pub fn write_link(&self, path: impl AsRef<Path>, target: &Path) -> Result<()> {
        let path = path.as_ref();
        let made = self.inner(path).and_then(|inner| {
            self.create_folders(inner.parent().unwrap_or(Path::new("")))?;
            let (folder, name) = self.parent(inner)?;
            Ok(rustix::fs::symlinkat(target, folder, name)?)
        });
        made.map_err(|error| self.explained(error, path))
    }

    /// Removes a file, or a link but not what it points to. Returns whether there was one.
    ///
    /// # Errors
    /// If a folder on the way is a link.
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<bool> {
        self.unlink(path.as_ref(), AtFlags::empty())
    }

    /// Removes a file, and the folders around it that are empty without it.
    ///
    /// # Errors
    /// If a folder on the way is a link.
    pub fn remove_with_folders(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.remove(path)?;
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != self.root()) {
            if !self.entries(folder).is_ok_and(|entries| entries.is_empty()) {
                break;
            }
            self.remove_folder(folder)?;
        }
        Ok(())
    }

    /// Removes an empty folder. Returns whether it was there.
    ///
    /// # Errors
    /// As [`Self::remove`]; and if it is not empty.
    pub fn remove_folder(&self, path: impl AsRef<Path>) -> Result<bool> {
        self.unlink(path.as_ref(), AtFlags::REMOVEDIR)
    }

    fn unlink(&self, path: &Path, flags: AtFlags) -> Result<bool> {
        let removed = self.parent(path).and_then(|(folder, name)| Ok(unlinkat(folder, name, flags)?));
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) if error.get_ref().is_some() => Err(error.into()),
            Err(error) => Err(error).with_context(|| format!("could not remove {}", self.shown(path))),
        }
    }

    fn find(&self, path: &Path) -> io::Result<Kind> {
        if self.inner(path)?.as_os_str().is_empty() {
            return self.folder(Path::new("")).map(|_| Kind::Folder);
        }
        let (folder, name) = self.parent(path)?;
        Ok(kind_of(&statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn open_file(&self, path: &Path) -> io::Result<File> {
        let (folder, name) = self.parent(path)?;
        // Before it is opened, which some devices react to.
        self.accept(&statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?, path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&folder, name, flags, Mode::empty())?;
        self.accept(&fstat(&file)?, path)?;
        Ok(file.into())
    }

    /// Only a regular file with one name.
    fn accept(&self, stat: &Stat, path: &Path) -> io::Result<()> {
        let shown = self.shown(path);
        match kind_of(stat) {
            Kind::File if stat.st_nlink <= 1 => Ok(()),
            Kind::File => Err(io::Error::other(format!(
                "{shown} has {} names (hard links) and may be a file from elsewhere: replace it by a copy",
                stat.st_nlink
            ))),
            Kind::Link => Err(self.link(path)),
            Kind::Folder => Err(io::Error::other(format!("{shown} is a folder, not a file"))),
            Kind::Special => Err(io::Error::other(format!(
                "{shown} is a pipe, a socket or a device, and only regular files are read: name a regular file instead"
            ))),
        }
    }

    fn link(&self, path: &Path) -> io::Error {
        let target = self.target(path).unwrap_or_default();
        let (shown, target) = (self.shown(path), text::printable(&target.to_string_lossy()));
        io::Error::other(format!(
            "{shown} is a symbolic link to {target}: links are not followed here, as they can lead anywhere; replace \
             it by what it points to, or remove it"
        ))
    }

    fn target(&self, path: &Path) -> io::Result<PathBuf> {
        let (folder, name) = self.parent(path)?;
        let target = readlinkat(folder, name, Vec::new())?;
        Ok(OsStr::from_bytes(target.as_bytes()).into())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(OsString, Kind)>> {
        let folder = self.folder(self.inner(path)?)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                let kind = kind_of(&statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?);
                entries.push((name.to_owned(), kind));
            }
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries)
    }

    /// The folder in which something is, and its name there.
    fn parent<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let inner = self.inner(path)?;
        let name = inner.file_name().ok_or(ErrorKind::IsADirectory)?;
        Ok((self.folder(inner.parent().unwrap_or(Path::new("")))?, name))
    }

    fn folder(&self, inner: &Path) -> io::Result<OwnedFd> {
        self.descend(inner, |_, _| Ok(()))
    }

    fn create_folders(&self, inner: &Path) -> io::Result<()> {
        std::fs::create_dir_all(&self.root)?;
        let create = |above: &OwnedFd, name: &OsStr| match mkdirat(above, name, Mode::from_bits_retain(0o777)) {
            Err(Errno::EXIST) => Ok(()),
            made => made,
        };
        self.descend(inner, create).map(drop)
    }

    /// Opens the folders on the way one by one, after `before` was done with the name of each in the one above.
    fn descend(&self, inner: &Path, before: impl Fn(&OwnedFd, &OsStr) -> Result<(), Errno>) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = if self.root.as_os_str().is_empty() { Path::new(".") } else { &*self.root };
        let mut folder = open(root, flags, Mode::empty())?;
        let mut way = PathBuf::new();
        for name in inner {
            before(&folder, name)?;
            way.push(name);
            folder = openat(&folder, name, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| {
                let found = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW);
                let is_link = found.is_ok_and(|stat| kind_of(&stat) == Kind::Link);
                if is_link { self.link(&way) } else { error.into() }
            })?;
        }
        Ok(folder)
    }

    fn inner<'a>(&self, path: &'a Path) -> io::Result<&'a Path> {
        let inner = path.strip_prefix(&self.root).unwrap_or(path);
        if inner.components().all(|part| matches!(part, Component::Normal(_))) {
            return Ok(inner);
        }
        Err(io::Error::other(format!("{} is not below {}", path.display(), self.root.display())))
    }

    fn shown(&self, path: &Path) -> String {
        // Without a `/` at the end.
        let path: PathBuf = self.root.join(path).components().collect();
        text::printable(&path.to_string_lossy())
    }

    /// An error of ours says what and where by itself.
    fn explained(&self, error: io::Error, path: &Path) -> anyhow::Error {
        let is_ours = error.get_ref().is_some();
        let error = anyhow::Error::from(error);
        if is_ours { error } else { error.context(format!("cannot read {}", self.shown(path))) }
    }
}

fn kind_of(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Link,
        _ => Kind::Special,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A tree with the file `folder/file`, and beside it the file `secret`.
    fn tree() -> (tempfile::TempDir, Tree) {
        let around = tempfile::tempdir().unwrap();
        let root = around.path().join("tree");
        std::fs::create_dir_all(root.join("folder")).unwrap();
        std::fs::write(root.join("folder/file"), "text").unwrap();
        std::fs::write(around.path().join("secret"), "secret").unwrap();
        (around, Tree::at(root))
    }

    fn refusal(tree: &Tree, path: &str) -> String {
        let error = format!("{:#}", tree.read(path, 100).unwrap_err());
        assert!(error.contains(&tree.root().join(path).display().to_string()), "{error}");
        error
    }

    #[test]
    fn regular_files_are_read_up_to_their_limit() {
        let (_around, tree) = tree();
        assert_eq!(tree.read_to_string("folder/file", 4).unwrap(), "text");
        assert_eq!(tree.read(tree.root().join("folder/file"), 4).unwrap(), b"text");
        assert!(refusal(&Tree::at(tree.root()), "folder").contains("is a folder"));
        let large = File::create(tree.root().join("large")).unwrap();
        large.set_len(10 << 30).unwrap();
        assert!(refusal(&tree, "large").contains("has 10.74 GB, but such a file may have 100 B at most"));
        let error = format!("{:#}", tree.read("../secret", 100).unwrap_err());
        assert!(error.contains("../secret is not below "), "{error}");
        assert_eq!(tree.kind("folder/none").unwrap(), None);
        assert_eq!(tree.kind("folder/file/none").unwrap(), None);
    }

    #[test]
    fn nothing_is_reached_through_a_link_but_the_tree_itself() {
        let (around, tree) = tree();
        symlink("../../secret", tree.root().join("folder/link")).unwrap();
        symlink("folder", tree.root().join("way")).unwrap();
        let error = refusal(&tree, "folder/link");
        assert!(error.contains("is a symbolic link to ../../secret: links are not followed here"), "{error}");
        for error in [tree.read("way/file", 9).unwrap_err(), tree.kind("way/file").unwrap_err()] {
            assert!(format!("{error:#}").contains("tree/way is a symbolic link to folder: "), "{error:#}");
        }
        assert!(tree.entries("way").is_err() && tree.draft("way/new", 0o644).is_err());
        assert!(tree.remove("way/file").is_err() && tree.write_link("way/new", Path::new("file")).is_err());
        assert!(tree.refuse_links("way").is_err() && tree.refuse_links("folder/none").is_ok());
        symlink(tree.root(), around.path().join("alias")).unwrap();
        assert_eq!(Tree::at(around.path().join("alias")).read("folder/file", 9).unwrap(), b"text");
    }

    #[test]
    fn pipes_and_hard_links_are_refused() {
        let (around, tree) = tree();
        let pipe = tree.root().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        assert!(refusal(&tree, "pipe").contains("only regular files are read"));
        std::fs::hard_link(around.path().join("secret"), tree.root().join("hard")).unwrap();
        assert!(refusal(&tree, "hard").contains("has 2 names (hard links)"));
    }

    #[test]
    fn writing_and_removing_concern_the_link_and_not_its_target() {
        let (around, tree) = tree();
        let secret = around.path().join("secret");
        symlink(&secret, tree.root().join("new")).unwrap();
        tree.write("new", 0o644, "mine").unwrap();
        assert_eq!(tree.read("new", 9).unwrap(), b"mine");
        tree.write_link("some/where/link", &secret).unwrap();
        assert_eq!(tree.link_target("some/where/link").unwrap(), secret);
        assert!(tree.remove("some/where/link").unwrap() && !tree.remove("some/where/link").unwrap());
        assert_eq!(std::fs::read(&secret).unwrap(), b"secret");
    }

    #[test]
    fn what_the_user_names_is_read_without_the_links_of_the_checkout_around_it() {
        let (around, tree) = tree();
        let read = |path: &Path| Tree::around(path).and_then(|(tree, path)| tree.read(path, 9));
        let alias = around.path().join("alias");
        symlink(tree.root(), &alias).unwrap();
        symlink("folder", tree.root().join("way")).unwrap();
        assert_eq!(read(&alias.join("folder/file")).unwrap(), b"text");
        assert!(read(&alias.join("way/file")).is_ok(), "outside of a checkout, a folder may be the user's own link");
        symlink("file", tree.root().join("folder/link")).unwrap();
        assert!(read(&alias.join("folder/link")).is_err());
        std::fs::create_dir(tree.root().join(".git")).unwrap();
        assert!(read(&alias.join("way/file")).is_err() && read(&alias.join("folder/file")).is_ok());
    }
}
