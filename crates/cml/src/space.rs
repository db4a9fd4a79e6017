//! How much free disk space a node needs on a server. Every factor is here.
//!
//! * By the API the archive is uploaded to the drop folder and moved from there: one copy. [docs/cml.md 2]
//! * By ssh it is copied to a transfer folder and then staged beside its target, so that installing it is a rename: two
//!   copies, or only the staged one if the server has the archive already. They may be on one disk or on two.
//! * Docker loads the archive when the first node starts; unpacked it takes about three times its compressed size, on
//!   the disk of Docker's own files. The API does not tell anything about that disk. [docs/cml.md 2]
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

/// Bytes needed to hold an archive of this size by ssh: in the transfer folder, or beside its target.
pub fn by_ssh(archive: u64) -> u64 {
    archive + MARGIN
}

/// Bytes that an archive of this size takes once Docker has loaded it.
pub fn unpacked(archive: u64) -> u64 {
    archive * UNPACKED
}

/// A disk of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Its number there, if it is known.
    pub device: Option<String>,
    /// Free bytes, if they are known.
    pub free: Option<u64>,
}

impl Disk {
    /// Reads `DEVICE FREE`, in kB. What is not there, or is no number, is unknown.
    pub fn parse(text: &str) -> Self {
        let (device, free) = text.split_once(' ').unwrap_or((text, ""));
        let free = free.trim().parse::<u64>().ok().and_then(|free| free.checked_mul(1024));
        Self { device: Some(device.to_owned()).filter(|device| !device.is_empty()), free }
    }

    pub fn is_that_of(&self, other: &Self) -> bool {
        self.device.is_some() && self.device == other.device
    }
}

/// What is needed on one disk.
#[derive(Debug, PartialEq, Eq)]
pub struct Demand {
    /// Its places, in words: `/var/tmp and /var/lib/docker`.
    pub places: String,
    pub free: Option<u64>,
    pub needed: u64,
}

impl Demand {
    pub fn is_met(&self) -> Option<bool> {
        self.free.map(|free| free > self.needed)
    }
}

/// Adds up what is needed in several places, by disk.
pub fn by_disk(places: &[(&str, &Disk, u64)]) -> Vec<Demand> {
    let mut found: Vec<(&Disk, Demand)> = Vec::new();
    for (place, disk, needed) in places {
        match found.iter_mut().find(|(other, _)| disk.is_that_of(other)) {
            Some((_, demand)) => {
                demand.places = format!("{} and {place}", demand.places);
                demand.needed += needed;
                demand.free = demand.free.or(disk.free);
            }
            None => found.push((disk, Demand { places: (*place).to_owned(), free: disk.free, needed: *needed })),
        }
    }
    found.into_iter().map(|(_, demand)| demand).collect()
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
        assert_eq!((by_ssh(archive), unpacked(archive)), (101 << 20, 300 << 20));
    }

    #[test]
    fn what_is_needed_adds_up_on_one_disk_and_not_on_two() {
        let [one, two, unknown] = ["8 100", "9 5", " "].map(Disk::parse);
        let demands =
            by_disk(&[("/a", &one, 10), ("/b", &two, 20), ("/c", &one, 30), ("/d", &unknown, 1), ("/e", &unknown, 1)]);
        let shown: Vec<_> = demands.iter().map(|d| (d.places.as_str(), d.free, d.needed, d.is_met())).collect();
        assert_eq!(
            shown,
            [
                ("/a and /c", Some(102_400), 40, Some(true)),
                ("/b", Some(5120), 20, Some(true)),
                ("/d", None, 1, None),
                ("/e", None, 1, None)
            ]
        );
    }
}
