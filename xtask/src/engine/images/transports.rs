//! Names of images that lead elsewhere than to the engine or a registry.

use anyhow::{Result, ensure};

/// What Podman takes as the beginning of a place instead of an image's name: `oci:/folder`, `docker-archive:/file`.
const TRANSPORTS: [&str; 13] = [
    "atomic", "containers-storage", "dir", "docker", "docker-archive", "docker-daemon", "oci", "oci-archive",
    "openshift", "ostree", "sif", "storage", "tarball",
];

/// Fails unless `name` can only be an image in the engine or in a registry.
///
/// # Errors
///
/// If Podman could take it for a place, such as a folder of the machine.
pub fn refuse_places(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let begins_plain = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let transport = name.split(':').next().filter(|start| *start != name && TRANSPORTS.contains(start));
    ensure!(
        begins_plain
            && name.chars().all(is_plain)
            && !name.contains(":/")
            && !name.contains("..")
            && transport.is_none(),
        "`{name}` is not the name of an image; this engine could take it for a place, such as a folder of your \
         machine, so only plain names work with it: [registry/]name[:tag][@digest]"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::refuse_places;

    #[test]
    fn only_names_of_images_pass() {
        let digest = format!("debian@sha256:{}", "5".repeat(64));
        for name in ["scratch", "debian:trixie-slim", "localhost:5000/a/b_c:1", "localhost/cml-nodes-base:x", &digest] {
            refuse_places(name).unwrap();
        }
        for name in [
            "", "oci:/tmp/x", "oci:x", "dir:x", "docker://debian", "docker-archive:/x", "docker-daemon:a:b", "/tmp/x",
            "containers-storage:x", "sif:x", "ostree:x", "oci-archive:x", "./x", "../x", "a/../b", "new:/x", "~/x",
            "$BASE", "\"oci:/x\"", "a b",
        ] {
            assert!(refuse_places(name).is_err(), "{name}");
        }
    }
}
