//! Image archives: what `docker save` writes, what is in them, and how they are compressed.
//!
//! Knows nothing of Docker's API or of a server. The input is untrusted: sizes and counts are bounded, and what the
//! archive says is checked against its own digests.

mod contents;
mod found;
mod layers;
mod pack;
mod pass;
mod reference;
mod reopen;

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZero;

use anyhow::{Context, Result, anyhow};
use gzp::deflate::Mgzip;
use gzp::par::compress::{Compression, ParCompress, ParCompressBuilder};
use gzp::{GzpError, ZWriter};

pub use contents::Contents;
pub use layers::{Files, Kept, System, Wanted};
pub use pack::{pack, pack_for};
pub use reference::shortened;
pub use reopen::{open, retag, unpacked};

use pass::WriteFailed;

use digests::{Digest, HashingWriter};

/// The size of a piece that one thread compresses. Pieces are independent gzip members, so that the result
/// depends on the input alone, not on the number of threads.
const PIECE: usize = 1 << 20;

/// Each thread has two pieces in flight, each with its output: 16 threads stay below 70 MiB.
const MOST_THREADS: usize = 16;

/// libdeflate's level 5 makes smaller files than `gzip -6` in a quarter of its time (measured by
/// `cargo xtask dev bench`).
const LEVEL: u32 = 5;

/// The facts collected in one pass over an export.
#[derive(Debug)]
pub struct Archive {
    pub contents: Contents,
    /// Of the compressed file.
    pub digest: Digest,
    /// Bytes of the compressed file.
    pub size: u64,
}

/// What is in an uncompressed export, which is read to its end. Refuses one that contradicts itself.
pub fn examine(export: impl Read) -> Result<Contents> {
    Contents::read(export)
}

/// The same for a file, `.tar` or `.tar.gz`. An error names it.
pub fn examine_file(path: &std::path::Path) -> Result<Contents> {
    examine(open(path)?).map_err(|error| anyhow!("{} is not a usable image archive: {error:#}", path.display()))
}

/// Compresses an export into `out` and examines it in the same pass. Full names of its image, as
/// Podman writes them, are shortened to the tag that CML's Docker should see.
pub fn compress(export: impl Read, out: File) -> Result<(Archive, File)> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let mut gzip: ParCompress<Mgzip, _> = ParCompressBuilder::new()
        .num_threads(threads)
        .and_then(|builder| builder.buffer_size(PIECE))
        .context("setting up the compression")?
        .compression_level(Compression::new(LEVEL))
        .from_writer(HashingWriter::new(out));
    let contents = match Contents::copy(export, &mut gzip, reference::shorten) {
        // gzp has shut down by itself.
        Err(error) if error.is::<WriteFailed>() => return Err(error),
        contents => contents,
    };
    // Also when reading failed: gzp's threads must have ended before it is dropped.
    let finished = gzip.finish();
    let contents = contents?;
    let hashed = finished.map_err(io_error).context("writing the archive")?;
    let size = hashed.written;
    let (file, digest) = hashed.finish();
    Ok((Archive { contents, digest, size }, file))
}

fn io_error(error: GzpError) -> io::Error {
    match error {
        GzpError::Io(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::contents::testing::{Export, layer};
    use super::*;

    fn compressed(export: &[u8]) -> (Archive, Vec<u8>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let (archive, _) = compress(export, file.reopen().unwrap()).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        (archive, bytes)
    }

    #[test]
    fn the_file_unpacks_to_the_export_and_its_digest_is_right() {
        // Several pieces, so that several threads take part.
        let export = Export::new().layer(&layer(5 * PIECE + 17)).bytes();
        let (archive, bytes) = compressed(&export);
        let mut unpacked = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == export);
        assert_eq!(archive.digest, Digest::of(&bytes));
        assert_eq!(archive.size, bytes.len() as u64);
    }

    #[test]
    fn the_same_export_gives_the_same_bytes() {
        let export = Export::new().layer(&layer(3 * PIECE)).bytes();
        assert!(compressed(&export).1 == compressed(&export).1);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_reported_as_such() {
        let export = Export::new().layer(&layer(8 * PIECE)).bytes();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let said = format!("{:#}", compress(export.as_slice(), full).unwrap_err());
        assert!(said.contains("writing the archive: ") && said.to_lowercase().contains("no "), "{said}");
    }

    #[test]
    fn an_export_that_breaks_off_is_refused() {
        let export = Export::new().layer(&layer(PIECE)).bytes();
        let file = tempfile::tempfile().unwrap();
        assert!(compress(&export[..export.len() / 2], file).is_err());
    }

    /// What is exported, what is read and what is loaded goes through one judgement.
    #[test]
    fn a_damaged_layer_is_refused_wherever_an_archive_is_read() {
        let mut export = Export::new().layer(&layer(PIECE)).bytes();
        export[PIECE / 2..PIECE / 2 + 100].fill(b'x');
        let refusals = [
            compress(export.as_slice(), tempfile::tempfile().unwrap()).unwrap_err(),
            examine(export.as_slice()).unwrap_err(),
            retag(export.as_slice(), "mine:1", Vec::new()).unwrap_err(),
        ];
        for refusal in refusals {
            assert!(refusal.to_string().starts_with("the archive is damaged: its layer "), "{refusal}");
        }
    }

    #[test]
    fn both_kinds_of_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, packed) = (folder.path().join("a.tar"), folder.path().join("a.tar.gz"));
        let bytes = Export::new().bytes();
        std::fs::write(&plain, &bytes).unwrap();
        let file = File::create_new(&packed).unwrap();
        compress(bytes.as_slice(), file).unwrap();
        for path in [plain, packed] {
            let mut read = Vec::new();
            open(&path).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{}", path.display());
        }
    }
}
