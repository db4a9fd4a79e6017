//! Sends a file to a server, continuing where an earlier attempt was cut off.
//!
//! The server needs only a shell: no rsync, no sftp. A part that is there already counts if its digest is that of the
//! file's beginning; the rest is appended. The digest of the whole is compared before the file is used.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use indicatif::ProgressBar;
use sha2::{Digest as _, Sha256};

use crate::archive_file::{ArchiveFile, hex};
use crate::ssh::exchange::Kind;
use crate::ssh::remote::CommandLine;
use crate::ssh::session::Ssh;

/// Prints how many bytes of the file are there, and their digest; nothing if there are too many.
const THERE: &str =
    r#"[ -f "$1" ] || exit 0; n=$(wc -c <"$1"); [ "$n" -le "$2" ] || exit 0; echo "$n" $(sha256sum <"$1")"#;

/// Small files are written whole or not at all, and nobody else can write to any: the umask of a login often lets a
/// group do that.
const WRITE: &str = r#"set -e; umask 077; mkdir -p "$(dirname "$1")"; cat >"$1.part"; mv -f "$1.part" "$1""#;

const APPEND: &str = r#"set -e; umask 077; mkdir -p "$(dirname "$1")"; exec cat >>"$1""#;

const START_AGAIN: &str = r#"set -e; umask 077; mkdir -p "$(dirname "$1")"; : >"$1"; exec cat >>"$1""#;

pub async fn write(ssh: &Ssh<'_>, path: &str, text: &str) -> Result<()> {
    let output = ssh.run_command(Kind::Question, &CommandLine::new(WRITE, &[path]), text.to_owned()).await?;
    ssh.check(&output).with_context(|| format!("cannot write {path}"))
}

/// Sends the archive to `path`; returns how long its bytes took. The archive must still be the one that was saved.
pub async fn send(ssh: &Ssh<'_>, archive: &ArchiveFile, path: &str, progress: &ProgressBar) -> Result<Duration> {
    let there = ssh.read(Kind::Digest, THERE, &[path, &archive.size.to_string()]).await?;
    let (length, digest) = there.split_once(' ').unwrap_or_default();
    let length = length.parse().unwrap_or(0);
    let start = hash_start(archive, length).await?;
    let is_start = length > 0 && digest.starts_with(&hex(&start));
    if is_start && length == archive.size {
        archive.check(&start)?;
        return Ok(Duration::ZERO);
    }
    let (script, from, hash) = if is_start { (APPEND, length, start) } else { (START_AGAIN, 0, Sha256::new()) };
    let since = Instant::now();
    let pieces = archive.stream(from, hash, Bytes::new(), Bytes::new());
    let sent = ssh.feed(Kind::Question, &CommandLine::new(script, &[path]), pieces, progress).await;
    sent.and_then(|output| ssh.check(&output))
        .with_context(|| format!("sending {} to {}", archive.name, ssh.address))?;
    let time = since.elapsed();
    check(ssh, archive, path).await?;
    Ok(time)
}

/// Compares the digest of what arrived. A damaged file is removed: no later attempt could continue it.
async fn check(ssh: &Ssh<'_>, archive: &ArchiveFile, path: &str) -> Result<()> {
    let digest = ssh.read(Kind::Digest, r#"sha256sum <"$1""#, &[path]).await?;
    if !digest.starts_with(archive.digest.hex()) {
        ssh.read(Kind::Question, r#"rm -f "$1""#, &[path]).await?;
        bail!("{} arrived damaged on {}, and was removed there; run this again", archive.name, ssh.address);
    }
    Ok(())
}

async fn hash_start(archive: &ArchiveFile, length: u64) -> Result<Sha256> {
    let archive = archive.clone();
    let hashing = tokio::task::spawn_blocking(move || archive.hash_start(length));
    hashing.await.context("reading the archive")?
}
