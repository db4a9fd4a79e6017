//! A file to a server, going on where an earlier attempt was cut off.
//!
//! It takes nothing of the server but a shell: no rsync, no sftp. What is there already counts if its sum is that of
//! the file's beginning; the rest is appended. The whole is digested on both sides before it is used.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::bundle::ArchiveFile;
use crate::progress::Progress;
use crate::ssh::session::Ssh;
use digests::Digest;

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// How many bytes of the file are there, and their sum.
const THERE: &str =
    r#"[ -f "$1" ] || exit 0; n=$(wc -c <"$1"); [ "$n" -le "$2" ] || exit 0; echo "$n" $(sha256sum <"$1")"#;

/// Whole, or not at all: small files go by a rename.
const WRITE: &str = r#"set -e; mkdir -p "$(dirname "$1")"; cat >"$1.part"; mv -f "$1.part" "$1""#;

const APPEND: &str = r#"set -e; mkdir -p "$(dirname "$1")"; exec cat >>"$1""#;

const WRITE_ANEW: &str = r#"set -e; mkdir -p "$(dirname "$1")"; : >"$1"; exec cat >>"$1""#;

/// Writes a small file.
///
/// # Errors
/// If the server can't, or the connection is lost.
pub async fn write(ssh: &Ssh<'_>, path: &str, text: &str) -> Result<()> {
    let ran = ssh.run_with(WRITE, &[path], text.as_bytes()).await?;
    anyhow::ensure!(
        ran.code == 0,
        "{}: {path} can't be written: {}",
        ssh.address,
        crate::ssh::session::last_line(&ran.stderr)
    );
    Ok(())
}

/// Brings the archive to `path`; yields how long its bytes were on their way.
///
/// # Errors
/// If the archive is no longer the one that was saved, the server can't take it, or the connection is lost.
pub async fn bring(ssh: &Ssh<'_>, archive: &ArchiveFile, path: &str, progress: &Progress) -> Result<Duration> {
    let there = ssh.read(THERE, &[path, &archive.size.to_string()]).await?;
    let (length, sum) = read_there(&there);
    let beginning = beginning(&archive.path, archive.size, length).await?;
    let begun = length > 0 && sum.as_deref() == Some(&hex(&beginning));
    if begun && length == archive.size {
        anyhow::ensure!(hex(&beginning) == archive.digest.hex(), changed(&archive.path));
        return Ok(Duration::ZERO);
    }
    let (script, from, hash) = if begun { (APPEND, length, beginning) } else { (WRITE_ANEW, 0, Sha256::new()) };
    let since = Instant::now();
    let sent = ssh.feed(script, &[path], pieces(archive, from, hash), progress).await;
    sent.with_context(|| format!("sending {} to {}", archive.name, ssh.address))?;
    let time = since.elapsed();
    check(ssh, archive, path).await?;
    Ok(time)
}

/// What arrived with another sum is of no use, and would be in the way.
async fn check(ssh: &Ssh<'_>, archive: &ArchiveFile, path: &str) -> Result<()> {
    let sum = ssh.read(r#"sha256sum <"$1""#, &[path]).await?;
    if !sum.starts_with(archive.digest.hex()) {
        ssh.read(r#"rm -f "$1""#, &[path]).await?;
        bail!("{} arrived damaged on {}, and was removed there; run this again", archive.name, ssh.address);
    }
    Ok(())
}

fn read_there(text: &str) -> (u64, Option<String>) {
    let mut words = text.split_whitespace();
    let length = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    (length, words.next().and_then(Digest::parse).map(|digest| digest.hex().to_owned()))
}

fn hex(hash: &Sha256) -> String {
    hex::encode(hash.clone().finalize())
}

/// Digests the first bytes of a file, on a thread of its own.
async fn beginning(path: &Path, size: u64, length: u64) -> Result<Sha256> {
    let path = path.to_owned();
    let digesting = tokio::task::spawn_blocking(move || {
        let file = crate::api::controller::open_archive(&path, size)?;
        let (mut file, mut hash, mut piece) = (file.take(length), Sha256::new(), vec![0; PIECE]);
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(hash),
                read => hash.update(&piece[..read]),
            }
        }
    });
    digesting.await.context("digesting the archive")?
}

/// The rest of the archive. `hash` has seen what comes before; if the whole is not what was saved, the last piece is an
/// error.
fn pieces(archive: &ArchiveFile, from: u64, mut hash: Sha256) -> mpsc::Receiver<Result<Bytes>> {
    let (feeder, pieces) = mpsc::channel(4);
    let archive = archive.clone();
    std::thread::spawn(move || {
        let read = read_rest(&archive, from, &mut hash, |piece| feeder.blocking_send(Ok(piece)).is_ok());
        if let Err(error) = read {
            let _ = feeder.blocking_send(Err(error));
        }
    });
    pieces
}

fn read_rest(archive: &ArchiveFile, from: u64, hash: &mut Sha256, mut take: impl FnMut(Bytes) -> bool) -> Result<()> {
    let mut file = crate::api::controller::open_archive(&archive.path, archive.size)?;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(from))?;
    let (mut file, mut held) = (file.take(archive.size - from), Bytes::new());
    loop {
        let mut piece = vec![0; PIECE];
        let read = file.read(&mut piece)?;
        piece.truncate(read);
        hash.update(&piece);
        let before = std::mem::replace(&mut held, piece.into());
        if read == 0 {
            anyhow::ensure!(hex(hash) == archive.digest.hex(), changed(&archive.path));
            take(before);
            return Ok(());
        }
        if !before.is_empty() && !take(before) {
            return Ok(());
        }
    }
}

fn changed(path: &Path) -> anyhow::Error {
    anyhow!("{} has changed since it was saved; run this again", path.display())
}
