//! Where engines differ from what Docker's API promises, or from each other: one table. Code asks `abilities.rs`, or
//! works around a quirk where the table says so.

/// A difference or bug that this program works around.
pub struct Quirk {
    pub what: &'static str,
    /// The engine, with the versions for which this is known.
    pub engine: &'static str,
    /// The files that work around it, below this folder.
    pub handled_in: &'static [&'static str],
    /// Issues, pull requests or documentation; `MEASURED` if none is known.
    pub upstream: &'static [&'static str],
}

/// Seen with this program; no upstream issue is known.
const MEASURED: &[&str] = &[];

pub const QUIRKS: &[Quirk] = &[
    Quirk {
        what: "reading all images fails with `layer not known` while somebody removes one",
        engine: "Podman 4.3",
        handled_in: &["images/retrying.rs"],
        upstream: &[
            "https://github.com/podman-container-tools/podman/issues/6510",
            "https://github.com/containers/common/pull/1520",
            "https://github.com/containers/common/pull/2400",
        ],
    },
    Quirk {
        what: "two commands that change the names of one image at once lose names",
        engine: "Podman up to 4.7",
        handled_in: &["abilities.rs", "images/store.rs"],
        upstream: &[
            "https://github.com/podman-container-tools/podman/issues/17515",
            "https://github.com/containers/common/pull/1700",
        ],
    },
    Quirk {
        what: "removing an image also removes untagged parents, although `noprune` is set",
        engine: "Podman 4.3 (fixed upstream in April 2023)",
        handled_in: &["images/store.rs"],
        upstream: &["https://github.com/podman-container-tools/podman/pull/18278"],
    },
    Quirk {
        what: "importing an image applies only one of several changes, and ignores a tag apart from the name",
        engine: "Podman 4.3",
        handled_in: &["images/base.rs"],
        upstream: MEASURED,
    },
    Quirk {
        what: "an image's ID is the digest of its manifest, not of its configuration",
        engine: "Docker with the containerd image store (the default of a new Docker 29)",
        handled_in: &["images/image.rs"],
        upstream: &["https://github.com/docker/cli/issues/5526"],
    },
    Quirk {
        what: "the size of an inspected image is that of its compressed layers",
        engine: "Docker with the containerd image store",
        handled_in: &[],
        upstream: &["https://github.com/moby/moby/issues/53398", "https://github.com/moby/moby/pull/53426"],
    },
    Quirk {
        what: "a step with `sharing=locked` caches may wait for ever for a lock that an earlier step did not release",
        engine: "Podman 4.3 (Buildah before October 2022)",
        handled_in: &["abilities.rs", "build/image.rs"],
        upstream: &[
            "https://github.com/podman-container-tools/buildah/issues/4342",
            "https://github.com/podman-container-tools/buildah/pull/4349",
        ],
    },
    Quirk {
        what: "the cache of builds consists of images, which get the labels of the build",
        engine: "Podman",
        handled_in: &["abilities.rs", "build/image.rs"],
        upstream: &["https://github.com/podman-container-tools/buildah/issues/4804"],
    },
    Quirk {
        what: "a build's messages do not tell which of several stages printed a line, or whose step ended",
        engine: "Podman",
        handled_in: &["build/progress/buildah.rs"],
        upstream: MEASURED,
    },
    Quirk {
        what: "the error of a failed step repeats the whole instruction, in two different forms",
        engine: "Docker before and since BuildKit 0.9",
        handled_in: &["build/progress/buildkit.rs"],
        upstream: &["https://github.com/moby/buildkit/pull/2215"],
    },
    Quirk {
        what: "clients cannot read a container's state `stopped`, which is not in Docker's API",
        engine: "Podman before May 2025 (inspect), before March 2026 (list)",
        handled_in: &["containers/listing.rs", "containers/lifecycle.rs"],
        upstream: &[
            "https://github.com/podman-container-tools/podman/issues/17728",
            "https://github.com/podman-container-tools/podman/pull/26149",
            "https://github.com/podman-container-tools/podman/pull/28390",
        ],
    },
    Quirk {
        what: "after `stop`, a container is cleaned up twice, the second time perhaps after it was started again",
        engine: "Podman",
        handled_in: &["abilities.rs", "containers/lifecycle.rs"],
        upstream: &[
            "https://github.com/podman-container-tools/podman/pull/6483",
            "https://github.com/podman-container-tools/podman/pull/11388",
        ],
    },
    Quirk {
        what: "containers get fewer capabilities by default: no AUDIT_WRITE, MKNOD and NET_RAW",
        engine: "Podman, by its packages' configuration and since 2022 by itself",
        handled_in: &["abilities.rs"],
        upstream: &[
            "https://github.com/podman-container-tools/podman/issues/15626",
            "https://github.com/containers/common/pull/1240",
        ],
    },
    Quirk {
        what: "containers have other defaults: log driver, process limit, lowest unprivileged port, systemd mode",
        engine: "Podman",
        handled_in: &["abilities.rs", "command_line.rs"],
        upstream: &["https://docs.podman.io/en/latest/markdown/podman-create.1.html"],
    },
    Quirk {
        what: "`/version` takes seconds, since it asks the package manager about each part",
        engine: "Podman on Debian and Ubuntu",
        handled_in: &["connect/ping.rs"],
        upstream: &[
            "https://github.com/podman-container-tools/podman/issues/19317",
            "https://github.com/podman-container-tools/podman/issues/22102",
        ],
    },
    Quirk {
        what: "the locks in shared memory are one set for all storages of a user",
        engine: "Podman",
        handled_in: &["embedded/settings.rs"],
        upstream: &["https://github.com/podman-container-tools/podman/issues/29646"],
    },
    Quirk {
        what: "an ordinary user's Podman ignores the folders in a configuration that CONTAINERS_STORAGE_CONF names",
        engine: "Podman",
        handled_in: &["embedded/settings.rs"],
        upstream: &[
            "https://github.com/podman-container-tools/podman/issues/10762",
            "https://github.com/podman-container-tools/podman/issues/18375",
        ],
    },
    Quirk {
        what: "containers get higher limits than a root user without all capabilities may set (`error setting rlimit`)",
        engine: "Podman run by such a root user, as in a container",
        handled_in: &["embedded/settings.rs", "../lab/explain.rs"],
        upstream: &["https://github.com/podman-container-tools/podman/issues/24692"],
    },
    Quirk {
        what: "containers do not start on hybrid control groups",
        engine: "crun, Podman's default runtime",
        handled_in: &["embedded/probe.rs"],
        upstream: &[
            "https://github.com/podman-container-tools/podman/issues/3439",
            "https://github.com/podman-container-tools/podman/issues/18712",
        ],
    },
    Quirk {
        what: "containers whose monitor was killed are listed as running, and cannot be removed",
        engine: "Podman before July 2025",
        handled_in: &["embedded/recovery.rs"],
        upstream: &[
            "https://github.com/podman-container-tools/podman/issues/7393",
            "https://github.com/podman-container-tools/podman/pull/26643",
        ],
    },
    Quirk {
        what: "an ordinary user's service is two processes, and the first does not pass a signal on to the second",
        engine: "Podman 4.3",
        handled_in: &["embedded/guard.rs", "embedded/leftovers.rs"],
        upstream: MEASURED,
    },
    Quirk {
        what: "a step of a build goes on running if the engine is killed",
        engine: "Podman",
        handled_in: &["embedded/leftovers.rs", "embedded/processes.rs"],
        upstream: MEASURED,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_table_is_there() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine");
        for quirk in QUIRKS {
            for file in quirk.handled_in {
                assert!(folder.join(file).is_file(), "{}: there is no {file}", quirk.what);
            }
            assert!(quirk.upstream.iter().all(|link| link.starts_with("https://")), "{}", quirk.what);
        }
    }
}
