//! How much free disk space a node needs on a server. Every factor is here.
//!
//! * By the API the archive is uploaded to the drop folder and moved from there: one copy. [docs/cml.md 2]
//! * By ssh it is copied to a transfer folder and then staged beside its target, so that installing it is a rename: two
//!   copies, or only the staged one if the server has the archive already.
//! * Docker loads the archive when the first node starts; unpacked it takes about three times its compressed size.
//! * Definitions and state files are small, but a full disk is found before the transfer, not after it: the install
//!   script insists on the same margin when it stages a node (`check_space` in `cml_install_image.sh`).

use anyhow::{Result, ensure};

use crate::address::Address;

const MARGIN: u64 = 1 << 20;

/// How much larger an image is unpacked.
const UNPACKED: u64 = 3;

/// Bytes needed to install an archive of this size by the API.
pub fn by_api(archive: u64) -> u64 {
    archive + MARGIN
}

/// Bytes needed to transfer an archive of this size by ssh and install it.
pub fn by_ssh(archive: u64, is_there_already: bool) -> u64 {
    archive * if is_there_already { 1 } else { 2 } + MARGIN
}

/// Bytes needed to install an archive of this size by either way, and to run the first node.
pub fn to_run(archive: u64) -> u64 {
    by_ssh(archive, false) + archive * UNPACKED
}

/// Fails if `free` bytes on `disk` are too few for what `ids` need.
pub fn check(server: &Address, disk: &str, free: u64, ids: &str, needed: u64) -> Result<()> {
    let (free_text, needed_text) = (text::size(free), text::size(needed));
    ensure!(free > needed, "{server}: {disk} has {free_text} left, but {ids} needs {needed_text}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_counts_its_copies() {
        let archive = 100 << 20;
        assert_eq!(by_api(archive), 101 << 20);
        assert_eq!((by_ssh(archive, false), by_ssh(archive, true)), (201 << 20, 101 << 20));
        assert_eq!(to_run(archive), 501 << 20);
    }
}
