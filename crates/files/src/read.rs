//! Reading files that others may have put there: bounded, and nothing that could block or lead elsewhere.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// What to do if the name of a file is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    Follow,
    Refuse,
}

/// The text of a file and what the file system says about it; `None` if there is no such file.
///
/// # Errors
///
/// If it is not a regular file, has more than `largest` bytes, is not UTF-8, or contains control characters other than
/// tabs and ends of lines. The error names the file and repeats nothing of it.
pub fn read_text(path: &Path, largest: u64, links: Links) -> Result<Option<(String, Metadata)>> {
    read(path, largest, links).with_context(|| format!("cannot read {}", path.display()))
}

fn read(path: &Path, largest: u64, links: Links) -> Result<Option<(String, Metadata)>> {
    // Without NONBLOCK, opening a named pipe would wait for its writer.
    let mut flags = OFlags::NONBLOCK;
    if links == Links::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let file = match File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if links == Links::Refuse && error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            bail!("it is a symbolic link, which is not followed here");
        }
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    ensure!(metadata.is_file(), "it is not a regular file");
    let mut bytes = Vec::new();
    file.take(largest + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= largest, "it has more than {largest} bytes");
    let Ok(text) = String::from_utf8(bytes) else { bail!("it is not UTF-8 text") };
    let is_strange = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    ensure!(!text.contains(is_strange), "it contains control characters");
    Ok(Some((text, metadata)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_regular_file_of_text_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let read = |links| read_text(&path, 10, links);
        assert!(read(Links::Refuse).unwrap().is_none());
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read(Links::Refuse).unwrap().unwrap().0, "0123456789");
        for (wrong, why) in
            [(&b"0123456789a"[..], "more than 10 bytes"), (b"a\x1b[2J", "control characters"), (b"a\xff", "not UTF-8")]
        {
            std::fs::write(&path, wrong).unwrap();
            let message = format!("{:#}", read(Links::Follow).unwrap_err());
            assert!(message.contains(why) && message.contains(&path.display().to_string()), "{message}");
        }
    }

    #[test]
    fn neither_links_nor_pipes_nor_devices_lead_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link, pipe) = (folder.path().join("a"), folder.path().join("l"), folder.path().join("p"));
        std::fs::write(&target, "a").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert_eq!(read_text(&link, 10, Links::Follow).unwrap().unwrap().0, "a");
        assert!(format!("{:#}", read_text(&link, 10, Links::Refuse).unwrap_err()).contains("symbolic link"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for other in [&pipe, Path::new("/dev/zero"), folder.path()] {
            let message = format!("{:#}", read_text(other, 10, Links::Follow).unwrap_err());
            assert!(message.contains("not a regular file"), "{message}");
        }
    }
}
