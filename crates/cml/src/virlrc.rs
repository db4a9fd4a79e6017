//! `.virlrc`: the file in which CML's own client and this program look for servers and credentials. [docs/cml.md 2]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Result;
use files::Links;

pub const NAME: &str = ".virlrc";

/// Far more than a server and its credentials need.
const LARGEST: u64 = 64 << 10;

/// The bits of a file's mode with which others than its owner can read or change it.
const OTHERS: u32 = 0o066;

pub struct Virlrc {
    pub path: PathBuf,
    text: String,
    device_and_inode: (u64, u64),
    mode: u32,
}

impl Virlrc {
    /// The file in this folder; `None` if there is none.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not a small file of text.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        let found = files::read_text(&path, LARGEST, Links::Follow)?;
        Ok(found.map(|(text, metadata)| Self {
            path,
            text,
            device_and_inode: (metadata.dev(), metadata.ino()),
            mode: metadata.permissions().mode(),
        }))
    }

    /// The value in a line `KEY=VALUE`, with or without double quotes around it. An empty one counts as absent.
    pub fn get(&self, key: &str) -> Option<String> {
        let line = self.text.lines().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='))?;
        let value = line.trim();
        let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        (!bare.is_empty()).then(|| bare.to_owned())
    }

    /// Whether both are one file, by whichever path.
    pub fn is(&self, other: &Self) -> bool {
        self.device_and_inode == other.device_and_inode
    }

    /// Whether users other than its owner can read or change it.
    pub fn is_open_to_others(&self) -> bool {
        self.mode & OTHERS != 0
    }
}
